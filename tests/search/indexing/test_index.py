"""An index is updated only with a matching model, matching features and matching options."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import mlcmr
from mlcmr.data.features.frame_features import write_features
from mlcmr.errors import InUseError, InvalidValueError, NotFoundError
from mlcmr.search import Searcher
from mlcmr.search.indexing import execute
from mlcmr.search.indexing.manifest import read_info
from mlcmr.training import train
from tests.helpers.fake_index import MeanModel, MemoryStore
from tests.helpers.indexes import content
from tests.helpers.tiny import FEATURE, SCENES, tiny_config, video_name


def test_another_model_is_refused(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    before = content(place / "index")
    other = train(tiny_config(place, place / "other", epochs=1, seed=5)).folder
    for dry_run in (True, False):
        with pytest.raises(InvalidValueError, match=r"made with another model.*cannot be compared.*`to`"):
            mlcmr.index(place / "tiny", place / "index", run=other, device="cpu", dry_run=dry_run)
    assert content(place / "index") == before


def test_a_collection_has_its_features_made(place, trained):
    with pytest.raises(InvalidValueError, match="`batch_size` is for videos"):
        mlcmr.index(place / "tiny", place / "index", run=trained, batch_size=3)
    assert not (place / "index").exists()


def test_a_second_writer_is_refused_while_the_first_opens_its_model(place, trained, monkeypatch):
    other = train(tiny_config(place, place / "other", epochs=1, seed=5)).folder
    open_run = execute.open_run

    def overtaken(run, **options):
        monkeypatch.undo()
        with pytest.raises(InUseError, match="another process writes this index"):
            mlcmr.index(place / "tiny", place / "index", run=other, device="cpu")
        return open_run(run, **options)

    monkeypatch.setattr(execute, "open_run", overtaken)
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    assert Path(read_info(place / "index").model.name) == trained
    assert Searcher(place / "index", device="cpu").size == 36


def test_a_model_that_has_changed_since_is_refused(place, trained):
    run = Path(shutil.copytree(trained, place / "run"))
    mlcmr.index(place / "tiny", place / "index", run=run, device="cpu")
    weights = run / "model" / "model.safetensors"
    content_ = bytearray(weights.read_bytes())
    content_[-1] ^= 1
    weights.write_bytes(content_)
    with pytest.raises(InvalidValueError, match="the model has changed since the index was made"):
        Searcher(place / "index", device="cpu")
    for dry_run in (True, False):
        with pytest.raises(InvalidValueError, match="made with another model"):
            mlcmr.index(place / "tiny", place / "index", run=run, device="cpu", dry_run=dry_run)
        with pytest.raises(InvalidValueError, match="the model has changed since the index was made"):
            mlcmr.index(place / "tiny", place / "index", device="cpu", dry_run=dry_run)


def test_another_opened_model_is_refused(tmp_path):
    blocks = [(["a_0"], np.ones((1, 3), np.float32))]
    write_features(tmp_path / "mine" / "FeatureData" / "f", blocks)
    options = {"feature": "f", "store": MemoryStore}
    mlcmr.index(tmp_path / "mine", tmp_path / "index", model=MeanModel(), **options)
    other = MeanModel()
    other.fingerprint = lambda: "other"
    for dry_run in (True, False):
        with pytest.raises(InvalidValueError, match="made with another model"):
            mlcmr.index(tmp_path / "mine", tmp_path / "index", model=other, dry_run=dry_run, **options)


def test_a_model_that_has_moved_is_taken(place, trained):
    run = Path(shutil.copytree(trained, place / "run"))
    mlcmr.index(place / "tiny", place / "index", run=run, device="cpu")
    run.rename(place / "elsewhere")
    with pytest.raises(
        NotFoundError, match=r"run: the model of the index is no longer in this folder; .* \(`run`\)"
    ):
        Searcher(place / "index", device="cpu")
    summary = mlcmr.index(place / "tiny", place / "index", run=place / "elsewhere", device="cpu")
    assert summary.unchanged == 36
    assert Searcher(place / "index", device="cpu").search("A dog runs.", k=1)


def test_features_of_another_size_are_refused(place, trained):
    blocks = [([f"{video_name(*one)}_0"], np.ones((1, 5), np.float32)) for one in SCENES]
    write_features(place / "tiny" / "FeatureData" / "narrow", blocks)
    with pytest.raises(InvalidValueError, match=r"features of 5 numbers, but the model takes 12.*`feature`"):
        mlcmr.index(place / "tiny", place / "index", run=trained, feature="narrow", device="cpu")
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    shutil.copytree(place / "tiny/FeatureData" / FEATURE, place / "tiny/FeatureData/copy")
    with pytest.raises(InvalidValueError, match=f"made from the feature '{FEATURE}', not 'copy'"):
        mlcmr.index(place / "tiny", place / "index", feature="copy", device="cpu")


def test_two_collections_with_the_same_videos_are_refused(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    shutil.copytree(place / "tiny", place / "twin")
    with pytest.raises(InvalidValueError, match=r"is in this index already, from .*tiny"):
        mlcmr.index(place / "twin", place / "index", device="cpu")


def test_a_collection_is_one_source_however_it_is_named(place, trained, monkeypatch):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    (place / "link").symlink_to("tiny")
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    for name in ("../tiny", place / "link", "../elsewhere/../tiny/"):
        assert mlcmr.index(name, "../index", device="cpu").unchanged == 36
    assert mlcmr.index("../tiny", "again", run=trained, device="cpu").added == 36
    assert mlcmr.index(place / "tiny", "again", device="cpu").unchanged == 36


def test_the_encoder_that_was_named_is_remembered(place, trained, monkeypatch):
    (place / "encoder").mkdir()
    monkeypatch.chdir(place)
    mlcmr.index("tiny", "index", run=trained, encoder="encoder", device="cpu")
    mlcmr.index("tiny", "index", device="cpu")
    mlcmr.index("tiny", "index", run=trained, device="cpu")
    assert read_info(place / "index").encoder == str(place / "encoder")
    mlcmr.index("tiny", "index", encoder="a/nother", device="cpu")
    assert read_info(place / "index").encoder == "a/nother"


def test_a_folder_that_is_no_index_is_left_alone(place, trained):
    with pytest.raises(InvalidValueError, match="exists and is not an index"):
        mlcmr.index(place / "tiny", place / "tiny", run=trained, device="cpu")
    (place / "file").touch()
    with pytest.raises(InvalidValueError, match="is a file"):
        mlcmr.index(place / "tiny", place / "file", run=trained, device="cpu")
