"""A feature folder survives kills, and holds one kind of features."""

import random
import shutil
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from itertools import count
from time import sleep

import pytest

from mlcmr.cli import main
from mlcmr.data.features.frame_features import open_features
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError
from mlcmr.extraction import feature_writer
from mlcmr.extraction.records import read_videos
from mlcmr.files import locked
from tests.helpers import processes
from tests.helpers.extraction import run
from tests.helpers.folders import contents
from tests.helpers.videos import make_video


def test_no_thumbnail_is_left_of_segments_that_a_new_version_lacks(videos, tmp_path):
    run(videos, tmp_path / "mine", segment=0.5)
    make_video(videos / "a.mp4", frames=4)
    run(videos, tmp_path / "mine", segment=0.5)
    run(videos, tmp_path / "fresh", segment=0.5)
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")
    assert len(list((tmp_path / "mine/thumbnails/hues228/a").iterdir())) == 1


def test_another_encoder_is_another_feature_and_other_sampling_is_refused(videos, tmp_path, tiny_clip):
    run(videos, tmp_path / "mine")
    before = contents(tmp_path / "mine")
    run(videos, tmp_path / "mine", encoder=tiny_clip)
    assert {path.name for path in (tmp_path / "mine/FeatureData").iterdir()} == {"hues228", "clip"}
    assert [len(one.times) for one in read_videos(tmp_path / "mine", "clip")] != [
        len(one.times) for one in read_videos(tmp_path / "mine", "hues228")
    ]
    after = contents(tmp_path / "mine")
    assert all(after[name] == before[name] for name in before if name != "videos.jsonl")
    for other in (
        {"rate": 3.0},
        {"count": 4},
        {"segment": "shots"},
        {"encoder": tiny_clip, "feature": "hues228"},
    ):
        with pytest.raises(InvalidValueError, match=r"other settings.*`feature`"):
            run(videos, tmp_path / "mine", **other)
    assert contents(tmp_path / "mine") == after
    run(videos, tmp_path / "mine", rate=3.0, feature="sparse")
    assert len(open_features(tmp_path / "mine/FeatureData/sparse")) == 5


@pytest.mark.parametrize("name", ["x/y", "../x", ".", "..", ".parts", "a b", "a\n"])
def test_a_feature_is_named_as_a_folder_can_be(videos, tmp_path, name):
    with pytest.raises(InvalidValueError, match="`feature`") as caught:
        run(videos, tmp_path / "mine", feature=name)
    assert caught.value.parameter == "feature"
    assert not (tmp_path / "mine").exists()


def test_a_feature_that_was_not_extracted_is_left_alone(sample, tmp_path):
    shutil.copytree(sample, tmp_path / "sample")
    with pytest.raises(NotFoundError, match=r"encoder\.json.*`feature`") as caught:
        run(sample / "VideoData", tmp_path / "sample")
    assert caught.value.path == str(tmp_path / "sample/FeatureData/hues228/encoder.json")


def test_a_full_disk_ends_the_job(videos, tmp_path, monkeypatch):
    def full(*_):
        raise MlcmrError("disk full")

    monkeypatch.setattr(feature_writer.FeatureWriter, "add", full)
    threads = threading.active_count()
    with pytest.raises(MlcmrError, match="disk full"):
        run(videos, tmp_path / "mine")
    assert threading.active_count() == threads


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(videos, tmp_path):
    for number in range(12):
        make_video(videos / f"more{number}.mp4", frames=20 + number, size=(320, 240))
    words = ["extract", videos, "--workers", "2", "--segment", "1", "--collection"]
    assert processes.run([*words, tmp_path / "whole"], tmp_path / "log").wait() == 0
    whole = contents(tmp_path / "whole")
    choose = random.Random(0)
    kills = finished = 0
    parts = tmp_path / "mine/FeatureData/.hues228.parts"
    while not finished:
        command = processes.start([*words, tmp_path / "mine"], tmp_path / "log")
        done = len(list(parts.glob("*.npz"))) if parts.exists() else 0
        wanted = done + choose.randint(1, 5)
        alive = command.wait_until(
            lambda wanted=wanted: parts.exists() and len(list(parts.glob("*.npz"))) >= wanted
        )
        if alive:
            sleep(choose.random() * 0.05)
            command.kill()
            kills += 1
        else:
            assert command.wait() == 0, command.output
            finished = 1
    assert kills >= 3
    assert contents(tmp_path / "mine") == whole


