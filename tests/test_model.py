"""A model embeds each item by itself, survives its files, and works with any encoder."""

import json
import shutil
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from golden_model import golden, golden_batch, golden_model
from mlcmr.data.batches import PairBatch, TokenBatch, VideoBatch
from mlcmr.errors import UserError
from mlcmr.model import checkpoint, hub, text
from mlcmr.model.config import LossConfig, ModelConfig, NewEncoder, TextConfig, VideoConfig
from mlcmr.model.losses import MLCMRLoss, ViewEmbeddings
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.new_encoder import new_encoder
from mlcmr.model.text import TextEncoder, group_bounds, pretrained_encoder, transformer_layers
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.optimizer import make_optimizer
from tiny import SIZE, tiny_model

TEXTS = [
    "A dog runs.",
    "",
    "A girl with a red hat sings a very long song in the rain while a horse looks on and eats",
    "Café — naïve, İstanbul!",
    "dog",
    "a man swims",
    "a bird sleeps in a tree",
]
CHINESE = ["一只狗在跑", "女孩唱歌", "视频里有一匹马，游泳"]


@pytest.fixture(scope="module")
def videos() -> list[np.ndarray]:
    """Shorter than every window, longer than the cut, and in between."""
    draw = np.random.default_rng(0)
    return [draw.normal(size=(n, SIZE)).astype(np.float32) for n in (1, 2, 70, 5, 64, 3, 1, 12)]


def make_model(**changes) -> MLCMR:
    """A model whose every part matters: nothing is at its start value."""
    torch.manual_seed(0)
    config = tiny_model(**changes)
    transformer, tokenizer = new_encoder(config.text.new, [*TEXTS, *CHINESE], lowercase=True)
    model = MLCMR(config, SIZE, transformer, tokenizer)
    with torch.no_grad():
        for norm in (model.text_mapping.norm, model.video_mapping.norm):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
    return model.eval()


@pytest.fixture(scope="module")
def model() -> MLCMR:
    return make_model()


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
    """What the default mode is there to avoid."""
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
    with pytest.raises(UserError, match=r"expected \(frames, 12\)"):
        model.encode_videos([np.ones((2, SIZE), np.float32), wrong])


def test_wrong_features_in_training(model):
    batch = VideoBatch.of(np.ones((4, 5), np.float32), np.array([1, 3]))
    with pytest.raises(UserError, match=r"5 numbers, the model was made for 12: use the feature"):
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


# ─── grouping by length ──────────────────────────────────────────────────────────────────────────────────


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9).map(sorted), cost=st.integers(0, 40))
def test_groups_cost_least(lengths, cost):
    """Against every way to cut."""

    def total(bounds: list[int]) -> int:
        return sum((stop - start) * lengths[stop - 1] + cost for start, stop in pairwise(bounds))

    found = group_bounds(lengths, cost)
    assert found[0] == 0
    assert found[-1] == len(lengths)
    assert found == sorted(set(found))
    inner = range(1, len(lengths))
    every = ([0, *cuts, len(lengths)] for count in range(len(lengths)) for cuts in combinations(inner, count))
    assert total(found) == min(map(total, every))


def test_grouping_changes_nothing(monkeypatch):
    """Embeddings and gradients of one group, of many, and of what is chosen."""
    model = make_model().double()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    tokens = model.text_encoder.tokenize([*TEXTS, *CHINESE], ["en"] * len(TEXTS) + ["zh"] * len(CHINESE))
    batch = TokenBatch.of(tokens)
    found = []
    for cost in (0, 40, 10**9):
        monkeypatch.setattr(text, "_GROUP_COST", {"cpu": cost, "cuda": cost})
        model.zero_grad()
        features = model.text_encoder(batch)
        features.square().sum().backward()
        found.append([features.detach(), *(p.grad.clone() for p in model.text_encoder.parameters())])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


# ─── files ───────────────────────────────────────────────────────────────────────────────────────────────


