"""A model embeds each item by itself, and trains."""

import sys

import numpy as np
import pytest
import torch

from mlcmr.data import language_detection
from mlcmr.data.batches import VideoBatch
from mlcmr.errors import InvalidValueError
from mlcmr.losses.config import LossConfig
from mlcmr.losses.mlcmr import MLCMRLoss
from mlcmr.model import embedding
from mlcmr.model.config import ModelConfig, TextConfig, VideoConfig
from mlcmr.model.encoders.text import transformer_layers
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.model.provenance import Provenance
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.schedule import make_optimizer
from tests.helpers.golden_model import golden, golden_batch, golden_model
from tests.helpers.small_models import TEXTS, make_model, pair_batch
from tests.helpers.tiny import SIZE

VIDEO_OPTIONS = [
    {"gru_pool": pool, "concate": levels} for pool in ("mean", "max") for levels in ("full", "reduced")
]


def options_model(padding: str, **options) -> MLCMR:
    video = VideoConfig(gru_size=8, filters=4, windows=(2, 3, 4, 5), **options)
    return make_model(video=video, padding=padding)


# ─── alone = together ────────────────────────────────────────────────────────────────────────────────────


def test_texts_alone_are_as_together(model):
    alone = torch.cat([model.encode_texts([one], "en") for one in TEXTS])
    for batch_size in (2, 3, 64):
        together = model.encode_texts(TEXTS, "en", batch_size=batch_size)
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)
    torch.testing.assert_close(alone.norm(dim=1), torch.ones(len(TEXTS)))
    assert (alone[0] - alone[4]).abs().max() > 0.01


@pytest.mark.parametrize("options", VIDEO_OPTIONS, ids=str)
def test_videos_alone_are_as_together(videos, options):
    model = options_model("masked", **options)
    alone = torch.cat([model.encode_videos([one]) for one in videos])
    for batch_size in (2, 3, 64):
        together = model.encode_videos(videos, batch_size=batch_size)
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)
    torch.testing.assert_close(alone.norm(dim=1), torch.ones(len(videos)))


@pytest.mark.parametrize("options", VIDEO_OPTIONS, ids=str)
def test_published_padding_depends_on_the_batch(videos, options):
    """The default mode avoids this dependence."""
    model = options_model("published", **options)
    alone = torch.cat([model.encode_videos([one]) for one in videos])
    assert (alone - model.encode_videos(videos)).abs().max() > 1e-3
    alone = torch.cat([model.encode_texts([one], "en") for one in TEXTS])
    assert (alone - model.encode_texts(TEXTS, "en")).abs().max() > 1e-3


def test_frames_after_the_cut_count_in_the_mean_only(videos):
    long = videos[2]
    changed = long.copy()
    changed[64:] += 1
    for levels, same in (("full", False), ("reduced", True)):
        model = options_model("masked", concate=levels)
        ours, theirs = model.encode_videos([long, changed])
        assert torch.equal(ours, theirs) == same


def test_order_of_the_batch_is_kept(model, videos):
    order = [3, 0, 7, 5, 2, 6, 1, 4]
    torch.testing.assert_close(
        model.encode_videos([videos[i] for i in order]), model.encode_videos(videos)[order], rtol=0, atol=1e-6
    )
    order = [5, 2, 0, 6, 4, 1, 3]
    torch.testing.assert_close(
        model.encode_texts([TEXTS[i] for i in order], "en"),
        model.encode_texts(TEXTS, "en")[order],
        rtol=0,
        atol=1e-6,
    )


def test_nothing_to_embed(model):
    assert model.encode_texts([], "en").shape == (0, 32)
    assert model.encode_videos([]).shape == (0, 32)


def test_embedding_leaves_the_mode_alone(model, videos):
    model.train()
    model.encode_texts(TEXTS, "en")
    model.encode_videos(videos)
    assert model.training
    assert model.text_encoder.transformer.training
    assert not model.eval().encode_texts(TEXTS, "en").requires_grad


def test_progress_is_told(model, videos):
    done: list[int] = []
    model.encode_texts(TEXTS, "en", batch_size=3, advance=done.append)
    assert sum(done) == len(TEXTS)
    done.clear()
    model.encode_videos(iter(videos), batch_size=3, advance=done.append)
    assert done == [3, 3, 2]


