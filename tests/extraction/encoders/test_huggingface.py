"""Image and video models as frame encoders."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mlcmr.data.features.frame_features import open_features
from mlcmr.errors import InvalidValueError, MlcmrError
from mlcmr.extraction import sample_file
from mlcmr.extraction.encoders.registry import load_encoder
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.records import read_videos
from tests.helpers.extraction import SMALL, TEXT, VISION, make_model, run


@pytest.mark.parametrize(
    "kind", ["clip", "clip-vision", "siglip", "vit", "vit-classifier", "dinov2", "convnext"]
)
def test_image_models(kind, videos, tmp_path):
    encoder = load_encoder(make_model(kind, tmp_path))
    assert (encoder.feature, encoder.frames_per_feature) == (kind, 1)
    assert encoder.dimension == (12 if kind.startswith("clip") else 16)
    assert_encodes(encoder, videos, tmp_path)


@pytest.mark.parametrize("kind", ["videomae", "timesformer"])
def test_video_models(kind, videos, tmp_path):
    encoder = load_encoder(make_model(kind, tmp_path))
    assert (encoder.dimension, encoder.frames_per_feature) == (16, 4)
    assert_encodes(encoder, videos, tmp_path)
    rows = {record.video: len(record.times) for record in read_videos(tmp_path / "mine")}
    assert rows == {
        "a": 6,
        "b": 1,
        "b_mkv": 9,
        "deep_er_狗": 2,
        "photo": 1,
    }  # windows of 4 of 24, 4, 36, 6, 1 frames


def assert_encodes(encoder, videos: Path, tmp_path: Path) -> None:
    """The features are finite, differ between pictures, and do not depend on what is encoded with them."""
    run(videos, tmp_path / "mine", encoder=encoder)
    features = open_features(tmp_path / "mine/FeatureData" / encoder.feature)
    assert np.isfinite(features.matrix).all()
    assert not np.allclose(features["a"][0], features["photo"][0])
    run(videos / "a.mp4", tmp_path / "alone", encoder=load_encoder(encoder.name))
    np.testing.assert_array_equal(
        open_features(tmp_path / "alone/FeatureData" / encoder.feature)["a"], features["a"]
    )
    _, rows = sample_file(videos / "a.mp4", encoder, Sampling(fps=encoder.fps))
    np.testing.assert_allclose(rows, features["a"], atol=1e-6)


def test_a_clip_feature_is_the_embedding_it_shares_with_texts(tiny_clip):
    from transformers import AutoImageProcessor, CLIPModel

    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    pixels = AutoImageProcessor.from_pretrained(tiny_clip, backend="pil")(images=picture, return_tensors="pt")
    model = CLIPModel.from_pretrained(tiny_clip).eval()
    with torch.no_grad():
        hidden = model.vision_model(**pixels).pooler_output
        expected = model.visual_projection(hidden).numpy()
    np.testing.assert_allclose(load_encoder(tiny_clip).encode([picture]), expected, atol=1e-6)


def test_a_pooler_that_was_not_trained_is_not_used(tmp_path):
    folder = make_model("vit-classifier", tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    one, other = (load_encoder(folder).encode([picture]) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_what_is_no_image_model_says_so(tmp_path):
    import transformers as t

    t.BertModel(t.BertConfig(**TEXT)).save_pretrained(tmp_path / "bert")
    t.ViTImageProcessorPil().save_pretrained(tmp_path / "bert")
    t.ViTModel(t.ViTConfig(**VISION, **SMALL)).save_pretrained(tmp_path / "bare")
    (tmp_path / "empty").mkdir()
    for name in ("bert", "bare", "empty"):
        with pytest.raises(MlcmrError, match=f"encoder '.*{name}'"):
            load_encoder(tmp_path / name)
    with pytest.raises(InvalidValueError, match=r"device.* nonsense"):
        load_encoder(make_model("vit", tmp_path), device="nonsense")


def test_a_model_that_reads_only_videos_says_so(tmp_path):
    import transformers as t

    small = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    predictor = {f"pred_{name}": size for name, size in small.items()}
    config = t.VJEPA2Config(crop_size=32, patch_size=8, frames_per_clip=4, **small, **predictor)
    t.VJEPA2Model(config).save_pretrained(tmp_path)
    with pytest.raises(
        InvalidValueError, match="VJEPA2Model reads videos, not pictures, and is not supported; cho"
    ):
        load_encoder(tmp_path)