def assert_equal_models(model: MLCMR, other: MLCMR, videos: list[np.ndarray]) -> None:
    assert not other.training
    assert other.config == model.config
    assert torch.equal(model.encode_texts(TEXTS, "en"), other.encode_texts(TEXTS, "en"))
    assert torch.equal(model.encode_texts(CHINESE, "zh"), other.encode_texts(CHINESE, "zh"))
    assert torch.equal(model.encode_videos(videos), other.encode_videos(videos))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_saved_and_opened(model, videos, tmp_path):
    model.save_pretrained(tmp_path / "model")
    opened = MLCMR.from_pretrained(tmp_path / "model")
    assert_equal_models(model, opened, videos)
    first = files(tmp_path / "model")
    assert set(first) == {
        "config.json",
        "model.safetensors",
        "text_encoder/config.json",
        "text_encoder/tokenizer.json",
        "text_encoder/tokenizer_config.json",
    }
    opened.save_pretrained(str(tmp_path / "model"))
    again = MLCMR.from_pretrained(tmp_path / "model")
    assert_equal_models(model, again, videos)
    for name in ("config.json", "model.safetensors", "text_encoder/tokenizer.json"):
        assert files(tmp_path / "model")[name] == first[name]


def test_saved_over_another(model, videos, tmp_path):
    other = make_model(
        embedding_size=16, text=TextConfig(new=NewEncoder(2, 16, 2, 200), trained_layers="all")
    )
    other.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert_equal_models(model, MLCMR.from_pretrained(tmp_path), videos)


def test_weights_do_not_outlive_what_they_fit(model, tmp_path, monkeypatch):
    """A second save that dies leaves the first model whole, or no model; never a mixture."""

    def die(*_, **__):
        raise KeyboardInterrupt

    model.save_pretrained(tmp_path)
    before = files(tmp_path)
    monkeypatch.setattr(checkpoint, "save_file", die)
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(tmp_path)
    assert files(tmp_path) == before
    # Equal settings, but other words: the old weights would speak of other tokens.
    torch.manual_seed(0)
    transformer, tokenizer = new_encoder(model.config.text.new, ["other words than before"], lowercase=True)
    with pytest.raises(KeyboardInterrupt):
        MLCMR(model.config, SIZE, transformer, tokenizer).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="not a complete model folder"):
        MLCMR.from_pretrained(tmp_path)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b"x" * 1000])
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "text_encoder/config.json",
        "text_encoder/tokenizer.json",
    ],
)
def test_damaged_file(saved, tmp_path, name, content):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        MLCMR.from_pretrained(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_half_of_the_weights(saved, tmp_path):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged"):
        MLCMR.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embedding_size", 16),
        ("embedding_size", "many"),
        ("embedding_size", -1),
        ("padding", "other"),
        ("unknown", 1),
        ("video", None),
    ],
)
def test_foreign_configuration(saved, tmp_path, name, value):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    content = json.loads((folder / "config.json").read_text())
    content["model"][name] = value
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=str(folder)):
        MLCMR.from_pretrained(folder)


def test_no_such_model(tmp_path):
    for name, message in (
        (tmp_path / "nothing", f"model '{tmp_path}/nothing': no such folder; name another$"),
        ("a/b/c", "model 'a/b/c': no such folder; name another$"),
        ("my model", "model 'my model': no such folder, and no such model on the hub; name another$"),
        ("nobody/nothing", "cannot be downloaded: no connection to the hub; name a folder that holds it$"),
    ):
        with pytest.raises(UserError, match=message):
            MLCMR.from_pretrained(name)
    with pytest.raises(UserError, match=r"config\.json: no such file; this is not a complete model folder"):
        MLCMR.from_pretrained(tmp_path)


