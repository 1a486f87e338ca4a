"""From a folder of videos to a collection."""

import gc
import io
import json
import os
import random
import shutil
import threading
import weakref
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from time import sleep

import av
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

import processes
from mlcmr.cli import main
from mlcmr.data.check import check_collection
from mlcmr.data.collection import Collection
from mlcmr.data.features import open_features
from mlcmr.data.sample import make_sample
from mlcmr.display import Display
from mlcmr.errors import UserError
from mlcmr.extraction import extract as extraction
from mlcmr.extraction import store
from mlcmr.extraction.decode import Sampling, open_media
from mlcmr.extraction.encoders import LightEncoder, feature_name, load_encoder
from mlcmr.extraction.extract import ExtractSummary, extract, sample_file
from mlcmr.extraction.find import assign_ids, find_files, gone, moved
from mlcmr.extraction.pretrained import PretrainedEncoder
from mlcmr.extraction.segments import Cutter, parse_rule
from mlcmr.extraction.videos import VideoRecord, read_videos, write_videos
from mlcmr.extraction.work import Settings, default_workers, extract_files
from mlcmr.files import locked
from test_decode import make_sound, make_video

LIGHT = LightEncoder()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("root"), videos=20).folder


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Four videos, a photograph, and files that are neither."""
    folder = tmp_path / "videos"
    (folder / "deep er").mkdir(parents=True)
    make_video(folder / "a.mp4")
    make_video(folder / "b.mkv", frames=45)
    make_video(folder / "b.avi", frames=5)
    make_video(folder / "deep er" / "狗.webm", frames=8)
    Image.new("RGB", (50, 40), "red").save(folder / "photo.jpg")
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_text("no video")
    return folder


def contents(collection: Path) -> dict[str, bytes]:
    """All files, but for the cache that readers make."""
    files = (path for path in collection.rglob("*") if path.is_file() and path.suffix != ".npz")
    return {path.relative_to(collection).as_posix(): path.read_bytes() for path in files}


def run(videos: Path, collection: Path, **options) -> ExtractSummary:
    return extract(videos, collection, **{"workers": 2, **options})


# ─── what is written ─────────────────────────────────────────────────────────────────────────────────────


def test_what_is_written_is_consistent(videos, tmp_path):
    summary = run(videos, tmp_path / "mine", segment=2.0)
    records = read_videos(tmp_path / "mine")
    assert [record.video for record in records] == ["a", "b", "b_mkv", "deep_er_狗", "photo"]
    assert (summary.videos, summary.extracted, summary.skipped) == (5, 5, [])
    features = Collection(tmp_path / "mine", "mine").open_features("hues228")
    assert features.videos == [record.video for record in records]
    for record in records:
        assert features[record.video].shape == (len(record.times), LIGHT.dimension)
        assert Path(record.path).stat().st_size == record.bytes
        assert Path(record.path).stat().st_mtime_ns == record.modified_ns
        bounds = [(one.start, one.end) for one in record.segments]
        assert bounds[0][0] == 0
        assert bounds[-1][1] == record.duration
        assert all(before[1] == after[0] for before, after in pairwise(bounds))
        rows = [row for one in record.segments for row in range(*one.frames)]
        assert rows == list(range(len(record.times)))
        for one in record.segments:
            assert one.frames[0] < one.frames[1]
            assert all(one.start <= time <= one.end for time in record.times[slice(*one.frames)])
            with Image.open(tmp_path / "mine" / one.thumbnail) as thumbnail:
                assert thumbnail.format == "JPEG"
                assert max(thumbnail.size) <= 320
    kinds = {
        record.video: (record.kind, record.width, record.height, len(record.segments)) for record in records
    }
    assert kinds["photo"] == ("image", 50, 40, 1)
    assert kinds["b_mkv"] == ("video", 64, 48, 2)
    assert read_videos(tmp_path / "mine", "hues228") == records
    assert check_collection(tmp_path / "mine").problems == ["TextData: no such folder"]
    left = {path.name for path in (tmp_path / "mine").rglob("*") if path.name.startswith(".")}
    assert left == {".extract.lock"}


def test_the_sample_s_own_features_come_out(sample, tmp_path):
    run(sample / "VideoData", tmp_path / "again")
    made, again = (open_features(folder / "FeatureData/hues228") for folder in (sample, tmp_path / "again"))
    assert sorted(made.videos) == again.videos
    for video in made.videos:
        np.testing.assert_array_equal(again[video], made[video])


def test_one_file_alone_is_as_in_a_collection(videos, tmp_path):
    run(videos, tmp_path / "mine")
    features = open_features(tmp_path / "mine/FeatureData/hues228")
    for record in read_videos(tmp_path / "mine"):
        alone, rows = sample_file(record.path, LIGHT, Sampling(rate=LIGHT.rate))
        assert (alone.times, alone.duration, alone.kind) == (record.times, record.duration, record.kind)
        np.testing.assert_array_equal(rows, features[record.video])
    with pytest.raises(UserError, match=r"a\.mp4: longer than 10 "):
        sample_file(videos / "a.mp4", LIGHT, Sampling(rate=8), most_frames=10)
    with pytest.raises(UserError, match="No such file"):
        sample_file(tmp_path / "absent.mp4", LIGHT, Sampling(count=1))
    with pytest.raises(UserError, match="File name too long"):
        sample_file(tmp_path / f"{'n' * 300}.mp4", LIGHT, Sampling(count=1))


def test_the_light_encoder_joins_chunks_without_a_seam(tmp_path):
    make_video(tmp_path / "a.mp4", frames=50)
    _, features = sample_file(tmp_path / "a.mp4", LIGHT, Sampling(rate=10))
    with open_media(tmp_path / "a.mp4") as media:
        whole = LIGHT.encode([frame.picture for frame in media.sample(Sampling(rate=10))])
    np.testing.assert_array_equal(features, whole)


def test_several_decoders_and_one_write_the_same(videos, tmp_path):
    for workers in (1, 4):
        run(videos, tmp_path / str(workers), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "4")
    assert default_workers() >= 1


@pytest.mark.parametrize(
    ("ending", "container", "codec"),
    [
        ("3gpp", "3gp", "mpeg4"),
        ("apng", "apng", "apng"),
        ("evo", "vob", "mpeg2video"),
        ("ismv", "ismv", "mpeg4"),
        ("ivf", "ivf", "libvpx"),
        ("m2p", "mpeg", "mpeg2video"),
        ("m2t", "mpegts", "mpeg2video"),
        ("mj2", "mov", "jpeg2000"),
        ("mk3d", "matroska", "mpeg4"),
        ("mpeg4", "mp4", "mpeg4"),
        ("nut", "nut", "mpeg4"),
        ("ogg", "ogg", "libvpx"),
        ("tod", "mpegts", "mpeg2video"),
        ("wtv", "wtv", "mpeg2video"),
        *((ending, "", "") for ending in ("j2k", "jfif", "jp2", "jpf", "jpx")),
    ],
)
def test_less_common_endings_are_read(tmp_path, ending, container, codec):
    path = tmp_path / "in" / f"a.{ending.upper()}"
    path.parent.mkdir()
    if container:
        with av.open(str(path), "w", format=container) as file:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = "rgba" if codec == "apng" else "yuv420p"
            for number in range(20):
                frame = av.VideoFrame(64, 48, "rgb24")
                frame.pts = number
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
    else:
        Image.new("RGB", (64, 48), "red").save(path, "JPEG" if ending == "jfif" else "JPEG2000")
    summary = run(tmp_path / "in", tmp_path / "mine")
    assert (summary.videos, summary.skipped) == (1, [])
    (record,) = read_videos(tmp_path / "mine")
    assert (record.video, record.kind) == ("a", "video" if container else "image")


def test_large_pictures_get_small_thumbnails(tmp_path):
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mp4", size=(640, 200), frames=3)
    run(tmp_path / "in", tmp_path / "mine")
    (record,) = read_videos(tmp_path / "mine")
    with Image.open(tmp_path / "mine" / record.segments[0].thumbnail) as thumbnail:
        assert thumbnail.size == (320, 100)


# ─── again ───────────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_is_new_or_changed_is_extracted(videos, tmp_path):
    run(videos, tmp_path / "mine")
    before = contents(tmp_path / "mine")
    assert run(videos, tmp_path / "mine").extracted == 0
    assert contents(tmp_path / "mine") == before

    make_video(videos / "new.mp4", frames=12)
    make_video(videos / "a.mp4", frames=3)
    summary = run(videos, tmp_path / "mine")
    assert (summary.extracted, summary.videos) == (2, 6)
    run(videos, tmp_path / "fresh")
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")


def test_gone_files_are_kept_until_pruned(videos, tmp_path):
    run(videos, tmp_path / "mine")
    shutil.move(videos / "a.mp4", tmp_path / "elsewhere.mp4")
    summary = run(videos, tmp_path / "mine")
    assert (summary.videos, summary.gone, summary.pruned) == (5, ["a"], False)
    assert "kept" in str(summary)
    summary = run(videos, tmp_path / "mine", prune=True)
    assert (summary.videos, summary.gone, summary.pruned) == (4, ["a"], True)
    assert "a" not in {record.video for record in read_videos(tmp_path / "mine")}
    assert "a" not in open_features(tmp_path / "mine/FeatureData/hues228")
    assert not (tmp_path / "mine/thumbnails/hues228/a").exists()
    assert run(videos, tmp_path / "mine", prune=True).gone == []
    shutil.rmtree(videos)
    videos.mkdir()
    with pytest.raises(UserError, match=r"FeatureData/hues228: no video would be left; remove this folder"):
        run(videos, tmp_path / "mine", prune=True)
    assert len(read_videos(tmp_path / "mine")) == 4


def test_a_folder_is_the_same_however_it_is_named(videos, tmp_path, monkeypatch):
    run(videos, videos / "mine")
    monkeypatch.chdir(videos / "deep er")
    summary = run(Path(".."), Path("../mine"))
    assert (summary.videos, summary.extracted, summary.gone) == (5, 0, [])
    assert run(Path(".."), videos / "deep er/../mine").extracted == 0


def test_a_folder_that_is_named_through_a_link_is_the_same(videos, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(videos)
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "mine")
    run(tmp_path / "link", tmp_path / "other")
    monkeypatch.chdir(tmp_path / "link")
    for named in (Path(), videos, tmp_path / "link", tmp_path / "link/a.mp4"):
        summary = run(named, tmp_path / "mine")
        assert (summary.videos, summary.extracted, summary.moved) == (5, 0, 0)


def test_what_was_named_through_a_link_before_is_known_again(videos, tmp_path):
    """As collections are that were extracted when links stayed in names."""
    run(videos, tmp_path / "mine")
    link = tmp_path / "link"
    link.symlink_to(videos)
    for feature in (None, "hues228"):
        through = [
            replace(one, path=one.path.replace(str(videos), str(link)))
            for one in read_videos(tmp_path / "mine", feature)
        ]
        write_videos(tmp_path / "mine", through, feature)
    make_video(videos / "a.mp4", frames=7)
    (videos / "b.avi").unlink()
    summary = run(videos, tmp_path / "mine", prune=True)
    assert (summary.videos, summary.extracted, summary.moved, summary.gone) == (4, 1, 4, ["b"])
    run(videos, tmp_path / "fresh")
    ids = [{one.path: len(one.times) for one in read_videos(tmp_path / name)} for name in ("mine", "fresh")]
    assert ids[0] == ids[1]


def test_a_file_that_was_named_through_a_link_is_no_other_that_is_gone(videos, tmp_path):
    run(videos / "a.mp4", tmp_path / "mine")
    (record,) = read_videos(tmp_path / "mine")
    (tmp_path / "link").symlink_to(videos)
    linked, away = (replace(record, path=str(tmp_path / name / "a.mp4")) for name in ("link", "away"))
    files = find_files(videos, tmp_path).files
    for known in ([linked, away], [away, linked]):
        assert moved(known, videos, files) == {videos / "a.mp4": linked}


def test_what_was_extracted_twice_through_a_link_is_gone_once(videos, tmp_path):
    run(videos, tmp_path / "mine")
    through = [
        replace(one, path=one.path.replace(str(videos), str(tmp_path / "link")), video=f"{one.video}_again")
        for one in read_videos(tmp_path / "mine")
    ]
    (tmp_path / "link").symlink_to(videos)
    twice = {*read_videos(tmp_path / "mine"), *through}
    assert gone(twice, videos, find_files(videos, tmp_path).files, {}) == {one.video for one in through}
    assert moved(twice, videos, find_files(videos, tmp_path).files) == {}


def test_a_linked_file_is_not_the_file_that_it_links_to(videos, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.mp4").symlink_to(videos / "a.mp4")
    run(videos, tmp_path / "mine")
    summary = run(tmp_path / "more", tmp_path / "mine")
    assert (summary.videos, summary.extracted, summary.moved) == (6, 1, 0)


def test_which_of_two_that_are_gone_a_file_was_is_not_guessed(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_video(tmp_path / name / "a.mp4")
        os.utime(tmp_path / name / "a.mp4", ns=(0, 0))
        run(tmp_path / name, tmp_path / "mine")
    (tmp_path / "one").rename(tmp_path / "films")
    shutil.rmtree(tmp_path / "two")
    summary = run(tmp_path / "films", tmp_path / "mine")
    assert (summary.videos, summary.extracted, summary.moved) == (3, 1, 0)


def test_a_file_of_another_size_has_changed_whenever_that_was(videos, tmp_path):
    run(videos, tmp_path / "mine")
    before = (videos / "a.mp4").stat().st_mtime_ns
    make_video(videos / "a.mp4", frames=7)
    os.utime(videos / "a.mp4", ns=(before, before))
    assert run(videos, tmp_path / "mine").extracted == 1


def test_a_folder_that_was_renamed_is_known_again(videos, tmp_path):
    run(videos, tmp_path / "mine", segment=1.0)
    shutil.copytree(videos, tmp_path / "copy", copy_function=shutil.copy2)
    assert run(tmp_path / "copy", tmp_path / "twice").moved == 0
    assert run(videos, tmp_path / "twice").extracted == 5  # both are there
    shutil.rmtree(tmp_path / "copy")

    films = videos.rename(tmp_path / "films")
    make_video(films / "a.mp4", frames=7)  # while no one looked
    make_video(films / "b.mp4", frames=7)
    summary = run(films, tmp_path / "mine", segment=1.0, prune=True)
    assert (summary.videos, summary.extracted, summary.moved, summary.gone) == (7, 2, 4, [])
    assert "4 videos in a folder that was moved" in str(summary)
    again = run(films, tmp_path / "mine", segment=1.0)
    assert (again.videos, again.extracted, again.moved) == (7, 0, 0)


def test_a_renamed_folder_gives_what_a_new_extraction_of_it_does(videos, tmp_path):
    run(videos, tmp_path / "mine")
    films = videos.rename(tmp_path / "films")
    summary = run(films, tmp_path / "mine")
    assert (summary.videos, summary.extracted, summary.moved) == (5, 0, 5)
    run(films, tmp_path / "fresh")
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")


def test_what_is_the_same_below_two_folders_is_known_by_the_longer_path(tmp_path):
    for name in ("a.mp4", "x/a.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(path)
        os.utime(path, ns=(0, 0))
    run(tmp_path / "videos", tmp_path / "mine")
    (tmp_path / "videos").rename(tmp_path / "films")
    assert run(tmp_path / "films", tmp_path / "mine").moved == 2
    found = {one.video: one.path for one in read_videos(tmp_path / "mine")}
    assert found == {"a": str(tmp_path / "films/a.mp4"), "x_a": str(tmp_path / "films/x/a.mp4")}


def test_no_thumbnail_is_left_of_segments_that_a_new_version_lacks(videos, tmp_path):
    run(videos, tmp_path / "mine", segment=0.5)
    make_video(videos / "a.mp4", frames=4)
    run(videos, tmp_path / "mine", segment=0.5)
    run(videos, tmp_path / "fresh", segment=0.5)
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")
    assert len(list((tmp_path / "mine/thumbnails/hues228/a").iterdir())) == 1


def test_a_second_folder_adds_and_prunes_nothing_of_the_first(videos, tmp_path):
    run(videos, tmp_path / "mine")
    (tmp_path / "more").mkdir()
    make_video(tmp_path / "more/a.mp4", frames=4)
    summary = run(tmp_path / "more", tmp_path / "mine", prune=True)
    assert (summary.videos, summary.extracted, summary.gone) == (6, 1, [])
    assert {record.video for record in read_videos(tmp_path / "mine")} > {"a", "a_mp4"}


def test_one_file_of_a_folder_prunes_nothing_beside_it(videos, tmp_path):
    run(videos, tmp_path / "mine")
    make_video(videos / "new.mp4")
    summary = run(videos / "new.mp4", tmp_path / "mine", prune=True)
    assert (summary.videos, summary.extracted, summary.gone) == (6, 1, [])
    assert "gone" not in str(summary)


@pytest.fixture
def refused(monkeypatch) -> set[str]:
    """Names of folders that the system will not list; to root, permissions are nothing."""
    names: set[str] = set()
    scandir = os.scandir

    def refuses(path):
        if Path(str(path)).name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    return names


def test_a_folder_that_cannot_be_looked_into_is_skipped_and_nothing_in_it_is_gone(
    videos, tmp_path, refused, capfd
):
    run(videos, tmp_path / "mine")
    (videos / "a.mp4").unlink()
    refused.add("deep er")
    assert main(["extract", str(videos), "--collection", str(tmp_path / "mine"), "--prune"]) == 0
    out, err = capfd.readouterr()
    assert f"skipped: {videos}/deep er: cannot be looked into: Permission denied\n" in err
    assert "4 videos, 0 extracted now" in out
    assert "  closed:   1 path that cannot be looked into\n" in out
    assert "  gone:     1 video " in out
    assert {one.video for one in read_videos(tmp_path / "mine")} == {"b", "b_mkv", "deep_er_狗", "photo"}


def test_a_file_that_cannot_be_looked_at_is_skipped_and_not_gone(videos, tmp_path, monkeypatch):
    run(videos, tmp_path / "mine")
    look = Path.stat

    def refuses(path, **options):
        if path.name == "a.mp4":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **options)

    monkeypatch.setattr(Path, "stat", refuses)
    summary = run(videos, tmp_path / "mine", prune=True)
    assert (summary.videos, list(summary.closed), summary.gone) == (5, [videos / "a.mp4"], [])


def test_the_named_folder_that_cannot_be_looked_into_is_an_error(videos, tmp_path, refused):
    refused.add(videos.name)
    with pytest.raises(UserError, match="videos: cannot be looked into: Permission denied"):
        run(videos, tmp_path / "mine")


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
        with pytest.raises(UserError, match=r"other settings.*--feature"):
            run(videos, tmp_path / "mine", **other)
    assert contents(tmp_path / "mine") == after
    run(videos, tmp_path / "mine", rate=3.0, feature="sparse")
    assert len(open_features(tmp_path / "mine/FeatureData/sparse")) == 5


@pytest.mark.parametrize("name", ["x/y", "../x", ".", "..", ".parts", "a b", "a\n"])
def test_a_feature_is_named_as_a_folder_can_be(videos, tmp_path, name):
    with pytest.raises(UserError, match="--feature"):
        run(videos, tmp_path / "mine", feature=name)
    assert not (tmp_path / "mine").exists()


def test_a_feature_that_was_not_extracted_is_left_alone(sample, tmp_path):
    shutil.copytree(sample, tmp_path / "sample")
    with pytest.raises(UserError, match=r"encoder\.json.*--feature"):
        run(sample / "VideoData", tmp_path / "sample")


def test_the_collection_may_lie_among_the_videos(videos):
    for _ in range(2):
        assert run(videos, videos / "mine").videos == 5


def test_the_collection_may_be_the_folder_of_videos(videos):
    for extracted in (5, 0):
        summary = run(videos, videos)
        assert (summary.videos, summary.extracted) == (5, extracted)


# ─── files that cannot be read ───────────────────────────────────────────────────────────────────────────


def test_broken_files_are_reported_skipped_and_counted(videos, tmp_path, capfd):
    (videos / "broken.mp4").write_text("no video")
    (videos / "empty.mkv").touch()
    make_sound(videos / "sound.mp4")
    assert main(["extract", str(videos), "--collection", str(tmp_path / "mine")]) == 0
    out, err = capfd.readouterr()
    skipped = [line for line in err.splitlines() if line.startswith("skipped: ")]
    assert {Path(line.split(": ")[1]).name for line in skipped} == {"broken.mp4", "empty.mkv", "sound.mp4"}
    assert "light description" in err
    assert "8 frames a second" in err
    assert "5 videos" in out
    assert "3 files that cannot be read" in out


def test_names_that_are_not_utf_8_are_reported_skipped_and_counted(videos, tmp_path, capfd):
    odd = os.fsdecode(b"caf\xe9")
    try:
        shutil.copy(videos / "a.mp4", videos / f"{odd}.mp4")
    except OSError:
        pytest.skip("this file system takes no such names")
    (videos / odd).mkdir()
    shutil.copy(videos / "a.mp4", videos / odd / "deep.mp4")
    for _ in range(2):
        assert main(["extract", str(videos), "--collection", str(tmp_path / "mine")]) == 0
        out, err = capfd.readouterr()
        for name in ("caf\\xe9.mp4", "caf\\xe9/deep.mp4"):
            assert f"skipped: {videos}/{name}: its name is not UTF-8; rename it\n" in err
        assert "5 videos" in out
        assert "2 files that cannot be read" in out
    assert len(read_videos(tmp_path / "mine")) == 5
    assert main(["extract", str(videos / odd), "--collection", str(tmp_path / "none")]) == 2
    assert "none can be read" in capfd.readouterr().err
    # The collection's own name is told, not written down.
    assert main(["extract", str(videos), "--collection", str(tmp_path / odd)]) == 0
    assert "caf" in capfd.readouterr().out


def test_rows_of_a_file_that_fails_midway_go_nowhere(tmp_path):
    class Batching(LightEncoder):
        batch_size, looks_back = 64, False

    whole, jumping = tmp_path / "whole.mkv", tmp_path / "jumping.mkv"
    make_video(whole, frames=20)
    make_video(jumping, frames=40, stamps=[10 * number for number in range(39)] + [100 * 7 * 3600])
    paths = []
    for number in range(120):
        paths.append(tmp_path / f"{number}.mkv")
        shutil.copy(whole if number % 3 else jumping, paths[-1])
    settings = Settings(Batching(), Sampling(rate=10), None)
    files, failed, kept = [], [], 0
    for file in extract_files(paths, settings, 2):
        files.append((file.path, file.error is None, len(file.features), len(file.times)))
        if file.error is not None:
            failed.append(weakref.ref(file))
        del file  # so that its address is taken again
        if len(files) == 100:
            gc.collect()
            kept = sum(one() is not None for one in failed)
    assert len(files) == 120
    assert kept < 10 < len(failed)  # only those whose rows still wait
    for path, read, rows, times in files:
        assert read == (int(path.stem) % 3 != 0)
        assert rows == (times if read else 0)


def test_files_that_vanish_meanwhile_are_left_out(videos, tmp_path, monkeypatch):
    (videos / "nowhere.mp4").symlink_to(videos / "absent.mp4")
    walk, find = os.walk, extraction.find_files

    def vanishes_when_listed(top, **options):
        yield from walk(top, **options)
        (videos / "a.mp4").unlink()

    def vanishes_when_found(*arguments):
        files = find(*arguments)
        (videos / "b.mkv").unlink()
        return files

    monkeypatch.setattr(os, "walk", vanishes_when_listed)
    monkeypatch.setattr(extraction, "find_files", vanishes_when_found)
    summary = run(videos, tmp_path / "mine")
    assert summary.videos == 3
    assert [path.name for path, _ in summary.skipped] == ["b.mkv"]


def test_the_bar_moves_within_a_file(tmp_path):
    class Watched(Display):
        def begin(self, description, total, done=0):
            self.seen = []
            update = self.bars.update

            def watch(task, **changes):
                self.seen.append((changes["completed"], changes["note"]))
                update(task, **changes)

            self.bars.update = watch
            return super().begin(description, total, done)

    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mkv", frames=600)
    display = Watched(quiet=True)
    run(tmp_path / "in", tmp_path / "mine", display=display)
    done = [one for one, _ in display.seen]
    assert done == sorted(done)
    assert len([one for one in set(done) if 0 < one < 1]) > 5
    assert done[-1] == 1
    assert display.seen[0][1] != "0 frames/s"


def test_nothing_to_read_is_an_error(tmp_path, capfd):
    (tmp_path / "in").mkdir()
    command = ["extract", str(tmp_path / "in"), "--collection", str(tmp_path / "mine")]
    assert main(command) == 2
    (tmp_path / "in/broken.mp4").write_text("no video")
    assert main(command) == 2
    assert main(["extract", str(tmp_path / "absent"), *command[2:]]) == 2
    assert main([*command, "--segment", "long"]) == 2
    assert main([*command, "--rate", "1", "--count", "2"]) == 2
    assert not (tmp_path / "mine").exists()
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("mlcmr: ")]
    told = [
        "no videos or images",
        "in: 1 file, none can be read",
        "no such folder",
        "--segment long",
        "one of the two",
    ]
    assert all(what in line for what, line in zip(told, lines, strict=True))


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("workers", 0),
        ("workers", -1),
        ("batch-size", 0),
        ("rate", 0),
        ("count", 0),
        ("segment", 0),
        ("segment", "scenes"),
    ],
)
def test_what_is_out_of_range_is_an_error(videos, tmp_path, option, wrong):
    with pytest.raises(UserError, match=f"--{option} {wrong}: expected "):
        run(videos, tmp_path / "mine", **{option.replace("-", "_"): wrong})
    assert not (tmp_path / "mine").exists()


def test_a_device_that_is_not_there_is_an_error_for_every_encoder(videos, tmp_path):
    with pytest.raises(UserError, match="--device nonsense: not on this machine"):
        run(videos, tmp_path / "mine", device="nonsense")
    assert not (tmp_path / "mine").exists()


def test_a_file_that_is_named_and_cannot_be_read_is_an_error(videos, tmp_path, capfd):
    run(videos, tmp_path / "mine")
    (videos / "empty.mkv").touch()
    assert main(["extract", str(videos / "empty.mkv"), "--collection", str(tmp_path / "mine")]) == 2
    assert capfd.readouterr().err.endswith(f"mlcmr: {videos / 'empty.mkv'}: empty\n")
    assert len(read_videos(tmp_path / "mine")) == 5


def test_a_broken_file_keeps_what_it_was(videos, tmp_path):
    run(videos, tmp_path / "mine")
    (videos / "a.mp4").write_text("half copied")
    summary = run(videos, tmp_path / "mine")
    assert (summary.videos, len(summary.skipped)) == (5, 1)
    assert "a" in open_features(tmp_path / "mine/FeatureData/hues228")


def test_an_error_in_the_encoder_ends_the_job(videos, tmp_path):
    class Broken(LightEncoder):
        def prepare(self, picture):
            raise RuntimeError("defect")

    threads = threading.active_count()
    with pytest.raises(RuntimeError, match="defect"):
        run(videos, tmp_path / "mine", encoder=Broken())
    assert threading.active_count() == threads


def test_memory_that_ends_is_one_line_and_less_at_a_time_goes_on(videos, tmp_path, monkeypatch, capfd):
    model = make_model("vit", tmp_path)
    command = ["extract", str(videos), "--encoder", str(model), "--workers", "1", "--collection"]
    assert main([*command, str(tmp_path / "whole"), "--batch-size", "2"]) == 0
    capfd.readouterr()
    sizes = []

    def short(encoder, pixels, features=PretrainedEncoder._features):
        sizes.append(len(pixels))
        # Some videos are finished by then; this is the last one.
        if len(pixels) > 2 and any((tmp_path / "mine").rglob("b_mkv.npz")):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return features(encoder, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainedEncoder, "_features", short)
        assert main([*command, str(tmp_path / "mine"), "--batch-size", "3"]) == 2
        (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("mlcmr: ")]
        assert line == "mlcmr: not enough memory on cpu: choose a smaller --batch-size"
        assert max(sizes) == 3
        assert not (tmp_path / "mine/FeatureData/vit").exists()
        assert not (tmp_path / "mine/videos.jsonl").exists()
        assert main([*command, str(tmp_path / "mine"), "--batch-size", "2"]) == 0
        assert "5 videos, 5 extracted now" not in capfd.readouterr().out
    whole, mine = (open_features(tmp_path / name / "FeatureData/vit") for name in ("whole", "mine"))
    assert mine.videos == whole.videos
    np.testing.assert_allclose(mine.matrix, whole.matrix, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5, 100])
def test_the_light_encoder_takes_any_number_at_a_time(videos, tmp_path, size):
    run(videos, tmp_path / "usual")
    run(videos, tmp_path / "mine", batch_size=size)
    assert contents(tmp_path / "mine") == contents(tmp_path / "usual")


def test_a_full_disk_ends_the_job(videos, tmp_path, monkeypatch):
    def full(*_):
        raise UserError("disk full")

    monkeypatch.setattr(store.FeatureStore, "keep", full)
    threads = threading.active_count()
    with pytest.raises(UserError, match="disk full"):
        run(videos, tmp_path / "mine")
    assert threading.active_count() == threads


# ─── killed ──────────────────────────────────────────────────────────────────────────────────────────────


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
        patch.setattr(store.FeatureStore, "merge", dies_at_once)
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

        owner = {"rmtree": store.shutil, "write_videos": store}.get(moment, store.Path)
        with monkeypatch.context() as patch:
            patch.setattr(owner, moment, dies(getattr(owner, moment)))
            with suppress(KeyboardInterrupt):
                run(videos, tmp_path / "mine", segment=0.5)
    run(videos, tmp_path / "mine", segment=0.5)
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")


@contextmanager
def dying(monkeypatch, moment, nth):
    """Ends what runs at the nth call of a function that changes files."""
    owner = {"rmtree": store.shutil, "write_videos": store}.get(moment, store.Path)
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
        patch.setattr(store.FeatureStore, "merge", dies_at_once)
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


# ─── ids and records ─────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=90), unique=True
    )
)
def test_ids_are_unique_and_fit_everywhere(names):
    root = Path("/videos")
    files = sorted(root / f"{name}.mp4" for name in names)
    ids = assign_ids(files, root, {})
    assert len(set(ids.values())) == len(files)
    for video in ids.values():
        assert video.split() == [video]
        assert not set(video) & set("/#\\'\"")
        assert len(video.encode()) <= 230
    # A file keeps its id whatever comes or goes.
    kept = {str(path): video for path, video in ids.items()}
    assert {path: assign_ids([path], root, kept)[path] for path in files} == ids


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60))
@example(".")
@example("..")
@example("...")
def test_a_record_can_be_whatever_its_file_is_called(name):
    path = Path("/videos", f"{name}.mkv")
    (video,) = assign_ids([path], path.parent, {}).values()
    segment = RECORD["segments"][0] | {"thumbnail": f"thumbnails/hues228/{video}/0.jpg"}
    content = RECORD | {"video": video, "path": str(path), "segments": [segment]}
    record = VideoRecord.from_dict(content)
    assert (record.video, record.path) == (video, str(path))
    thumbnail = Path(os.path.normpath(record.segments[0].thumbnail))
    assert thumbnail.parent == Path("thumbnails/hues228", video)


def test_a_file_that_is_called_as_a_folder_above_lies_with_the_others(videos, tmp_path):
    for name in (".", ".."):
        make_video(tmp_path / f"{name}.mkv", frames=5)
        run(tmp_path / f"{name}.mkv", tmp_path / "mine")
    summary = run(videos, tmp_path / "mine")
    assert (summary.videos, summary.extracted) == (7, 5)
    assert {path.parents[1].name for path in (tmp_path / "mine").rglob("*.jpg")} == {"hues228"}


def test_records_survive_a_round_trip(videos, tmp_path):
    run(videos, tmp_path / "mine")
    records = read_videos(tmp_path / "mine")
    (tmp_path / "other").mkdir()
    write_videos(tmp_path / "other", reversed(records))
    assert read_videos(tmp_path / "other") == records
    path = tmp_path / "other/videos.jsonl"
    for damaged in ("[]", "{}", "no json", path.read_text().splitlines()[0][:-9]):
        path.write_text(f"{damaged}\n")
        with pytest.raises(UserError, match=r"videos\.jsonl:1"):
            read_videos(tmp_path / "other")
    with pytest.raises(UserError, match="mlcmr extract"):
        read_videos(tmp_path / "absent")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"path": path} for path in (None, "a.mp4", "../a.mp4", "", "/a\0.mp4", "/\ud800.mp4")),
        *({"video": video} for video in (None, "", "a b", "../a", "a\0", ".", "..")),
        *({"duration": duration} for duration in ("x", None, float("nan"), float("inf"), True, 10**400)),
        *({name: value} for name in ("bytes", "width", "height") for value in (-1, 1.5, "1", True, 10**400)),
        *({"modified_ns": value} for value in (1.5, None, 10**400)),
        {"kind": "sound"},
        *({"times": times} for times in (None, 3, ["x"], [True], [0, float("nan")])),
        *({"segments": segments} for segments in (None, [], [3], "ab", {})),
    ],
    ids=str,
)
def test_a_record_that_cannot_be_is_refused(tmp_path, wrong):
    assert_refused(tmp_path, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"start": start} for start in (None, "0", float("nan"))),
        *({"end": end} for end in (None, "1", float("inf"), -1.5)),
        *(
            {"frames": rows}
            for rows in (None, "ab", [0], [], [0, 1, 2], [1, 1], [-1, 1], [0, 1.0], [True, 2])
        ),
        *({"thumbnail": name} for name in (None, 3, "/etc/passwd", "../x.jpg", "a/../../x.jpg", "a\0")),
    ],
    ids=str,
)
def test_a_record_with_a_segment_that_cannot_be_is_refused(tmp_path, wrong):
    assert_refused(tmp_path, {"segments": [SEGMENT | wrong]}, next(iter(wrong)))


SEGMENT = {"start": 0, "end": 2.0, "frames": [0, 3], "thumbnail": "thumbnails/a/0.jpg"}
RECORD = {
    "video": "a",
    "path": "/films/a.mp4",
    "bytes": 5,
    "modified_ns": -1,
    "kind": "video",
    "duration": 2,
    "width": 4,
    "height": 3,
    "times": [0, 0.5, 1],
    "segments": [SEGMENT],
}


def assert_refused(folder: Path, wrong: dict, what: str = "") -> None:
    path = folder / "videos.jsonl"
    path.write_text(json.dumps(RECORD) + "\n")
    assert len(read_videos(folder)) == 1
    path.write_text(f"{json.dumps(RECORD)}\n{json.dumps(RECORD | {'video': 'b'} | wrong)}\n")
    with pytest.raises(UserError, match=r"videos\.jsonl:2: not the record of a video: ") as caught:
        read_videos(folder)
    assert "\n" not in str(caught.value)
    if wrong != {"segments": [3]}:
        assert f": {what or next(iter(wrong))} cannot be " in str(caught.value)


def test_records_of_one_video_are_refused(tmp_path):
    (tmp_path / "videos.jsonl").write_text(f"{json.dumps(RECORD)}\n" * 2)
    with pytest.raises(UserError, match="video 'a' is there 2 times"):
        read_videos(tmp_path)


def test_files_are_found_in_order(videos):
    (videos / "IMG.HEIC").touch()
    (videos / "README").touch()
    (videos / "linked").symlink_to(videos / "deep er")
    found, others, _ = find_files(videos, collection=videos / "none")
    assert others == {".txt": 1, ".heic": 1, "": 1}
    assert [path.name for path in found] == ["a.mp4", "b.avi", "b.mkv", "狗.webm", "photo.jpg"]
    assert list(find_files(videos / "a.mp4", collection=videos)[0]) == [videos / "a.mp4"]
    with pytest.raises(UserError, match=r"notes\.txt: not called as a video or an image is"):
        find_files(videos / "notes.txt", collection=videos)


# ─── segments ────────────────────────────────────────────────────────────────────────────────────────────


def cuts(rule, times, duration, pictures=None):
    cutter = Cutter(rule)
    blank = np.zeros((8, 8, 3), np.uint8)
    for number, time in enumerate(times):
        cutter.add(time, blank if pictures is None else pictures[number])
    return [(one.start, one.end, one.frames) for one in cutter.finish(duration)]


def test_segments_of_one_length():
    seconds = range(100)
    assert cuts(10.0, range(14), 14.0) == [(0, 14, (0, 14))]  # less than one and a half stays whole
    assert cuts(10.0, range(16), 16.0) == [(0, 10, (0, 10)), (10, 16, (10, 16))]
    assert cuts(10.0, range(24), 24.0) == [(0, 10, (0, 10)), (10, 24, (10, 24))]
    assert len(cuts(10.0, seconds, 100.0)) == 10
    assert cuts(None, seconds, 100.0) == [(0, 100, (0, 100))]
    assert cuts(10.0, [0.0, 35.0], 60.0) == [(0, 30, (0, 1)), (30, 60, (1, 2))]  # none without a row


def test_a_length_may_be_whole():
    assert cuts(10, range(24), 24.0) == cuts(10.0, range(24), 24.0)
    assert cuts(10, range(14), 14.0) == [(0, 14, (0, 14))]
    with pytest.raises(UserError, match="--segment 0: "):
        Cutter(0)


@pytest.mark.parametrize("length", [0.1, 0.2, 0.7, 1.1])
def test_each_row_at_a_multiple_of_a_short_length_opens_a_segment(length):
    times = [row * length for row in range(500)]
    found = cuts(length, times, 500 * length)
    assert [rows for _, _, rows in found] == [(row, row + 1) for row in range(500)]
    assert [start for start, _, _ in found] == pytest.approx(times)


def test_segments_by_shots():
    colours = {"r": (200, 30, 30), "g": (30, 200, 30), "b": (30, 30, 200)}

    def of(story):
        pictures = [np.full((24, 32, 3), colours[one], np.uint8) for one in story]
        return cuts("shots", [n / 2 for n in range(len(story))], len(story) / 2, pictures)

    assert of("rrrrggggggbbbb") == [(0, 2, (0, 4)), (2, 5, (4, 10)), (5, 7, (10, 14))]
    assert of("rrrrgrrrr")[0] == (0, 2, (0, 4))  # a flash opens one shot, and not two
    assert len(of("rrrrgrrrr")) == 2 or of("rrrrgrrrr")[1][1] - of("rrrrgrrrr")[1][0] >= 1
    assert [one[1] for one in of("r" * 300)] == [60, 120, 150]


def test_shots_by_what_is_where():
    """Rows of 8 a second; a shot takes half a second."""
    quiet = np.full((24, 32, 3), 100, np.uint8)
    left, night, lamp = quiet.copy(), quiet // 12, quiet // 3
    left[:, :16] = 250
    generator = np.random.default_rng(0)
    running = [generator.integers(0, 255, (4, 4, 3), np.uint8).repeat(6, 0).repeat(8, 1) for _ in range(16)]

    def starts(*pictures):
        return [cut[2][0] for cut in cuts("shots", [n / 8 for n in range(len(pictures))], 9.0, pictures)]

    assert starts(*[left] * 8, *[left[:, ::-1]] * 8) == [0, 8]  # the same colours elsewhere
    assert starts(*[night] * 8, *[lamp] * 8) == [0, 8]  # both are dark
    assert starts(*running) == [0]  # change is what is usual there
    assert starts(*[quiet] * 4, *[left] * 8) == [0, 4]
    assert starts(*[quiet] * 3, *[left] * 8) == [0]  # too short for a shot


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("bikes.mp4", [1.2, 3.0, 5.5, 7.5, 9.7]),
        ("Megamind_bugy.avi", [3.3, 5.2, 6.8]),  # at night
        ("rKF0ZW34FRk_41_54.avi", []),  # by a wild camera
    ],
)
def test_shots_of_real_clips(name, seconds):
    path = Path(__file__).parents[2] / "shared/clips" / name
    if not path.exists():
        pytest.skip("the clips are not here")
    record, _ = sample_file(path, LIGHT, Sampling(rate=8), segment="shots")
    assert [one.start for one in record.segments[1:]] == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 500, 3), (500, 2, 3)])
def test_shots_of_slivers(shape):
    pictures = [np.zeros(shape, np.uint8)] * 8 + [np.full(shape, 255, np.uint8)] * 8
    found = cuts("shots", [n / 8 for n in range(16)], 2.0, pictures)
    assert [cut[2] for cut in found][-1][1] == 16


def test_the_thumbnail_is_the_middle_frame():
    for rows in (1, 2, 9, 64, 65, 1000):
        cutter = Cutter(None)
        for row in range(rows):
            cutter.add(float(row), np.full((16, 16, 3), row * 250 // rows, np.uint8))
        (cut,) = cutter.finish(float(rows))
        with Image.open(io.BytesIO(cut.thumbnail)) as thumbnail:
            seen = np.asarray(thumbnail).mean()
        assert seen == pytest.approx(125 * (rows - 1) / rows, abs=250 / min(rows, 32) + 3)


def test_what_segment_takes():
    assert parse_rule("10") == 10.0
    assert parse_rule("shots") == "shots"
    assert parse_rule("none") is None
    for wrong in ("", "-1", "0", "nan", "inf", "ten"):
        with pytest.raises(UserError, match="--segment"):
            parse_rule(wrong)


# ─── pretrained encoders ─────────────────────────────────────────────────────────────────────────────────

VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEXT = {**VISION, "vocab_size": 99}
SMALL = {"image_size": 32, "patch_size": 16}


def save(folder: Path, model, processor) -> Path:
    torch.manual_seed(0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model("clip", tmp_path_factory.mktemp("models"))


def make_model(kind: str, parent: Path) -> Path:
    """A tiny randomly initialised model of a real architecture, as it is shared."""
    import transformers as t

    size = {"size": {"height": 32, "width": 32}}
    clip = t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    vit = t.ViTImageProcessorPil(**size)
    video = t.VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    torch.manual_seed(0)
    match kind:
        case "clip":
            config = t.CLIPConfig(text_config=TEXT, vision_config=VISION | SMALL, projection_dim=12)
            return save(parent / kind, t.CLIPModel(config), clip)
        case "clip-vision":
            model = t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(**VISION, **SMALL, projection_dim=12))
            return save(parent / kind, model, clip)
        case "siglip":
            config = t.SiglipConfig(text_config=TEXT, vision_config=VISION | SMALL)
            return save(parent / kind, t.SiglipModel(config), t.SiglipImageProcessorPil(**size))
        case "vit":
            return save(parent / kind, t.ViTModel(t.ViTConfig(**VISION, **SMALL)), vit)
        case "vit-classifier":  # without the pooler that AutoModel would add
            return save(parent / kind, t.ViTForImageClassification(t.ViTConfig(**VISION, **SMALL)), vit)
        case "dinov2":
            config = t.Dinov2Config(**{**VISION, **SMALL, "patch_size": 8})
            return save(parent / kind, t.Dinov2Model(config), vit)
        case "convnext":
            config = t.ConvNextConfig(hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1])
            return save(
                parent / kind,
                t.ConvNextModel(config),
                t.ConvNextImageProcessorPil(size={"shortest_edge": 384}),
            )
        case "videomae":
            config = t.VideoMAEConfig(**VISION, **SMALL, num_frames=4)
            return save(parent / kind, t.VideoMAEModel(config), video)
        case "timesformer":
            config = t.TimesformerConfig(**VISION, **SMALL, num_frames=4)
            return save(parent / kind, t.TimesformerModel(config), video)
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind", ["clip", "clip-vision", "siglip", "vit", "vit-classifier", "dinov2", "convnext"]
)
def test_image_models(kind, videos, tmp_path):
    encoder = load_encoder(make_model(kind, tmp_path))
    assert (encoder.feature, encoder.frames_per_feature) == (kind, 1)
    assert encoder.dimension == (12 if kind.startswith("clip") else 16)
    assert_encodes(encoder, videos, tmp_path)


@pytest.mark.parametrize("kind", ["videomae", "timesformer"])
def test_video_models(kind, videos, tmp_path):
    encoder = load_encoder(make_model(kind, tmp_path))
    assert (encoder.dimension, encoder.frames_per_feature) == (16, 4)
    assert_encodes(encoder, videos, tmp_path)
    rows = {record.video: len(record.times) for record in read_videos(tmp_path / "mine")}
    assert rows == {
        "a": 6,
        "b": 1,
        "b_mkv": 9,
        "deep_er_狗": 2,
        "photo": 1,
    }  # windows of 4 of 24, 4, 36, 6, 1 frames


def assert_encodes(encoder, videos: Path, tmp_path: Path) -> None:
    """The features are finite, differ between pictures, and do not depend on what is encoded with them."""
    run(videos, tmp_path / "mine", encoder=encoder)
    features = open_features(tmp_path / "mine/FeatureData" / encoder.feature)
    assert np.isfinite(features.matrix).all()
    assert not np.allclose(features["a"][0], features["photo"][0])
    run(videos / "a.mp4", tmp_path / "alone", encoder=load_encoder(encoder.name))
    np.testing.assert_array_equal(
        open_features(tmp_path / "alone/FeatureData" / encoder.feature)["a"], features["a"]
    )
    _, rows = sample_file(videos / "a.mp4", encoder, Sampling(rate=encoder.rate))
    np.testing.assert_allclose(rows, features["a"], atol=1e-6)


def test_a_clip_feature_is_the_embedding_it_shares_with_texts(tiny_clip):
    from transformers import AutoImageProcessor, CLIPModel

    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    pixels = AutoImageProcessor.from_pretrained(tiny_clip, backend="pil")(images=picture, return_tensors="pt")
    model = CLIPModel.from_pretrained(tiny_clip).eval()
    with torch.no_grad():
        hidden = model.vision_model(**pixels).pooler_output
        expected = model.visual_projection(hidden).numpy()
    np.testing.assert_allclose(load_encoder(tiny_clip).encode([picture]), expected, atol=1e-6)


def test_a_pooler_that_was_not_trained_is_not_used(tmp_path):
    folder = make_model("vit-classifier", tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    one, other = (load_encoder(folder).encode([picture]) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_what_is_no_image_model_says_so(tmp_path):
    import transformers as t

    t.BertModel(t.BertConfig(**TEXT)).save_pretrained(tmp_path / "bert")
    t.ViTImageProcessorPil().save_pretrained(tmp_path / "bert")
    t.ViTModel(t.ViTConfig(**VISION, **SMALL)).save_pretrained(tmp_path / "bare")
    (tmp_path / "empty").mkdir()
    for name in ("bert", "bare", "empty"):
        with pytest.raises(UserError, match=f"encoder '.*{name}'"):
            load_encoder(tmp_path / name)
    with pytest.raises(UserError, match="--device nonsense"):
        load_encoder(make_model("vit", tmp_path), device="nonsense")


def test_features_are_named_after_their_encoder():
    assert feature_name("openai/clip-vit-base-patch16") == "clip-vit-base-patch16"
    assert feature_name("/models/my model/") == "my_model"
    with pytest.raises(UserError, match="--feature"):
        feature_name("/")
