"""Models, stores and encoders as objects, instead of their names."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import mlcmr
from mlcmr import MLCMR, TwoTower
from mlcmr.cli import main
from mlcmr.errors import InvalidValueError, MlcmrError
from mlcmr.extraction.encoders.histogram import HistogramEncoder
from mlcmr.search.indexing.manifest import read_info
from mlcmr.search.indexing.plan import plan_index
from mlcmr.search.indexing.request import IndexRequest
from mlcmr.search.models import open_pretrained
from mlcmr.search.stores.qdrant_edge import EdgeStore
from tests.helpers.indexes import content
from tests.helpers.models import write_clip


def change(model: MLCMR) -> MLCMR:
    """Change the weights, as a training does."""
    with torch.no_grad():
        model.text_mapping.linear.weight.mul_(1.5)
    return model


def test_an_opened_model_makes_the_index_of_its_run(place, trained, indexed):
    model = MLCMR.from_pretrained(trained / "model")
    summary = mlcmr.index(place / "tiny", place / "index", model=model)
    assert summary.added == 36
    assert content(place / "index") == content(indexed)
    info = read_info(place / "index")
    assert (info.model.kind, info.model.name) == ("pretrained", str(trained / "model"))
    assert info.model.fingerprint == read_info(indexed).model.fingerprint
    # The name is enough later; so is the run, and so is the model itself.
    hits = mlcmr.Searcher(place / "index", device="cpu").search("A dog runs.", k=3)
    for given in (model, trained, str(trained / "model")):
        searcher = mlcmr.Searcher(place / "index", device="cpu", model=given)
        assert searcher.search("A dog runs.", k=3) == hits
        assert searcher.trained_languages == ("en", "zh")
    assert mlcmr.index(place / "tiny", place / "index", model=model).unchanged == 36
    assert mlcmr.index(place / "tiny", place / "index", run=trained).unchanged == 36


def test_an_opened_two_tower_model(place, drawn, films):
    folder = write_clip(place / "clip")
    model = TwoTower.from_pretrained(folder)
    mlcmr.index(films, place / "index", model=model, device="cpu")
    info = read_info(place / "index")
    assert info.model == open_pretrained(folder).info
    assert info.encoder == str(folder)
    by_name = mlcmr.Searcher(place / "index", device="cpu").search("a red circle")
    assert mlcmr.Searcher(place / "index", model=model).search("a red circle") == by_name


def test_a_model_that_no_folder_holds_is_given_again(place, trained, capfd):
    model = change(MLCMR.from_pretrained(trained / "model"))
    index = place / "index"
    plan = plan_index(IndexRequest(source=place / "tiny", to=index, model=model))
    assert (plan.model.kind, plan.feature) == ("object", "feat")
    mlcmr.index(place / "tiny", index, model=model)
    info = read_info(index).model
    assert (info.kind, info.name) == ("object", "mlcmr.model.mlcmr:MLCMR")
    assert mlcmr.Searcher(index, model=model).search("A dog runs.", k=1)
    assert mlcmr.index(place / "tiny", index, model=model).unchanged == 36
    for ask in (mlcmr.Searcher, lambda to: mlcmr.index(place / "tiny", to)):
        with pytest.raises(InvalidValueError, match=r"no folder holds.*Searcher\(index, model=model\)"):
            ask(index)
    for words in (["search", "a dog", "--index"], ["index", str(place / "tiny"), "--dry-run", "--to"]):
        assert main([*words, str(index)]) == 2
        assert capfd.readouterr().err.count("\n") == 1
    with pytest.raises(InvalidValueError, match="other weights than the model of the index"):
        mlcmr.Searcher(index, model=trained)
    # Once it is saved, the index can be opened by the folder, and the next update records it.
    model.save_pretrained(place / "saved")
    assert mlcmr.Searcher(index, model=place / "saved", device="cpu").size == 36
    assert mlcmr.index(place / "tiny", index, model=model).unchanged == 36
    assert read_info(index).model.name == str(place / "saved")
    assert mlcmr.Searcher(index, device="cpu").size == 36


def test_a_model_that_has_moved_is_given_to_a_search(place, trained):
    run = Path(shutil.copytree(trained, place / "run"))
    mlcmr.index(place / "tiny", place / "index", run=run, device="cpu")
    run.rename(place / "moved")
    assert mlcmr.Searcher(place / "index", model=place / "moved", device="cpu").size == 36


def test_any_model_for_search_makes_an_index(place, trained):
    class Wrapped:
        feature_size = 12

        def __init__(self, model: MLCMR) -> None:
            self.encode_texts, self.encode_videos = model.encode_texts, model.encode_videos
            self.can_encode, self.fingerprint = model.can_encode, model.fingerprint

    model = Wrapped(MLCMR.from_pretrained(trained / "model"))
    mlcmr.index(place / "tiny", place / "index", model=model, feature="feat")
    assert mlcmr.Searcher(place / "index", model=model).search("A dog runs.", k=1)
    with pytest.raises(InvalidValueError, match="not a model for search: it has no encode_texts, encode_v"):
        mlcmr.index(place / "tiny", place / "other", model=EdgeStore)


def test_a_fingerprint_changes_with_the_weights_only(trained):
    model, again = (MLCMR.from_pretrained(trained / "model") for _ in range(2))
    model.encode_texts(["a dog"], "en")
    assert model.fingerprint() == again.fingerprint()
    assert model.saved_in() == str(trained / "model")
    assert change(model).fingerprint() != again.fingerprint()
    assert model.saved_in() is None


def test_a_store_as_a_class(place, trained, indexed, capfd):
    class Local(EdgeStore):
        """No other program can import this class."""

    index = place / "index"
    mlcmr.index(place / "tiny", index, run=trained, store=Local, device="cpu")
    assert content_of(index, Local) == content_of(indexed)
    assert mlcmr.index(None, index, remove=["dog_runs-1"], store=Local).segments == 35
    with pytest.raises(InvalidValueError, match=r"that no name opens again.*Searcher\(index, store=Store\)"):
        mlcmr.Searcher(index, device="cpu")
    assert main(["search", "a dog", "--index", str(index)]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    with pytest.raises(InvalidValueError, match="not the class of a vector store"):
        mlcmr.index(place / "tiny", place / "other", run=trained, store=int)


def content_of(index: Path, store: type[EdgeStore] | None = None) -> list[tuple[str, float]]:
    searcher = mlcmr.Searcher(index, store=store, device="cpu")
    return [(hit.video, hit.score) for hit in searcher.search("A dog runs.", k=50)]


def test_the_class_of_a_built_in_store_is_recorded_by_its_name(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, store=EdgeStore, device="cpu")
    assert read_info(place / "index").store == "qdrant-edge"
    assert mlcmr.Searcher(place / "index", device="cpu").size == 36


def test_a_class_that_can_be_imported_is_opened_by_its_name(place, trained, monkeypatch):
    page = Path(__file__).parents[2] / "docs/extending/vector-store.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (place / "class_store.py").write_text(block.partition("check_vector_store(")[0])
    monkeypatch.syspath_prepend(str(place))
    from class_store import JsonStore

    mlcmr.index(place / "tiny", place / "index", run=trained, store=JsonStore, device="cpu")
    assert read_info(place / "index").store == "class_store:JsonStore"
    assert mlcmr.Searcher(place / "index", device="cpu").size == 36


def test_a_frame_encoder_as_an_object(drawn, films, tmp_path):
    class Named(HistogramEncoder):
        name = "hues228"

    mlcmr.index(films, tmp_path / "index", run=drawn / "run", encoder=Named(), device="cpu")
    mlcmr.index(films, tmp_path / "expected", run=drawn / "run", encoder="hues228", device="cpu")
    assert read_info(tmp_path / "index").encoder == "hues228"
    found, expected = (
        [hit.score for hit in mlcmr.Searcher(tmp_path / name, device="cpu").search("a red circle")]
        for name in ("index", "expected")
    )
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InvalidValueError, match="not a frame encoder"):
        mlcmr.index(films, tmp_path / "other", run=drawn / "run", encoder=object())


def test_a_frame_encoder_that_no_name_opens_is_given_to_a_search(drawn, films, tmp_path):
    class Nameless(HistogramEncoder):
        name = "no-such-encoder"

    index, film = tmp_path / "index", films / "3.mp4"
    mlcmr.index(films, index, run=drawn / "run", encoder=Nameless(), device="cpu")
    with pytest.raises(MlcmrError, match="no-such-encoder"):
        mlcmr.Searcher(index, device="cpu").search_file(film)
    searcher = mlcmr.Searcher(index, device="cpu", encoder=Nameless())
    hits = searcher.search_file(film)
    assert (hits[0].video, hits[0].score) == ("3", pytest.approx(1, abs=1e-5))
    assert searcher.captions_of_file(film) == []


def test_a_frame_encoder_that_does_not_fit_the_index(drawn, films, tmp_path):
    class Wide(HistogramEncoder):
        dimension = 1000

    index = tmp_path / "index"
    mlcmr.index(films, index, run=drawn / "run", device="cpu")
    searcher = mlcmr.Searcher(index, device="cpu", encoder=Wide())
    with pytest.raises(InvalidValueError, match="makes features of 1,000 numbers") as caught:
        searcher.search_file(films / "3.mp4")
    assert caught.value.parameter == "encoder"
    with pytest.raises(InvalidValueError, match="not a frame encoder"):
        mlcmr.Searcher(index, device="cpu", encoder=object())
    with pytest.raises(InvalidValueError, match="encoder is 'hues228', but must be FrameEncoder or null"):
        mlcmr.Searcher(index, device="cpu", encoder="hues228")