def test_folder_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        model.save_pretrained(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written"):
        model.save_pretrained(tmp_path / "file" / "below")


class FakeHub:
    """Keeps what is uploaded."""

    store: Path

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def create_repo(self, name: str, *, private: bool, exist_ok: bool):
        assert exist_ok
        if self.token == "wrong":
            raise OSError("401 Unauthorized\nmore")
        return type("Url", (), {"repo_id": f"{'private' if private else 'public'}/{name}"})

    def upload_folder(self, *, repo_id: str, folder_path: str):
        shutil.copytree(folder_path, self.store / repo_id)
        return type("Commit", (), {"commit_url": f"https://hub/{repo_id}/commit/1"})


def test_pushed_to_the_hub(model, videos, tmp_path, monkeypatch):
    FakeHub.store = tmp_path
    monkeypatch.setattr(hub, "HfApi", FakeHub)
    assert model.push_to_hub("mine", private=True) == "https://hub/private/mine/commit/1"
    assert_equal_models(model, MLCMR.from_pretrained(tmp_path / "private/mine"), videos)
    with pytest.raises(UserError, match=r"^model 'mine': cannot be uploaded: 401 Unauthorized more$"):
        model.push_to_hub("mine", token="wrong")


def test_opened_from_the_hub(model, saved, videos, monkeypatch):
    asked = []
    monkeypatch.setattr(
        hub.HfApi, "model_info", lambda api, name, revision: asked.append((api.token, name, revision))
    )
    monkeypatch.setattr(hub, "snapshot_download", lambda *args, **kw: asked.append((args, kw)) or saved)
    opened = MLCMR.from_pretrained("people/model", revision="v1", token="secret")
    assert asked == [
        ("secret", "people/model", "v1"),
        (("people/model",), {"revision": "v1", "token": "secret"}),
    ]
    assert_equal_models(model, opened, videos)


def test_a_download_that_fails_is_one_line(monkeypatch):
    def download(*_, **__):
        raise RuntimeError("no room\non the disk")

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: "/cache/config.json")
    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(UserError, match=r"^model 'people/model': cannot be downloaded: no room on the disk$"):
        MLCMR.from_pretrained("people/model")


# ─── training ────────────────────────────────────────────────────────────────────────────────────────────


def pair_batch(model: MLCMR, examples: int) -> PairBatch:
    draw = np.random.default_rng(1)
    lengths = draw.integers(1, 6, size=examples)
    frames = draw.normal(size=(lengths.sum(), SIZE)).astype(np.float32)
    videos = VideoBatch.of(frames, lengths)
    tokens = TokenBatch.of(model.text_encoder.tokenize(TEXTS[:examples], ["en"] * examples))
    masked = TokenBatch(tokens.ids.clone().index_fill_(0, torch.tensor([1]), 4), tokens.lengths)
    return PairBatch(videos, videos, {"en": tokens}, {"en": masked})


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


# ─── encoders ────────────────────────────────────────────────────────────────────────────────────────────


