"""Frame encoders by name, as objects, and the contract that they keep."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mlcmr.cli import main
from mlcmr.data.features.frame_features import open_features
from mlcmr.errors import InvalidValueError
from mlcmr.extraction import extract, load_encoder
from mlcmr.extraction.encoders.base import feature_name
from mlcmr.extraction.encoders.histogram import HistogramEncoder
from mlcmr.testing import check_frame_encoder
from tests.helpers.extraction import make_model, run

OWN = '''
import numpy as np
from pathlib import Path

Path(__file__).with_suffix(".imported").touch()


class Mean:
    """The mean colour."""

    name, feature, dimension, frames_per_feature = "mean", "mean", 3, 1
    fps, batch_size, needs_previous_frame = 2.0, 8, False

    def __init__(self, device="none"):
        self.device = device

    def prepare(self, picture):
        return picture.mean(axis=(0, 1))

    def encode_prepared(self, prepared):
        return np.stack(prepared).astype(np.float32)

    def encode(self, pictures):
        return self.encode_prepared([self.prepare(picture) for picture in pictures])


class Plain(Mean):
    def __init__(self):
        super().__init__()


class Half:
    name = "half"


number = 3
'''


@pytest.fixture
def own(tmp_path, monkeypatch, request) -> str:
    """The name of a module with frame encoders, which nobody has imported yet."""
    name = f"own_{request.node.name.partition('[')[0]}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def test_features_are_named_after_their_encoder():
    assert feature_name("openai/clip-vit-base-patch16") == "clip-vit-base-patch16"
    assert feature_name("/models/my model/") == "my_model"
    with pytest.raises(InvalidValueError, match="`feature`"):
        feature_name("/")


def test_the_built_in_encoder_has_two_names(videos, tmp_path):
    for name in ("hues228", "color-histogram"):
        encoder = load_encoder(name)
        assert isinstance(encoder, HistogramEncoder)
        assert (encoder.name, encoder.feature) == ("hues228", "hues228")
    run(videos, tmp_path / "mine")
    assert run(videos, tmp_path / "mine", encoder="color-histogram").extracted == 0


def test_a_class_of_another_package_is_opened_by_name_and_again(own, videos, tmp_path):
    words = ["extract", str(videos), "--collection", str(tmp_path / "mine"), "--encoder", f"{own}:Mean"]
    assert main(words) == 0
    settings = json.loads((tmp_path / "mine/FeatureData/mean/encoder.json").read_text())
    assert settings["encoder"] == f"{own}:Mean"
    features = open_features(tmp_path / "mine/FeatureData/mean")
    assert len(features.videos) == 5
    again = load_encoder(settings["encoder"])
    run(videos, tmp_path / "again", encoder=again)
    np.testing.assert_array_equal(
        open_features(tmp_path / "again/FeatureData/mean")["photo"], features["photo"]
    )


def test_a_class_gets_the_device_if_it_takes_one(own):
    assert load_encoder(f"{own}:Mean", device="cpu").device == "cpu"
    assert load_encoder(f"{own}:Plain", device="cpu").device == "none"


def test_an_object_is_an_encoder(own, videos, tmp_path):
    mean = load_encoder(f"{own}:Mean")
    assert run(videos, tmp_path / "mine", encoder=mean).feature == "mean"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Half", "not a frame encoder, without .*dimension.*prepare"),
        ("number", "not a class"),
        ("Absent", "cannot be imported"),
    ],
)
def test_what_is_no_encoder_is_one_line(own, name, words):
    with pytest.raises(InvalidValueError, match=words) as caught:
        load_encoder(f"{own}:{name}")
    assert caught.value.parameter == "encoder"
    assert "\n" not in str(caught.value)


def test_an_object_that_is_no_encoder_is_one_line(videos, tmp_path):
    with pytest.raises(InvalidValueError, match="not a frame encoder, without name"):
        extract(videos, tmp_path / "mine", encoder=object())


def test_a_file_imports_no_code_that_the_user_has_not_named(own, tmp_path):
    """In a process of its own: what one test names, another may find."""
    code = f"""
from mlcmr.errors import InvalidValueError
from mlcmr.search.models import open_named_encoder
try:
    open_named_encoder("{own}:Mean")
except InvalidValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "`encoder` names code of another package" in done.stdout
    assert not (tmp_path / f"{own}.imported").exists()


def test_a_folder_goes_before_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_model("vit", tmp_path).rename(tmp_path / "json:loads")
    assert load_encoder("json:loads").name == str(folder)


# ─── the contract ────────────────────────────────────────────────────────────────────────────────────────


def test_encoders_keep_the_contract(own, tmp_path):
    check_frame_encoder(HistogramEncoder())
    check_frame_encoder(load_encoder(f"{own}:Mean"))
    for kind in ("clip", "videomae"):
        check_frame_encoder(load_encoder(make_model(kind, tmp_path)))


class Broken(HistogramEncoder):
    """An encoder with a fault."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.needs_previous_frame = fault != "previous"
        self.dimension = "many" if fault == "dimension" else super().dimension
        self.fps = "fast" if fault == "fps" else super().fps

    def prepare(self, picture):
        if self.fault == "changes" and picture.flags.writeable:
            picture[0, 0] += 1
        return "a picture" if self.fault == "text" else super().prepare(picture)

    def encode(self, pictures):
        features = (HistogramEncoder() if self.fault == "text" else super()).encode(pictures)
        return features.tolist() if self.fault == "list" else features

    def encode_prepared(self, prepared):
        features = super().encode_prepared(prepared)
        if self.fault == "random":
            features = features + np.random.default_rng().random(features.shape, np.float32)
        if self.fault == "nan":
            features = features * np.float32(np.nan)
        if self.fault == "double":
            features = features.astype(np.float64)
        return features[1:] if self.fault == "rows" else features


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("dimension", "'dimension' is a whole number"),
        ("changes", "does not change pictures"),
        ("random", "equal pictures give equal features"),
        ("nan", "finite numbers"),
        ("double", "float32"),
        ("rows", r"\(n, dimension\)"),
        ("list", "features are a NumPy array, not list"),
        ("fps", "'fps' is a number"),
        ("text", "'prepare' returns a NumPy array, not str"),
        ("previous", "does not depend on other pictures"),
    ],
)
def test_each_fault_of_an_encoder_is_found(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_frame_encoder(Broken(fault))
