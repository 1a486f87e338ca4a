"""A model embeds files where it knows its frame encoder, or is told which to use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcmr.errors import CorruptFileError, InvalidValueError, NotFoundError
from mlcmr.extraction.encoders.histogram import HISTOGRAM, HistogramEncoder
from mlcmr.extraction.extract_collection import sample_file
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.model.encoders.scratch import new_encoder
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.provenance import Provenance
from mlcmr.model.two_tower import TwoTower
from tests.helpers.models import write_clip
from tests.helpers.small_models import TEXTS
from tests.helpers.tiny import tiny_model
from tests.helpers.videos import make_video


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("films")
    return [make_video(folder / f"{n}.mp4", frames=n) for n in (20, 45)]


@pytest.fixture(scope="module")
def model() -> MLCMR:
    """Trained on histograms of 4 frames per video, as its folder would say."""
    torch.manual_seed(0)
    config = tiny_model()
    known = Provenance(("en",), feature=HISTOGRAM, num_frames=4)
    parts = new_encoder(config.text.new, TEXTS, lowercase=True)
    return MLCMR(config, HistogramEncoder().dimension, *parts, known).eval()


def test_files_are_embedded_as_their_features(model, films, tmp_path):
    features = [sample_file(film, HistogramEncoder(), Sampling(num_frames=4))[1] for film in films]
    expected = model.encode_videos(features)
    assert torch.equal(model.encode_files(films), expected)
    alone = model.encode_files([str(films[1])])
    torch.testing.assert_close(alone, expected[1:], rtol=0, atol=1e-6)
    model.save_pretrained(tmp_path)
    assert torch.equal(MLCMR.from_pretrained(tmp_path).encode_files(films), expected)


def test_an_encoder_that_the_caller_names(model, films, monkeypatch):
    monkeypatch.setattr(model, "provenance", Provenance())
    with pytest.raises(InvalidValueError, match=r"does not say which frame encoder .* name it in `encoder`"):
        model.encode_files(films)
    fps = HistogramEncoder().fps
    features = [sample_file(film, HistogramEncoder(), Sampling(fps=fps))[1] for film in films]
    assert torch.equal(model.encode_files(films, encoder=HISTOGRAM), model.encode_videos(features))


def test_a_function_that_returns_features(model, films):
    size = model.feature_size
    found = model.encode_files(films, encoder=lambda path: np.full((3, size), len(str(path)), np.float32))
    assert torch.equal(
        found, model.encode_videos([np.full((3, size), len(str(f)), np.float32) for f in films])
    )
    with pytest.raises(InvalidValueError, match="expected \\(frames, "):
        model.encode_files(films, encoder=lambda path: np.ones((3, size + 1), np.float32))


def test_a_two_tower_model_is_its_own_frame_encoder(films, tmp_path):
    model = TwoTower.from_pretrained(write_clip(tmp_path / "clip"))
    found = model.encode_files(films)
    assert found.shape == (2, model.feature_size)
    assert model.similarity(found, found).diagonal() == pytest.approx(1)


def test_what_only_a_file_names_is_neither_downloaded_nor_imported(model, films, monkeypatch):
    for name, error in (("somebody/encoder", NotFoundError), ("somebodys.code:Encoder", InvalidValueError)):
        monkeypatch.setattr(model, "provenance", replace(model.provenance, encoder=name))
        with pytest.raises(error, match="name it"):
            model.encode_files(films)


def test_paths_that_are_none(model, tmp_path):
    with pytest.raises(InvalidValueError, match="`paths` must be a list"):
        model.encode_files("clip.mp4")
    with pytest.raises(CorruptFileError, match=r"none\.mp4"):
        model.encode_files([tmp_path / "none.mp4"])
