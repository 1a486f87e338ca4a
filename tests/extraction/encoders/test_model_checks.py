"""Pretrained encoders that are not like CLIP: tried when they are opened, not in the middle of the work."""

import importlib.util
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from PIL import Image
from transformers import (
    Aimv2Config,
    Aimv2Model,
    CLIPImageProcessor,
    ConvBertConfig,
    ConvBertModel,
    ConvNextConfig,
    ConvNextModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    FlavaConfig,
    FlavaImageProcessor,
    FlavaModel,
    FNetConfig,
    FNetModel,
    PreTrainedModel,
    ReformerConfig,
    ReformerModel,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    T5Config,
    T5Model,
    ViTConfig,
    ViTImageProcessor,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTModel,
    VivitConfig,
    VivitImageProcessor,
    VivitModel,
)

from mlcmr.cli import main
from mlcmr.data.batches import TokenBatch
from mlcmr.data.features.frame_features import open_features
from mlcmr.errors import CorruptFileError, InvalidValueError, MissingDependencyError, NotFoundError
from mlcmr.extraction import extract, sample_file
from mlcmr.extraction.encoders.histogram import HistogramEncoder
from mlcmr.extraction.encoders.registry import load_encoder
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.model import hub
from mlcmr.model.config import TextConfig
from mlcmr.model.encoders.text import TextEncoder, pretrained_encoder
from mlcmr.model.repeatable import require_repeatable
from mlcmr.model.two_tower import TwoTower
from mlcmr.search import Searcher
from tests.helpers.models import (
    TEXT,
    TEXTS,
    VISION,
    clip_tokenizer,
    gemma_tokenizer,
    siglip_tokenizer,
    word_pieces,
)
from tests.helpers.strangers import edit_json

SQUARE = {"height": 32, "width": 32}


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Pictures of several shapes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name, size in {"square": (40, 40), "wide": (30, 90), "tall": (100, 33), "tiny": (5, 8)}.items():
        Image.fromarray(draw.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def write_naflex(folder: Path) -> Path:
    """SigLIP 2 NaFlex: as many patches as fit, in the picture's own aspect ratio."""
    torch.manual_seed(0)
    tokenizer = gemma_tokenizer()
    vision = {key: VISION[key] for key in VISION if key != "image_size"} | {"num_patches": 16}
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 32}
    Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_mae(folder: Path) -> Path:
    torch.manual_seed(0)
    decoder = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_intermediate_size": 37}
    config = ViTMAEConfig(**VISION, **decoder, decoder_num_attention_heads=2)
    ViTMAEForPreTraining(config).save_pretrained(folder)
    ViTImageProcessor(size=SQUARE).save_pretrained(folder)
    return folder


# ─── the same each time ──────────────────────────────────────────────────────────────────────────────────


def test_an_encoder_trained_by_masking_sees_whole_pictures(pictures, tmp_path):
    folder = write_mae(tmp_path / "mae")
    encoder = load_encoder(folder, device="cpu")
    shown = [np.asarray(Image.open(path)) for path in sorted(pictures.iterdir())]
    features = encoder.encode(shown)
    torch.manual_seed(1)
    np.testing.assert_array_equal(encoder.encode(shown), features)
    own = ViTMAEForPreTraining.from_pretrained(folder).vit.eval()
    own.config.mask_ratio = 0.0
    pixels = torch.from_numpy(np.stack([encoder.prepare(picture) for picture in shown]))
    with torch.inference_mode():  # whatever the order of the patches
        expected = own(pixel_values=pixels).last_hidden_state[:, 0]
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)


def test_two_extractions_are_equal(pictures, tmp_path):
    folder = write_mae(tmp_path / "mae")
    for name in ("one", "two"):
        extract(pictures, tmp_path / name, encoder=folder, device="cpu")
    one, two = (
        (tmp_path / name / "FeatureData" / "mae" / "feature.bin").read_bytes() for name in ("one", "two")
    )
    assert one == two


def test_an_encoder_that_drops_at_random_is_refused(tmp_path, monkeypatch):
    """As one whose author left dropout on."""
    ViTModel(ViTConfig(**VISION, hidden_dropout_prob=0.5)).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size=SQUARE).save_pretrained(tmp_path / "vit")
    load_encoder(tmp_path / "vit", device="cpu")
    drop = torch.nn.functional.dropout
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: drop(x, self.p, training=True))
    with pytest.raises(InvalidValueError, match=r"vit': its output for the same input differs each time"):
        load_encoder(tmp_path / "vit", device="cpu")