def tiny_tokenizer(
    *, mask: bool = True, sequence: str = "[CLS] $A [SEP]", pad: int = 0
) -> PreTrainedTokenizerFast:
    """A tokenizer by words, with `[PAD]` at id `pad`."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special.insert(pad, "[PAD]")
    words = sorted({word for one in TEXTS for word in one.lower().split()})
    ids = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=sequence, special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"} | (
        {"mask": "[MASK]"} if mask else {}
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": token for name, token in names.items()}
    )


SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
ENCODERS = {
    "bert": transformers.BertConfig(**SIZES),
    "roberta": transformers.RobertaConfig(**SIZES, pad_token_id=1),
    "xlm-roberta": transformers.XLMRobertaConfig(**SIZES, pad_token_id=1),
    "electra": transformers.ElectraConfig(**SIZES, embedding_size=8),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=60, dim=16, n_layers=3, n_heads=2, hidden_dim=32, max_position_embeddings=40
    ),
    "modernbert": transformers.ModernBertConfig(**SIZES, pad_token_id=0, cls_token_id=1, sep_token_id=2),
}


def write_encoder(
    folder: Path, config: transformers.PreTrainedConfig, dtype=torch.float32, **options
) -> Path:
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).to(dtype).save_pretrained(folder)
    tiny_tokenizer(pad=config.pad_token_id or 0, **options).save_pretrained(folder)
    return folder


def encoder_model(folder: Path, **options) -> MLCMR:
    text = TextConfig(**{"encoder": str(folder), "trained_layers": 2, **options})
    config = tiny_model(text=text)
    return MLCMR(config, SIZE, *pretrained_encoder(text)).eval()


@pytest.mark.parametrize("name", ENCODERS)
def test_any_encoder(name, videos, tmp_path):
    """By folder: alone = together, long texts are cut, the last layers train, files are read back."""
    model = encoder_model(write_encoder(tmp_path / "encoder", ENCODERS[name]))
    alone = torch.cat([model.encode_texts([one], "en") for one in TEXTS])
    torch.testing.assert_close(alone, model.encode_texts(TEXTS, "en"), rtol=0, atol=1e-6)
    assert model.encode_texts(["dog " * 200], "en").isfinite().all()
    trained = [
        parameter.requires_grad
        for parameter in transformer_layers(model.text_encoder.transformer).parameters()
    ]
    assert trained == sorted(trained)
    assert 0 < sum(trained) < len(trained)
    torch.stack(list(MLCMRLoss()(model.train()(pair_batch(model, 4))).values())).sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.text_encoder.parameters())
    model.eval().save_pretrained(tmp_path / "model")
    assert_equal_models(model, MLCMR.from_pretrained(tmp_path / "model"), videos)


def test_encoders_are_opened_in_single_precision(tmp_path):
    """Whatever they were stored in."""
    model = encoder_model(write_encoder(tmp_path / "encoder", ENCODERS["bert"], torch.float16))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    model.save_pretrained(tmp_path / "model")
    opened = MLCMR.from_pretrained(tmp_path / "model")
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}


def test_too_many_trained_layers(tmp_path):
    folder = write_encoder(tmp_path, ENCODERS["bert"])
    with pytest.raises(UserError, match=r"has 3 layers, but trained_layers is 6: .*trained_layers 3 or less"):
        encoder_model(folder, trained_layers=6)
    encoder_model(folder, trained_layers=3)


def test_encoder_without_masked_words(tmp_path):
    folder = write_encoder(tmp_path, ENCODERS["bert"], mask=False)
    with pytest.raises(UserError, match=r"has no mask token, which masked views need: choose an encoder"):
        encoder_model(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", r"'\.': not a Hugging Face encoder, by hub id or folder"),
        ("a/b/c", r"'a/b/c': no such folder; name another with --model\.text\.encoder"),
        ("./encoder", r"'\./encoder': no such folder"),
        ("~/no-such-encoder", "'~/no-such-encoder': no such folder"),
        ("/no-such-encoder", "'/no-such-encoder': no such folder"),
        ("my encoder", "'my encoder': no such folder, and no such model on the hub"),
        (
            "nobody/no-such-encoder",
            r"cannot be downloaded: no connection to the hub; name .* with --model\.text\.encoder, or",
        ),
    ],
)
def test_no_such_encoder(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        pretrained_encoder(TextConfig(encoder=name))


def test_an_encoder_that_the_hub_has(monkeypatch):
    """The hub is asked once, and not for what its cache has."""
    answers = iter(
        [None, RepositoryNotFoundError("404", response=Mock()), HfHubHTTPError("503", response=Mock())]
    )

    def model_info(_, name: str, revision: None) -> None:
        if answer := next(answers):
            raise answer

    monkeypatch.setattr(hub.HfApi, "model_info", model_info)
    assert hub.find_model("some/encoder", "--encoder") == "some/encoder"
    with pytest.raises(UserError, match="no such model on the hub; name another with --encoder"):
        hub.find_model("some/encoder", "--encoder")
    assert (
        hub.find_model("some/encoder", "--encoder") == "some/encoder"
    )  # the download will say what is wrong
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: "/cache/config.json")
    assert hub.find_model("some/encoder", "--encoder") == "some/encoder"
    assert next(answers, None) is None


def test_opening_an_encoder_is_silent(tmp_path, capfd):
    """Where nobody watches; whoever wants transformers' bars has them afterwards."""
    folder = write_encoder(tmp_path, ENCODERS["bert"])
    capfd.readouterr()
    logging.enable_progress_bar()
    pretrained_encoder(TextConfig(encoder=str(folder)))
    assert capfd.readouterr().err == ""
    assert logging.is_progress_bar_enabled()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b"x" * 1000])
@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
def test_damaged_encoder(tmp_path, name, content):
    folder = write_encoder(tmp_path / "encoder", ENCODERS["bert"])
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    if name == "tokenizer_config.json" and content in {None, b"{}"}:
        encoder_model(folder)  # does without
        return
    with pytest.raises(UserError, match=r"not a Hugging Face encoder|has no mask token") as caught:
        encoder_model(folder)
    assert "\n" not in str(caught.value)


def test_lowercase(tmp_path):
    """On, off, and as the tokenizer has it; also when read back."""
    plain = write_encoder(tmp_path / "plain", ENCODERS["bert"])
    upper, lower = ["A DOG runs", "ÉTÉ"], ["a dog runs", "été"]

    def same(model: MLCMR) -> bool:
        return torch.equal(model.encode_texts(upper, "fr"), model.encode_texts(lower, "fr"))

    for lowercase, expected in ((True, True), (False, False), (None, False)):
        model = encoder_model(plain, lowercase=lowercase)
        assert same(model) == expected
        for again in ("once", "twice"):
            model.save_pretrained(tmp_path / again)
            model = MLCMR.from_pretrained(tmp_path / again)
            assert same(model) == expected
        assert files(tmp_path / "once") == files(tmp_path / "twice")


