"""A video that was removed by its id comes back only with its file, and not in the same call."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mlcmr
from mlcmr.data.captions import write_captions
from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.extraction import plan
from mlcmr.search.indexing.manifest import read_info
from mlcmr.search.indexing.request import IndexRequest
from tests.helpers.fake_index import MeanColour, MeanModel, MemoryStore
from tests.helpers.folders import contents
from tests.helpers.progress import RecordedProgress


def draw(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names, start=1):
        Image.fromarray(np.full((8 * number, 8, 3), 60 * number, np.uint8)).save(folder / f"{name}.png")
    return folder


def index(source: Path | None, to: Path, **options):
    if source is not None:
        options |= {"model": MeanModel(), "encoder": MeanColour()}
        planned = mlcmr.index(source, to, store=MemoryStore, dry_run=True, **options)
    summary = mlcmr.index(source, to, store=MemoryStore, **options)
    if source is not None:
        assert (planned.added, planned.removed) == (summary.added, summary.removed)
    return summary


def videos(to: Path) -> set[str]:
    searcher = mlcmr.Searcher(to, model=MeanModel(), store=MemoryStore)
    return {hit.video for hit in searcher.search("everything", k=100)}


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, method: str) -> Iterator[None]:
    """Interrupt the block where it calls this method of the store."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, method, interrupt)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_video_whose_file_is_gone_stays_removed(tmp_path):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    (films / "wide.png").unlink()
    assert index(None, to, remove=["wide"]).removed == 1
    assert index(films, to).added == 0
    assert videos(to) == {"tall"}
    assert [path.name for path in (to / "collection" / "thumbnails" / "colour").iterdir()] == ["tall"]


def test_a_video_that_is_gone_stays_removed_in_the_same_call(tmp_path):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    (films / "wide.png").unlink()
    summary = index(films, to, remove=["wide"])
    assert (summary.added, summary.removed) == (0, 1)
    assert videos(to) == {"tall"}


@pytest.mark.parametrize("named", [["wide"], ["wide", "tall"]])
def test_a_video_whose_file_is_there_comes_back_with_the_next_call(tmp_path, named):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    draw(films, "tall", "wide")  # a changed file is not read either
    kept = {"wide", "tall"} - set(named)
    summary = index(films, to, remove=named)
    assert (summary.added, summary.removed) == (0, len(named))
    assert summary.plan.extraction.read.keys() == {films / f"{name}.png" for name in kept}
    assert videos(to) == kept
    assert index(films, to).added == len(named)
    assert videos(to) == {"wide", "tall"}


def test_a_video_of_a_collection_comes_back_with_the_next_call(tmp_path):
    films, mine, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "mine", tmp_path / "index"
    mlcmr.extract(films, mine, encoder=MeanColour())
    write_captions(mine / "TextData" / "mine.caption.txt", [("wide#zh#0", "一"), ("tall#en#0", "one")])
    options = {"model": MeanModel(), "feature": "colour", "store": MemoryStore}
    assert mlcmr.index(mine, to, **options).captions == 2
    summary = mlcmr.index(mine, to, remove=["wide"], **options)
    assert (summary.added, summary.removed, summary.captions) == (0, 1, 1)
    assert videos(to) == {"tall"}
    assert read_info(to).languages == ("en",)
    assert mlcmr.index(mine, to, **options).added == 1


def test_a_removed_video_comes_back_with_its_own_folder_only(tmp_path):
    films, more, to = draw(tmp_path / "films", "wide"), draw(tmp_path / "more", "tall"), tmp_path / "index"
    index(films, to)
    index(more, to)
    index(None, to, remove=["wide"])
    assert index(more, to).added == 0
    away = films.rename(tmp_path / "away")  # a disk that is not mounted
    assert index(more, to).added == 0
    away.rename(films)
    assert index(films, to).added == 1
    assert videos(to) == {"wide", "tall"}


def test_the_last_video_can_be_removed(tmp_path):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    assert index(None, to, remove=["wide", "tall"]).removed == 2
    assert videos(to) == set()
    (films / "wide.png").unlink()
    assert index(films, to).added == 1
    assert videos(to) == {"tall"}