def test_the_probe_leaves_the_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(InvalidValueError, match=r"^it: its output"):
        require_repeatable(lambda: torch.rand(3), "it")
    assert torch.equal(torch.rand(3), expected)
    require_repeatable(lambda: torch.ones(3) + 1e-6 * torch.rand(3), "it")


# ─── the same shape ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessor(do_resize=False),
        CLIPImageProcessor(size={"shortest_edge": 32}, do_center_crop=False),
    ],
)
def test_a_processor_that_makes_several_shapes_is_refused(processor, pictures, tmp_path, capfd):
    folder = tmp_path / "net"
    ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)).save_pretrained(folder)
    processor.save_pretrained(folder)
    capfd.readouterr()
    words = ["extract", str(pictures), "--collection", str(tmp_path / "to"), "--encoder", str(folder)]
    assert main([*words, "--device", "cpu"]) == 2
    said = capfd.readouterr().err.strip()
    assert "its processor makes pictures of several shapes (3 × " in said
    assert "\n" not in said
    assert not (tmp_path / "to").exists()
    edit_json(
        folder / "preprocessor_config.json",
        do_resize=True, size={"shortest_edge": 32}, do_center_crop=True, crop_size=SQUARE,
        image_processor_type="CLIPImageProcessor",
    )  # fmt: skip
    assert main([*words, "--device", "cpu"]) == 0  # what the line advises


def test_pictures_in_their_own_aspect_ratio(pictures, tmp_path):
    """SigLIP 2 NaFlex is given patches, and which of them are there."""
    folder = write_naflex(tmp_path / "naflex")
    encoder = load_encoder(folder, device="cpu")
    own, processor = (
        Siglip2Model.from_pretrained(folder).eval(),
        Siglip2ImageProcessor.from_pretrained(folder),
    )
    shown = [Image.open(path).convert("RGB") for path in sorted(pictures.iterdir())]
    features = encoder.encode([np.asarray(picture) for picture in shown])
    for row, picture in zip(features, shown, strict=True):
        inputs = processor(images=[picture], return_tensors="pt")
        with torch.inference_mode():
            expected = own.get_image_features(**inputs).pooler_output[0]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-5)
    # Without the mask the padding would take part.
    shapes = {tuple(encoder.prepare(np.asarray(picture))["spatial_shapes"]) for picture in shown}
    assert len(shapes) > 2


def test_search_with_naflex(pictures, tmp_path, capsys):
    folder = write_naflex(tmp_path / "naflex")
    words = ["index", str(pictures), "--model", str(folder), "--to", str(tmp_path / "index")]
    assert main([*words, "--device", "cpu"]) == 0
    assert "4 added" in capsys.readouterr().out
    searcher = Searcher(tmp_path / "index", device="cpu")
    for path in pictures.iterdir():
        best = searcher.search_file(path, k=1)[0]
        assert (best.video, best.score) == (path.stem, pytest.approx(1, abs=1e-4))
    lower, cased = TwoTower.from_pretrained(folder).encode_texts(["a dog", "A DOG"])
    torch.testing.assert_close(lower, cased)
    assert {hit.video for hit in searcher.search(TEXTS[1], k=4)} == {path.stem for path in pictures.iterdir()}


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 40), (40, 1), (40, 3)])
def test_sides_of_a_picture_are_not_taken_for_its_channels(shape, tmp_path):
    size = {"num_frames": 2, "tubelet_size": [2, 8, 8]}
    VivitModel(VivitConfig(**VISION, **size)).save_pretrained(tmp_path / "vivit")
    VivitImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE).save_pretrained(tmp_path / "vivit")
    encoder = load_encoder(tmp_path / "vivit", device="cpu")
    draw = np.random.default_rng(0)
    picture = draw.integers(0, 256, (*shape, 3), np.uint8)
    red, blue = (encoder.prepare(picture * np.uint8(kept)) for kept in ([1, 0, 0], [0, 0, 1]))
    assert [np.ptp(red[channel]) > 0 for channel in range(3)] == [max(shape) > 1, False, False]
    assert [np.ptp(blue[channel]) > 0 for channel in range(3)] == [False, False, max(shape) > 1]