def test_english_is_cleaned_and_nothing_else(model):
    def same(one: str, other: str, language: str) -> bool:
        first, second = model.encode_texts([one, other], language)
        return torch.equal(first, second)

    assert same("a DOG runs", "  A dog, runs!!", "en")
    assert not same("a dog runs", "a dog, runs!!", "de")


def speaking(languages: tuple[str, ...]) -> MLCMR:
    model = make_model()
    model.provenance = Provenance(languages)
    return model


@pytest.mark.parametrize(
    ("text", "languages", "language"),
    [
        ("A dog, runs!!", (), "en"),
        ("A dog, runs!!", ("en", "zh"), "en"),
        ("A dog runs through the garden!!", ("en", "de"), "en"),
        ("Ein Hund, der einen Ball fängt!!", ("en", "de"), "de"),
        ("ein Hund rennt durch den Wald!!", ("en", "de"), "de"),
        ("A dog, runs!!", ("zh",), "und"),
        ("一只狗，在跑", ("en", "zh"), "zh"),
        ("Café — naïve!", (), "und"),
    ],
)
def test_language_of_texts_that_say_none(text, languages, language):
    """As search guesses it; what is English is cleaned."""
    model = speaking(languages)
    assert torch.equal(model.encode_texts([text]), model.encode_texts([text], language))
    assert model.can_encode(text) == model.can_encode(text, language)


def test_languages_of_texts_are_guessed_one_by_one(model):
    texts = ["A dog, runs!!", "一只狗在跑", "Café — naïve!"]
    alone = torch.cat([model.encode_texts([one]) for one in texts])
    torch.testing.assert_close(model.encode_texts(texts), alone, rtol=0, atol=1e-6)


def test_languages_without_py3langid(monkeypatch):
    """The package belongs to the extra `search`; scripts are told apart without it."""
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    monkeypatch.setattr(language_detection, "_identifier", language_detection._identifier.__wrapped__)
    texts = ["A dog runs", "一只狗", "Ça va"]
    assert embedding.detect_languages(texts, ("en", "fr", "zh")) == ["en", "zh", "und"]
    assert embedding.detect_languages(texts, ("fr", "de")) == ["und", "und", "und"]


def test_similarity(model, videos):
    texts, clips = model.encode_texts(TEXTS), model.encode_videos(videos)
    scores = model.similarity(texts, clips)
    assert scores.shape == (len(TEXTS), len(videos))
    torch.testing.assert_close(scores, texts @ clips.T)
    torch.testing.assert_close(model.similarity(3 * texts[0], clips.numpy()), scores[:1])
    torch.testing.assert_close(model.similarity(texts, texts).diagonal(), torch.ones(len(TEXTS)))


def test_a_very_long_text_is_cut(model):
    """The encoder has positions for 512 tokens."""
    words = " ".join(["dog runs"] * 1000)
    longer = words + " and a bird sleeps"
    ours, theirs, short = model.encode_texts([words, longer, "dog runs"], "de")
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, short)


@pytest.mark.parametrize(
    "shape", [(3, SIZE - 1), (SIZE,), (0, SIZE), (1, 3, SIZE)], ids=["size", "no frames axis", "empty", "3-d"]
)
def test_wrong_features(model, shape):
    wrong = np.ones(shape, np.float32)
    with pytest.raises(InvalidValueError, match=r"expected \(frames, 12\)") as caught:
        model.encode_videos([np.ones((2, SIZE), np.float32), wrong])
    assert caught.value.parameter == "videos"


def test_wrong_features_in_training(model):
    batch = VideoBatch.of(np.ones((4, 5), np.float32), np.array([1, 3]))
    with pytest.raises(InvalidValueError, match=r"5 numbers, the model takes 12: use the feature"):
        model.video_encoder(batch)


def test_features_of_other_types(model, videos):
    """Doubles and halves, and lists of numbers, are as good as float32."""
    expected = model.encode_videos(videos[3:4])
    for video in (videos[3].astype(np.float64), videos[3].tolist()):
        assert torch.equal(model.encode_videos([video]), expected)
    halves = model.encode_videos([videos[3].astype(np.float16)])
    torch.testing.assert_close(halves, expected, rtol=0, atol=1e-2)


