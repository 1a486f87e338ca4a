"""A video that was removed by its id comes back only with its file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mlcmr
from tests.helpers.fake_index import MeanColour, MeanModel, MemoryStore


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

    def interrupt(store, ids):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            index(None, to, remove=["wide"])
    assert index(None, to, remove=["wide"]).removed == 1
    assert index(films, to).added == 0
    assert videos(to) == {"tall"}