def test_lowercase_of_bert(shared, tmp_path):
    """BERT's own normaliser, which takes accents off with the capitals."""
    name = str(shared / "data/bert-base-multilingual-cased")
    tokens = {
        lowercase: text.open_tokenizer(name, lowercase).backend_tokenizer.encode("Été au Café").tokens
        for lowercase in (True, False, None)
    }
    assert "".join(tokens[True]).replace("##", "") == "[CLS]eteaucafe[SEP]"
    assert tokens[False] == tokens[None]
    assert "".join(tokens[False]).replace("##", "") == "[CLS]ÉtéauCafé[SEP]"
    tokenizer = text.open_tokenizer(name, lowercase=True)
    tokenizer.save_pretrained(tmp_path)
    again = text.open_tokenizer(tmp_path, lowercase=True)
    assert again.backend_tokenizer.encode("Été au Café").tokens == tokens[True]


def test_another_normaliser_stays(tmp_path):
    folder = write_encoder(tmp_path, ENCODERS["bert"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("hound", "dog")
    tokenizer.save_pretrained(folder)
    for _ in range(2):
        backend = text.open_tokenizer(folder, lowercase=True).backend_tokenizer
        assert backend.encode("A HOUND runs.").ids == backend.encode("a dog runs.").ids


def test_multilingual_e5():
    folder = Path("~/.cache/mlcmr-models/multilingual-e5-small").expanduser()
    if not folder.is_dir():
        pytest.skip("needs the encoder multilingual-e5-small in ~/.cache/mlcmr-models")
    model = encoder_model(folder, lowercase=None)
    texts = ["Ein Hund läuft.", "一只狗在跑", "Un chien", "dog " * 600]
    alone = torch.cat([model.encode_texts([one], "de") for one in texts])
    torch.testing.assert_close(alone, model.encode_texts(texts, "de"), rtol=0, atol=2e-6)


def write_new_encoder(folder: str) -> None:
    torch.manual_seed(0)
    texts = [f"a {does}ing {who} {who}{does}" for does in ("run", "sleep", "eat") for who in "狗猫马鸟"]
    transformer, tokenizer = new_encoder(NewEncoder(1, 16, 2, 30), texts, lowercase=True)
    transformer.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert len(tokenizer) == 30


def test_new_encoder_is_the_same_in_every_process(tmp_path):
    write_new_encoder(str(tmp_path / "here"))
    program = "import sys; from test_model import write_new_encoder; write_new_encoder(sys.argv[1])"
    elsewhere = [sys.executable, "-c", program, str(tmp_path / "elsewhere")]
    subprocess.run(elsewhere, cwd=Path(__file__).parent, check=True)
    assert files(tmp_path / "here") == files(tmp_path / "elsewhere")


def test_new_encoder_reads_what_it_learnt():
    transformer, tokenizer = new_encoder(NewEncoder(1, 16, 2, 200), [*TEXTS, *CHINESE], lowercase=True)
    encoder = TextEncoder(transformer, tokenizer, trained_layers="all")
    ids, unknown = encoder.tokenize(["一只狗在跑", "☃"], ["zh", "zh"])
    assert tokenizer.decode(ids).split() == ["[CLS]", *"一只狗在跑", "[SEP]"]
    assert tokenizer.unk_token_id in unknown
    assert encoder.mask_id == tokenizer.mask_token_id


@pytest.mark.parametrize(
    ("text", "language", "read"),
    [("A dog runs.", "en", True), ("一只狗", "zh", True), ("狗 ☃", "zh", True), ("!!!", "en", False),
     ("狗", "en", False), ("☃", "zh", False), ("\u200b", "und", False), ("", "en", False)],
)  # fmt: skip
def test_what_a_model_reads(text, language, read, model):
    assert model.reads(text, language) == read


def test_one_text_is_not_many(model):
    with pytest.raises(UserError, match="list of texts"):
        model.encode_texts("a dog runs", "en")