# ─── one vector ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_with_a_vector_for_each_patch_is_refused(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 2}
    parts = {"text_config": {**sizes, "vocab_size": 300}, "image_config": {**VISION}}
    config = FlavaConfig(**parts, multimodal_config=sizes, hidden_size=32, projection_dim=24)
    FlavaModel(config).save_pretrained(tmp_path / "flava")
    FlavaImageProcessor(size=SQUARE, crop_size=SQUARE).save_pretrained(tmp_path / "flava")
    siglip_tokenizer().save_pretrained(tmp_path / "flava")
    with pytest.raises(
        InvalidValueError, match=r"flava': the picture features of FlavaModel are not one vector"
    ):
        load_encoder(tmp_path / "flava", device="cpu")


# ─── text encoders ───────────────────────────────────────────────────────────────────────────────────────


def open_text_encoder(model: PreTrainedModel, folder: Path) -> TextEncoder:
    model.save_pretrained(folder)
    word_pieces(None).save_pretrained(folder)
    return TextEncoder(*pretrained_encoder(TextConfig(encoder=str(folder))), trained_layers=1).eval()


def test_a_text_encoder_that_is_random_is_refused(tmp_path):
    """Reformer hashes long texts at random."""
    chunks = {"local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "axial_pos_embds": False}
    size = {"vocab_size": 300, "hidden_size": 32, "num_attention_heads": 2, "attention_head_size": 16}
    torch.manual_seed(0)
    model = ReformerModel(ReformerConfig(**size, **chunks, attn_layers=["lsh", "local"], num_buckets=4))
    with pytest.raises(
        InvalidValueError, match=r"reformer': its output for the same input differs each time"
    ):
        open_text_encoder(model, tmp_path / "reformer")


@pytest.mark.parametrize(
    ("kind", "config"), [(FNetModel, FNetConfig(hidden_size=32)), (ConvBertModel, ConvBertConfig(**TEXT))]
)
def test_texts_alone_are_as_together_where_the_encoder_sees_padding(kind, config, tmp_path):
    torch.manual_seed(0)
    config.vocab_size, config.num_hidden_layers = 300, 2
    encoder = open_text_encoder(kind(config), tmp_path / "encoder")

    def encode(texts: list[str]) -> torch.Tensor:
        with torch.inference_mode():
            features: torch.Tensor = encoder(TokenBatch.of(encoder.tokenize(texts, ["zh"] * len(texts))))
        return features

    torch.testing.assert_close(encode(TEXTS), torch.cat([encode([text]) for text in TEXTS]))


def test_a_model_that_takes_more_than_texts_is_one_line(tmp_path):
    model = T5Model(T5Config(vocab_size=300, d_model=32, d_kv=16, d_ff=37, num_layers=2, num_heads=2))
    with pytest.raises(CorruptFileError, match=r"t5': cannot encode texts by themselves: [^\n]+$"):
        open_text_encoder(model, tmp_path / "t5")


def test_two_towers_that_see_padding_are_refused(tmp_path):
    """AIMv2 lets texts without padding see what comes after each token, others not."""
    tokenizer = clip_tokenizer()
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 1}
    torch.manual_seed(0)
    model = Aimv2Model(Aimv2Config(text_config=text, vision_config=VISION, projection_dim=16))
    model.save_pretrained(tmp_path / "aim")
    tokenizer.save_pretrained(tmp_path / "aim")
    with pytest.raises(InvalidValueError, match=r"aim': the embedding of a text depends on the padding"):
        TwoTower.from_pretrained(tmp_path / "aim")


# ─── packages ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is there")
def test_a_package_that_an_encoder_needs_is_named(pictures, tmp_path, capfd):
    """DINOv3's processor is written with torchvision alone."""
    folder = tmp_path / "dinov3"
    DINOv3ViTModel(DINOv3ViTConfig(**VISION)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 32, "width": 32}}'
    )
    capfd.readouterr()
    words = ["extract", str(pictures), "--collection", str(tmp_path / "to"), "--encoder", str(folder)]
    assert main(words) == 2
    said = capfd.readouterr().err.strip()
    assert said.endswith(
        f"encoder '{folder}': needs the package torchvision, which is not installed: "
        "pip install torchvision, or choose another"
    )
    assert "\n" not in said


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is there")
def test_all_packages_of_a_processor_are_named(tmp_path):
    folder = write_mae(tmp_path / "model")
    edit_json(folder / "preprocessor_config.json", image_processor_type="TimmWrapperImageProcessor")
    with pytest.raises(MissingDependencyError, match=r"needs the package.* timm.*: pip install timm"):
        load_encoder(folder, device="cpu")


