"""Two-tower models with a video side: X-CLIP and VideoPrism."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import VideoPrismClipModel, XCLIPModel

import mlcmr
from mlcmr.errors import MissingDependencyError
from mlcmr.extraction.encoders import huggingface
from mlcmr.extraction.encoders.registry import load_encoder
from mlcmr.model.two_tower import TwoTower
from mlcmr.search import Searcher
from mlcmr.testing import check_frame_encoder, check_model
from tests.helpers.models import TEXTS, write_videoprism, write_xclip


class FakeVideoProcessor:
    """Does what VideoPrism's does, without torchvision: resize to 36 × 36 and scale to 0…1."""

    model_input_names = ("pixel_values_videos",)

    @classmethod
    def from_pretrained(cls, _, *, trust_remote_code):
        assert not trust_remote_code
        return cls()

    def __call__(self, *, videos, return_tensors, do_sample_frames, input_data_format):
        assert (return_tensors, do_sample_frames, input_data_format) == ("pt", False, "channels_first")
        frames = [Image.fromarray(frame.transpose(1, 2, 0)).resize((36, 36)) for frame in videos[0]]
        pixels = np.stack([np.asarray(frame) for frame in frames]).transpose(0, 3, 1, 2)
        return {"pixel_values_videos": torch.from_numpy(pixels[None] / np.float32(255))}


@pytest.fixture
def videoprism(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface, "AutoVideoProcessor", FakeVideoProcessor)
    return write_videoprism(tmp_path / "videoprism")


@pytest.fixture
def xclip(tmp_path):
    return write_xclip(tmp_path / "xclip")


@pytest.fixture(params=["xclip", "videoprism"])
def folder(request):
    return request.getfixturevalue(request.param)


def test_the_contracts_hold(folder):
    encoder, model = load_encoder(folder, device="cpu"), TwoTower.from_pretrained(folder)
    assert (encoder.frames_per_feature, encoder.fps) == (4, 8)
    assert encoder.dimension == model.feature_size
    check_frame_encoder(encoder)
    check_model(model, feature_size=model.feature_size)


def test_windows_and_texts_are_those_of_x_clip(xclip):
    """Texts without the prompt that X-CLIP draws from a video: an index holds videos before it has texts."""
    own, encoder = XCLIPModel.from_pretrained(xclip).eval(), load_encoder(xclip, device="cpu")
    model = TwoTower.from_pretrained(xclip)
    draw = np.random.default_rng(0)
    window = [draw.integers(0, 256, (40, 60, 3), np.uint8) for _ in range(4)]
    pixels = torch.from_numpy(np.stack([encoder.prepare(picture) for picture in window]))[None]
    with torch.inference_mode():
        video = own.get_video_features(pixel_values=pixels).pooler_output
        words = model._tokenizer(TEXTS[0], truncation=True, max_length=16, return_tensors="pt").input_ids
        text = own.get_text_features(input_ids=words).pooler_output
    np.testing.assert_allclose(encoder.encode(window), video, atol=1e-5)
    torch.testing.assert_close(model.encode_texts(TEXTS[:1]), text / text.norm(), rtol=0, atol=1e-5)


def test_windows_are_those_of_videoprism(videoprism):
    own, encoder = VideoPrismClipModel.from_pretrained(videoprism).eval(), load_encoder(videoprism)
    pictures = [np.full((36, 36, 3), grey, np.uint8) for grey in (0, 80, 160, 240)]
    pixels = torch.stack([torch.full((3, 36, 36), grey / 255) for grey in (0, 80, 160, 240)])[None]
    with torch.inference_mode():
        expected = own.get_video_features(pixel_values_videos=pixels).pooler_output[:, 0]
    np.testing.assert_allclose(encoder.encode(pictures), expected, atol=1e-5)
    assert not np.allclose(encoder.encode(pictures[::-1]), expected, atol=1e-3)  # the order matters


def test_an_index_by_windows(folder, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    draw = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        Image.fromarray(draw.integers(0, 256, (40, 40, 3), np.uint8)).save(pictures / f"{name}.png")
    assert mlcmr.index(pictures, tmp_path / "index", model=folder, device="cpu").added == 3
    searcher = Searcher(tmp_path / "index", device="cpu")
    assert len(searcher.search("a dog", k=3)) == 3
    assert searcher.search_file(pictures / "two.png", k=1)[0].video == "two"


def test_a_processor_of_videos_needs_torchvision(tmp_path):
    folder = write_videoprism(tmp_path / "videoprism")
    if _has_torchvision():
        pytest.skip("torchvision is installed")
    with pytest.raises(MissingDependencyError, match="needs the package torchvision, which is not installed"):
        load_encoder(folder)


def _has_torchvision() -> bool:
    from transformers.utils import is_torchvision_available

    return is_torchvision_available()
