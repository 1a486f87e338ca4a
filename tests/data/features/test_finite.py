"""Values that are not finite are found where they enter, and named."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load_file, save_file

from mlcmr.cli import main
from mlcmr.data.features.finite import not_finite, require_finite, require_normalisable
from mlcmr.errors import CorruptFileError
from mlcmr.evaluation import evaluate
from mlcmr.model.mlcmr import MLCMR
from tests.helpers.tiny import FEATURE, SPLITS, video_name

WRONG = {
    "NaN": (np.nan, np.float32),
    "infinity": (-np.inf, np.float16),
    r"1e\+300, too large": (1e300, np.float64),
    "infinity ": (np.inf, np.float64),
}


@pytest.mark.parametrize("words", WRONG)
@given(shape=array_shapes(min_dims=1, max_dims=3, max_side=6), data=st.data())
def test_the_first_row_that_is_wrong_is_named(words, shape, data):
    number, kind = WRONG[words]
    rows = np.ones(shape, kind)
    places = data.draw(st.lists(st.integers(0, rows.size - 1), min_size=1, max_size=3))
    rows.reshape(-1)[places] = number
    first = min(places) // (rows.size // len(rows))
    with pytest.raises(CorruptFileError, match=rf"^row {first}: holds {words.strip()}.*; look$"):
        require_finite(rows, lambda row: f"row {row}", "look")
    assert first == not_finite(rows)[0]


@given(
    arrays(
        np.float32,
        array_shapes(max_dims=3),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_finite_numbers_pass(rows):
    require_finite(rows, str)
    assert not not_finite(rows).size


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.bool_, np.float16])
def test_numbers_of_any_type_pass(kind):
    require_finite(np.ones((2, 3), kind), str)


def test_a_vector_of_zeros_has_no_direction():
    rows = np.eye(3, dtype=np.float32)
    require_normalisable(rows, str)
    for nothing in (0, 1e-30):
        rows[1] = nothing
        with pytest.raises(CorruptFileError, match=r"^video 1: all numbers are zero"):
            require_normalisable(rows, lambda row: f"video {row}")


# ─── where it enters ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def diverged(trained, indexed, tmp_path):
    """A place with the collection, and a run and an index whose model has weights that a test spoils."""
    assert indexed.is_dir()
    place = shutil.copytree(trained.parent, tmp_path / "place")
    for path in (place / "run" / "config.yaml", place / "index" / "index.json"):
        path.write_text(path.read_text().replace(str(trained.parent), str(place)))

    def spoil(name, number):
        path = place / "run" / "model" / "model.safetensors"
        weights = load_file(path)
        weights[name].view(-1)[-1] = number
        save_file(weights, path, metadata={"format": "pt"})
        return place

    return spoil


SPOILT = {
    "video_mapping.norm.running_var": torch.nan,
    "text_mapping.linear.weight": torch.inf,
    "text_encoder.transformer.embeddings.word_embeddings.weight": -torch.inf,
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_diverged_model_is_refused(name, diverged):
    place = diverged(name, SPOILT[name])
    with pytest.raises(
        CorruptFileError, match=rf"model '.*run/model': the weights '{name}' are not finite numbers"
    ):
        MLCMR.from_pretrained(place / "run" / "model")


@pytest.mark.parametrize(
    "words",
    [
        "evaluate {0}/run --device cpu",
        "index {0}/tiny --run {0}/run --to {0}/new --device cpu",
        "index {0}/tiny --model {0}/run/model --feature feat --to {0}/new --device cpu",
        "search dog --index {0}/index --device cpu",
    ],
)
def test_every_command_says_that_a_run_diverged(words, diverged, capfd):
    place = diverged("video_mapping.norm.bias", torch.nan)
    capfd.readouterr()
    assert main(words.format(place).split()) == 2
    said = capfd.readouterr().err.strip()
    assert "are not finite numbers, as after a training that diverged" in said
    assert "\n" not in said
    assert not (place / "new").exists()


def test_evaluation_names_the_frame(diverged):
    place = diverged("video_mapping.norm.bias", 0.0)
    path = place / "tiny" / "FeatureData" / FEATURE / "feature.bin"
    matrix = np.fromfile(path, "<f4")
    matrix[-1] = np.inf
    matrix.tofile(path)
    video = video_name(*SPLITS["test"][-1])
    with pytest.raises(
        CorruptFileError, match=rf"feature\.bin: frame \d of video '{video}' \(row index \d+\): holds inf"
    ):
        evaluate(place / "run", device="cpu")


def test_evaluation_names_what_is_embedded_as_nothing(trained, monkeypatch):
    """Weights and features may be finite, and what comes of them too large."""
    encode = MLCMR.encode_texts

    def broken(self, texts, *others, **more):
        embeddings = encode(self, texts, *others, **more)
        embeddings[2] = torch.nan
        return embeddings

    monkeypatch.setattr(MLCMR, "encode_texts", broken)
    with pytest.raises(CorruptFileError, match=r"^the embedding of caption '.*#\d': holds NaN.*diverge\?$"):
        evaluate(trained, device="cpu")