def test_an_interrupted_removal_is_continued(tmp_path, monkeypatch):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    (films / "wide.png").unlink()

    with interrupted(monkeypatch, "delete"):
        index(None, to, remove=["wide"])
    assert index(None, to, remove=["wide"]).removed == 1
    assert index(films, to).added == 0
    assert videos(to) == {"tall"}


def test_an_interrupted_update_still_knows_what_to_remove(tmp_path, monkeypatch):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    draw(films, "wide", "tall", "new")

    with interrupted(monkeypatch, "upsert"):
        index(films, to, remove=["wide"])
    summary = index(films, to, remove=["wide"])
    assert (summary.added, summary.removed) == (1, 1)
    assert videos(to) == {"tall", "new"}


@pytest.mark.parametrize("remove", [[], ["wide"]])
def test_the_folder_is_listed_and_the_index_is_read_once(tmp_path, monkeypatch, remove):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    calls = []

    def count(owner, name):
        function = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args: calls.append(name) or function(*args))

    count(plan, "find_files")
    count(MemoryStore, "scan")
    mlcmr.index(films, to, store=MemoryStore, model=MeanModel(), encoder=MeanColour(), remove=remove)
    assert sorted(calls) == ["find_files", "scan", "scan"]  # segments and captions


@pytest.mark.parametrize("fault", ["encoder", "empty folder", "one folder for another"])
def test_what_is_refused_removes_nothing(tmp_path, fault):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    (films / "wide.png").unlink()
    before = contents(to / "collection")
    source, encoder = films, MeanColour()
    if fault == "encoder":
        encoder = MeanColour()
        encoder.feature = "other"
    elif fault == "empty folder":
        source = draw(tmp_path / "empty")
    else:
        source = tmp_path / "missing"
    for dry_run in (True, False):
        with pytest.raises((InvalidValueError, NotFoundError)):
            mlcmr.index(
                source,
                to,
                store=MemoryStore,
                model=MeanModel(),
                encoder=encoder,
                remove=["wide"],
                dry_run=dry_run,
            )
    assert contents(to / "collection") == before
    assert videos(to) == {"wide", "tall"}


def test_an_emptied_folder_is_no_reason_to_remove_an_index(tmp_path):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    with pytest.raises(NotFoundError, match=r"empty: no video or image, by file extension"):
        mlcmr.index(
            draw(tmp_path / "empty"),
            to,
            store=MemoryStore,
            model=MeanModel(),
            encoder=MeanColour(),
            prune=True,
        )


def test_a_link_to_the_collection_of_somebody_is_left_alone(tmp_path):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    (to / "collection").rename(tmp_path / "theirs")
    (to / "collection").symlink_to(tmp_path / "theirs")
    before = contents(tmp_path / "theirs")
    assert index(None, to, remove=["wide"]).removed == 1
    assert contents(tmp_path / "theirs") == before


def test_the_videos_to_remove_are_a_list(tmp_path):
    with pytest.raises(InvalidValueError, match=r"write \['wide'\]") as caught:
        mlcmr.index(None, tmp_path, remove="wide")
    assert caught.value.parameter == "remove"


def test_the_name_of_an_encoder_object_is_not_a_hub_id_that_somebody_named(tmp_path):
    encoder = MeanColour()
    encoder.name = "acme/tiny"
    request = IndexRequest(source=draw(tmp_path / "films", "wide"), model=MeanModel(), encoder=encoder)
    assert request.named_models == []
    assert IndexRequest(source=tmp_path, model="a/b", encoder="acme/tiny").named_models == [
        "a/b",
        "acme/tiny",
    ]


def test_a_video_is_removed_though_its_features_are_damaged(tmp_path):
    films, to = draw(tmp_path / "films", "wide", "tall"), tmp_path / "index"
    index(films, to)
    (to / "collection" / "FeatureData" / "colour" / "encoder.json").unlink()
    progress = RecordedProgress()
    assert mlcmr.index(None, to, store=MemoryStore, remove=["wide"], progress=progress).removed == 1
    assert any("features of the removed videos are kept" in line for line in progress.messages)
    assert videos(to) == {"tall"}