# ─── messages of the library ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no preprocessor_config.json there"),
        (
            lambda folder: edit_json(folder / "preprocessor_config.json", image_processor_type="Other"),
            "preprocessor_config.json names no image processor that the transformers library knows",
        ),
        (
            lambda folder: edit_json(folder / "config.json", model_type="other"),
            "the installed transformers library does not know models of type 'other'",
        ),
        (
            lambda folder: edit_json(folder / "config.json", model_type="flava_image_model"),
            "models of type 'flava_image_model' are not supported",
        ),
    ],
    ids=["no processor", "unknown processor", "unknown type", "type without a model"],
)
def test_a_cause_that_the_library_hides_in_a_long_message_is_named(change, told, tmp_path):
    change(write_mae(tmp_path / "model"))
    with pytest.raises(CorruptFileError) as caught:
        load_encoder(tmp_path / "model", device="cpu")
    assert str(caught.value).endswith(f": {told}")


# ─── numbers that are not finite ─────────────────────────────────────────────────────────────────────────


class Overflowing(HistogramEncoder):
    """An encoder whose numbers overflow where a picture is dark."""

    def __init__(self, wrong: float) -> None:
        self._wrong = wrong
        self.needs_previous_frame = False

    def encode_prepared(self, prepared):
        features = super().encode_prepared(prepared)
        dark = [picture.max() < 5 for picture in prepared]
        return np.where(np.array(dark)[:, None], np.float32(self._wrong), features)


@pytest.mark.parametrize(("wrong", "words"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_a_video_whose_features_are_not_finite_is_skipped_and_counted(
    wrong, words, pictures, tmp_path, capfd
):
    Image.new("RGB", (40, 40)).save(pictures / "dark.png")
    encoder = Overflowing(wrong)
    summary = extract(pictures, tmp_path / "to", encoder=encoder)
    assert (summary.extracted, [path.name for path, _ in summary.skipped]) == (4, ["dark.png"])
    assert f"dark.png: the encoder's feature holds {words}" in summary.skipped[0][1]
    assert "dark" not in open_features(tmp_path / "to" / "FeatureData" / encoder.feature)
    with pytest.raises(CorruptFileError, match=rf"dark\.png: the encoder's feature holds {words}"):
        sample_file(pictures / "dark.png", encoder, Sampling(fps=1))


def test_an_encoder_with_damaged_weights_is_refused(tmp_path):
    torch.manual_seed(0)
    model = ViTModel(ViTConfig(**VISION))
    torch.nn.init.constant_(next(model.parameters()), torch.inf)
    model.save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size=SQUARE).save_pretrained(tmp_path / "vit")
    with pytest.raises(
        CorruptFileError, match=r"^encoder '.*vit'.*'embeddings\.cls_token' are not finite numbers"
    ):
        load_encoder(tmp_path / "vit", device="cpu")


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hues28", "hues228"),
        ("some/encodr", "some/encoder"),
        ("./runs/mnie", "./runs/mine"),
        ("nothing-like-it", ""),
    ],
)
def test_a_mistyped_name_is_one_line_with_what_may_be_meant(tmp_path, monkeypatch, name, meant, connected):
    (tmp_path / "cache" / "models--some--encoder").mkdir(parents=True)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "cache"))
    error = RepositoryNotFoundError("404", response=Mock()) if connected else ConnectionError()
    monkeypatch.setattr(hub.HfApi, "model_info", Mock(side_effect=error))
    with pytest.raises(NotFoundError, match="no such folder") as raised:
        load_encoder(name)
    said = str(raised.value)
    assert "\n" not in said
    assert said.endswith(f" with `encoder`; did you mean {meant}?" if meant else " with `encoder`")
    if not name.startswith("."):
        assert ("no such model on the hub" if connected else "no connection to the hub") in said


def test_a_silent_hub_is_asked_once_with_a_limit(tmp_path, monkeypatch):
    """A download from a silent hub would be tried again and again."""
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    asked, download = Mock(side_effect=TimeoutError()), Mock()
    monkeypatch.setattr(hub.HfApi, "model_info", asked)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(NotFoundError, match=r"^encoder 'some/encoder': .*no connection to the hub"):
        load_encoder("some/encoder")
    asked.assert_called_once()
    assert asked.call_args.kwargs["timeout"] <= 10
    download.assert_not_called()
