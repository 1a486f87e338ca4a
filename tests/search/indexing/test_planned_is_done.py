"""The next run does exactly the work that a dry run shows, whatever has happened to the videos."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mlcmr
from mlcmr.data.captions import write_captions
from mlcmr.data.features.frame_features import write_features
from mlcmr.errors import MlcmrError, NotFoundError
from mlcmr.search.indexing.summary import IndexSummary
from tests.helpers.fake_index import SIZE, MeanColour, MeanModel, MemoryStore

NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture(scope="module", autouse=True)
def own_state(tmp_path_factory):
    """The record of indexes holds 200: those made here must not push out those of other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@dataclass(frozen=True)
class Step:
    """The state before an update: the content of each video, or None if there is no such video."""

    videos: dict[str, int | None]
    moves: bool
    prune: bool
    remove: list[str]
    captions: bool


steps = st.builds(
    Step,
    videos=st.fixed_dictionaries({name: st.none() | st.integers(1, 3) for name in NAMES}).filter(
        lambda videos: any(videos.values())
    ),
    moves=st.booleans(),
    prune=st.booleans(),
    remove=st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
    captions=st.booleans(),
)


def update(source: Path, index: Path, step: Step, held: set[str], **options) -> set[str]:
    """Compare a dry run with the run after it; return the videos that the index holds then.

    A dry run fails as the run does: an index refuses a moved collection that holds too few of its videos.
    """
    options |= {
        "model": MeanModel(),
        "store": MemoryStore,
        "prune": step.prune,
        "remove": [video for video in step.remove if video in held],
        "captions": step.captions,
    }
    try:
        planned = mlcmr.index(source, index, dry_run=True, **options)
    except MlcmrError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            mlcmr.index(source, index, **options)
        return held
    done = mlcmr.index(source, index, **options)
    assert counts(planned) == counts(done)
    assert done.plan is not None
    assert not set(done.plan.update.removed) & {*done.plan.update.added, *done.plan.update.changed}
    try:
        again = mlcmr.index(source, index, dry_run=True, **{**options, "remove": []})
    except NotFoundError:  # the next call would remove the last video
        assert step.prune
    else:  # only named videos come back, if the source still has them
        assert set(again.plan.update.added) <= set(options["remove"])
        assert counts(again)[1:3] == (0, 0)
        assert again.segments == done.segments
    searcher = mlcmr.Searcher(index, model=MeanModel(), store=MemoryStore)
    return {hit.video for hit in searcher.search("everything", k=100)}


def counts(summary: IndexSummary) -> tuple[int, int, int, int]:
    return summary.added, summary.changed, summary.removed, summary.unchanged


@settings(max_examples=10)
@given(st.lists(steps, min_size=1, max_size=3))
def test_a_folder_of_pictures(history):
    with TemporaryDirectory() as folder:
        place, held = Path(folder) / "films", set()
        place.mkdir()
        for number, step in enumerate(history):
            if step.moves:
                place = place.rename(place.with_name(f"films {number}"))
            for name, content in step.videos.items():
                path = place / f"{name}.png"
                if content is None:
                    path.unlink(missing_ok=True)
                else:  # the size of the file changes with its content
                    pixels = np.full((8 * content, 8, 3), 60 * content, np.uint8)
                    Image.fromarray(pixels).save(path)
            held = update(place, Path(folder) / "index", step, held, encoder=MeanColour())


@settings(max_examples=10)
@given(st.lists(steps, min_size=1, max_size=3))
def test_a_collection(history):
    with TemporaryDirectory() as folder:
        place, held = Path(folder) / "films", set()
        for number, step in enumerate(history):
            if step.moves and place.exists():
                place = place.rename(place.with_name(f"films-{number}"))
                held = update(place, Path(folder) / "index", step, held, feature="f")
            shutil.rmtree(place, ignore_errors=True)
            videos = {name: content for name, content in step.videos.items() if content is not None}
            blocks = [
                ([f"{name}_{row}" for row in range(content)], np.eye(SIZE, dtype=np.float32)[:content] + 1)
                for name, content in videos.items()
            ]
            write_features(place / "FeatureData" / "f", blocks)
            captions = [(f"{name}#enc#0", f"{name} {content}") for name, content in videos.items()]
            write_captions(place / "TextData" / f"{place.name}test.caption.txt", captions)
            held = update(place, Path(folder) / "index", step, held, feature="f")
