"""From a folder of videos to a collection."""

import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mlcmr.cli import main
from mlcmr.data.check import check
from mlcmr.data.collection import Collection
from mlcmr.data.features.frame_features import open_features
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.extraction import sample_file
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.records import read_videos
from tests.helpers.extraction import LIGHT, run
from tests.helpers.folders import contents
from tests.helpers.videos import make_sound, make_video


def test_what_is_written_is_consistent(videos, tmp_path):
    summary = run(videos, tmp_path / "mine", segment=2.0)
    records = read_videos(tmp_path / "mine")
    assert [record.video for record in records] == ["a", "b", "b_mkv", "deep_er_狗", "photo"]
    assert (summary.videos, summary.extracted, summary.skipped) == (5, 5, [])
    assert json.loads(json.dumps(summary.to_dict())) == summary.to_dict()
    assert summary.to_dict()["others"] == {".txt": 1}
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
    assert check(tmp_path / "mine").problems == ["TextData: no such folder"]
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
        alone, rows = sample_file(record.path, LIGHT, Sampling(fps=LIGHT.fps))
        assert (alone.times, alone.duration, alone.kind) == (record.times, record.duration, record.kind)
        np.testing.assert_array_equal(rows, features[record.video])
    with pytest.raises(CorruptFileError, match=r"a\.mp4: longer than 10 "):
        sample_file(videos / "a.mp4", LIGHT, Sampling(fps=8), most_frames=10)
    with pytest.raises(CorruptFileError, match=r"absent\.mp4: no such file$"):
        sample_file(tmp_path / "absent.mp4", LIGHT, Sampling(num_frames=1))
    with pytest.raises(CorruptFileError, match="File name too long"):
        sample_file(tmp_path / f"{'n' * 300}.mp4", LIGHT, Sampling(num_frames=1))


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
        "no video or image, by file extension",
        "in: 1 file, none can be read",
        "no such folder",
        "segment is long, but must be a number or shots or none",
        "give either frames a second (--rate) or a number of frames (--count)",
    ]
    assert all(what in line for what, line in zip(told, lines, strict=True))


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("workers", 0),
        ("workers", -1),
        ("batch_size", 0),
        ("rate", 0),
        ("count", 0),
        ("segment", 0),
    ],
)
def test_what_is_out_of_range_is_an_error(videos, tmp_path, option, wrong):
    with pytest.raises(InvalidValueError, match=f"`{option}` {wrong}: expected "):
        run(videos, tmp_path / "mine", **{option: wrong})
    assert not (tmp_path / "mine").exists()


def test_a_device_that_is_not_there_is_an_error_for_every_encoder(videos, tmp_path):
    with pytest.raises(InvalidValueError, match=r"device.* nonsense: not on this machine"):
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


def test_a_summary_of_one_frame_says_so(tmp_path):
    (tmp_path / "v").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "v/a.png")
    assert "1 video, 1 extracted now (1 frame, " in str(run(tmp_path / "v", tmp_path / "mine"))