def test_other_precisions_of_the_model(videos):
    expected = make_model().encode_videos(videos)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.bfloat16, 0.1)):
        model = make_model().to(dtype)
        found = model.encode_videos(videos)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
        assert model.encode_texts(TEXTS, "en").dtype == torch.float32


# ─── training ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("measure", ["cosine", "order"])
def test_losses_are_computed_in_full(measure):
    """Mixed precision is for the encoders: similarities divided by a temperature need all digits."""
    draw = torch.Generator().manual_seed(0)
    rows = [torch.nn.functional.normalize(torch.randn(64, 32, generator=draw), dim=1) for _ in range(4)]
    views = ViewEmbeddings(rows[0], rows[1], {"en": rows[2]}, {"en": rows[3]})
    loss = MLCMRLoss(LossConfig(measure=measure))
    whole = loss(views)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(views) == whole
    half = [one.bfloat16() for one in rows]
    rounded = [one.float() for one in half]
    assert loss(ViewEmbeddings(half[0], half[1], {"en": half[2]}, {"en": half[3]})) == loss(
        ViewEmbeddings(rounded[0], rounded[1], {"en": rounded[2]}, {"en": rounded[3]})
    )
    double = [one.double() for one in rows]
    doubled = loss(ViewEmbeddings(double[0], double[1], {"en": double[2]}, {"en": double[3]}))
    assert all(term.dtype == torch.float64 for term in doubled.values())


@pytest.mark.parametrize("examples", [1, 5])
@pytest.mark.parametrize("padding", ["masked", "published"])
def test_a_step_trains(examples, padding):
    model = make_model(padding=padding).train()
    batch = pair_batch(model, examples)
    loss = torch.stack(list(MLCMRLoss()(model(batch)).values())).sum()
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_one_example_leaves_the_running_statistics_alone():
    model = make_model().train()
    before = {name: tensor.clone() for name, tensor in model.named_buffers() if "running" in name}
    model(pair_batch(model, 1))
    after = dict(model.named_buffers())
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    model(pair_batch(model, 2))
    assert not any(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("trained_layers", [0, 1, 3, "all"])
def test_frozen_does_not_move_and_the_rest_does(trained_layers):
    arrays = golden()
    model = golden_model(arrays)
    layers = len(transformer_layers(model.text_encoder.transformer))
    assert layers == 8
    model = MLCMR(
        ModelConfig(TextConfig(trained_layers=trained_layers), model.config.video, 32, 0.0, "masked"),
        48,
        model.text_encoder.transformer.requires_grad_(),
        model.text_encoder.tokenizer,
    ).double()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, OptimizerConfig(learning_rate=1e-2))
    for _ in range(2):
        optimizer.zero_grad()
        torch.stack(list(MLCMRLoss()(model.train()(golden_batch(arrays))).values())).sum().backward()
        optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    transformer = {name for name in before if name.startswith("text_encoder.transformer.")}
    assert before.keys() - transformer - moved == set(), "all outside the encoder is trained"
    if trained_layers == "all":
        # Nothing reaches the words and positions that do not occur, but the tables move.
        assert transformer <= moved
    else:
        prefixes = tuple(
            f"text_encoder.transformer.encoder.layer.{layer}." for layer in range(8 - trained_layers, 8)
        )
        assert transformer & moved == {name for name in transformer if name.startswith(prefixes)}


@pytest.mark.parametrize(
    ("text", "language", "read"),
    [("A dog runs.", "en", True), ("一只狗", "zh", True), ("狗 ☃", "zh", True), ("!!!", "en", False),
     ("狗", "en", False), ("☃", "zh", False), ("\u200b", "und", False), ("", "en", False)],
)  # fmt: skip
def test_what_a_model_reads(text, language, read, model):
    assert model.can_encode(text, language) == read


def test_one_text_is_not_many(model):
    with pytest.raises(InvalidValueError, match="`texts` must be a list"):
        model.encode_texts("a dog runs", "en")