@pytest.mark.parametrize("moment", ["rename", "rmtree", "write_videos", "unlink"])
def test_killed_while_joining_it_goes_on(videos, tmp_path, monkeypatch, moment):
    def dies_at_once(*_, **__):
        raise KeyboardInterrupt

    run(videos, tmp_path / "mine", segment=0.5)
    make_video(videos / "a.mp4", frames=4)  # it has fewer segments, which is not merged yet
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(feature_writer.FeatureWriter, "merge", dies_at_once)
        run(videos, tmp_path / "mine", segment=0.5)
    videos = videos.rename(tmp_path / "films")
    make_video(videos / "new.mp4")
    run(videos, tmp_path / "fresh", segment=0.5)

    for nth in range(1, 4):
        count = Counter()

        def dies(function, count=count, nth=nth):
            def replacement(*arguments, **options):
                count[moment] += 1
                if count[moment] == nth:
                    raise KeyboardInterrupt
                return function(*arguments, **options)

            return replacement

        owner = owner_of(moment)
        with monkeypatch.context() as patch:
            patch.setattr(owner, moment, dies(getattr(owner, moment)))
            with suppress(KeyboardInterrupt):
                run(videos, tmp_path / "mine", segment=0.5)
    run(videos, tmp_path / "mine", segment=0.5)
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")


def owner_of(moment: str) -> object:
    """The module or class whose function changes files at a moment."""
    return {"rmtree": feature_writer.shutil, "write_videos": feature_writer}.get(moment, feature_writer.Path)


@contextmanager
def dying(monkeypatch, moment, nth):
    """Ends what runs at the nth call of a function that changes files."""
    owner = owner_of(moment)
    function, calls = getattr(owner, moment), count(1)

    def dies(*arguments, **options):
        if next(calls) == nth:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(owner, moment, dies)
        yield


@pytest.mark.parametrize("change", ["prune", "move"])
@pytest.mark.parametrize("moment", ["rename", "rmtree", "write_videos", "unlink"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_killed_while_it_forgets_or_moves_it_is_ended_by_the_next(
    videos, tmp_path, monkeypatch, change, moment, nth
):
    run(videos, tmp_path / "mine")
    if change == "prune":
        (videos / "a.mp4").unlink()
    else:
        videos = videos.rename(tmp_path / "films")
    run(videos, tmp_path / "fresh")
    with dying(monkeypatch, moment, nth):
        run(videos, tmp_path / "mine", prune=True)
    run(videos, tmp_path / "mine", prune=True)
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("all_of_them", [True, False])
@pytest.mark.parametrize("moment", ["rename", "rmtree", "write_videos", "unlink"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_removal_that_was_killed_is_ended_by_the_next(
    videos, tmp_path, monkeypatch, all_of_them, moment, nth
):
    run(videos, tmp_path / "mine")
    names = [record.video for record in read_videos(tmp_path / "mine")]
    removed = names if all_of_them else names[:1]
    shutil.copytree(tmp_path / "mine", tmp_path / "fresh")
    feature_writer.remove_extracted(tmp_path / "fresh", "hues228", removed)
    with dying(monkeypatch, moment, nth):
        feature_writer.remove_extracted(tmp_path / "mine", "hues228", removed)
    feature_writer.remove_extracted(tmp_path / "mine", "hues228", removed)
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")
    assert not all_of_them or set(contents(tmp_path / "mine")) == {".extract.lock"}


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("moment", ["rename", "rmtree", "write_videos", "unlink"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5])
def test_what_was_not_joined_yet_does_not_come_back_when_forgetting_is_killed(
    videos, tmp_path, monkeypatch, before, moment, nth
):
    def dies_at_once(*_, **__):
        raise KeyboardInterrupt

    if before:
        run(videos, tmp_path / "mine", segment=0.5)
        make_video(videos / "a.mp4", frames=20)
        make_video(videos / "new.mp4")
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(feature_writer.FeatureWriter, "merge", dies_at_once)
        run(videos, tmp_path / "mine", segment=0.5)
    for name in ("a.mp4", "new.mp4"):
        (videos / name).unlink(missing_ok=True)
    run(videos, tmp_path / "fresh", segment=0.5)
    with dying(monkeypatch, moment, nth):
        run(videos, tmp_path / "mine", segment=0.5, prune=True)
    forgotten = not (tmp_path / "mine/thumbnails/hues228/a").exists()
    summary = run(videos, tmp_path / "mine", segment=0.5)
    assert not (forgotten and summary.gone)
    for record in read_videos(tmp_path / "mine"):
        assert all((tmp_path / "mine" / one.thumbnail).is_file() for one in record.segments)
    run(videos, tmp_path / "mine", segment=0.5, prune=True)
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")


def test_a_second_process_is_refused(videos, tmp_path, capfd):
    with locked(tmp_path / "mine/.extract.lock", ""):
        assert main(["extract", str(videos), "--collection", str(tmp_path / "mine")]) == 2
    assert "another process" in capfd.readouterr().err
    assert main(["extract", str(videos), "--collection", str(tmp_path / "mine")]) == 0
