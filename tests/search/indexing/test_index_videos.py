"""Indexing videos, and collections whose videos are there."""

import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import mlcmr
from mlcmr.cli import main
from mlcmr.data.collection import Collection
from mlcmr.data.features.frame_features import write_features
from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.extraction import discovery as find
from mlcmr.extraction.discovery import assign_ids, root_of
from mlcmr.extraction.extract_collection import extract
from mlcmr.extraction.records import Segment, VideoRecord, read_videos
from mlcmr.search import Filters, Searcher
from mlcmr.search.indexing.index_source import open_source
from mlcmr.search.indexing.manifest import read_info
from mlcmr.training import train
from tests.helpers.indexes import count_embedded
from tests.helpers.tiny import tiny_config
from tests.helpers.videos import make_sound


def test_a_folder_of_videos(drawn, films, tmp_path):
    summary = mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    assert (summary.added, summary.segments, summary.captions) == (7, 7, 0)
    assert "7 extracted now" in str(summary)
    searcher = Searcher(tmp_path / "index", device="cpu")
    hits = {hit.video: hit for hit in searcher.search("a red circle", k=20)}
    assert set(hits) == {"0", "1", "2", "3", "4", "holiday_beach", "photo"}
    beach, photo = hits["holiday_beach"], hits["photo"]
    assert beach.path == str(films / "holiday" / "beach.mp4")
    assert (beach.start, beach.end, beach.duration, beach.width, beach.height) == (0, 2, 2, 96, 96)
    assert (photo.kind, photo.duration, photo.width, photo.height) == ("image", 0, 64, 48)
    assert all(Path(hit.thumbnail).read_bytes()[:2] == b"\xff\xd8" for hit in hits.values())
    filters = Filters.parse(["path~holiday/"])
    assert [hit.video for hit in searcher.search("a", filters=filters)] == ["holiday_beach"]
    # The index can be moved, thumbnails and all.
    searcher.close()
    (tmp_path / "index").rename(tmp_path / "moved")
    (hit,) = Searcher(tmp_path / "moved", device="cpu").search("a", filters=filters)
    assert Path(hit.thumbnail).is_file()


def test_names_that_are_not_text(drawn, films, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = os.fsdecode(b"caf\xe9.mp4")
    shutil.copy(films / "1.mp4", films / bad)
    (films / "holiday").rename(films / os.fsdecode(b"\xff"))
    words = ["index", "films", "--run", str(drawn / "run"), "--device", "cpu"]
    assert main(words) == 0
    shown = capfd.readouterr()
    skipped = [line for line in shown.err.splitlines() if line.startswith("skipped: ")]
    assert len(skipped) == 2
    assert all("its name is not UTF-8; rename it" in line for line in skipped)
    assert "2 files that cannot be read" in shown.out
    assert "6 added" in shown.out
    # To search by, a file needs no name.
    assert main(["search", "--video", os.fsdecode(b"films/caf\xe9.mp4"), "-k", "1", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["video"] == "1"
    for words, status, said in (
        (["--filter", f"path~{bad}"], 0, "nothing found"),
        (["--filter", f"video!={bad}", "-k", "1"], 0, "search in 6 segments"),
        (["--similar", bad], 2, "not in the index"),
        (["--similar", "1", "--captions", "--language", bad], 2, "is no language"),
    ):
        text = [] if "--similar" in words else ["a"]
        assert main(["search", *text, *words]) == status
        shown = capfd.readouterr()
        assert said in shown.out + shown.err
    films.rename(bad)
    for words in (
        ["index", bad],
        ["index", str(drawn / "sample"), "--run", str(drawn / "run"), "--to", bad + "i"],
        ["index", str(drawn / "sample"), "--run", bad],
        ["index", str(drawn / "sample"), "--encoder", bad],
    ):
        assert main(words) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert "is not UTF-8; rename that" in error
    assert not Path(bad + "i").exists()


def test_videos_are_sampled_as_for_training(drawn, films, tmp_path):
    shutil.copytree(drawn / "sample" / "TextData", tmp_path / "sample" / "TextData")
    extract(drawn / "sample" / "VideoData", tmp_path / "sample", count=4)
    config = tiny_config(tmp_path, tmp_path / "run", collection="sample", feature="hues228", epochs=1)
    run = Path(train(config).folder)
    mlcmr.index(films, tmp_path / "index", run=run, device="cpu")
    info = read_info(tmp_path / "index")
    assert (info.encoder, info.rate, info.count) == ("hues228", None, 4)
    made = tmp_path / "index" / "collection" / "FeatureData" / "hues228" / "encoder.json"
    assert json.loads(made.read_text())["count"] == 4
    # From then on as the index itself was made, wherever the collection has gone.
    (tmp_path / "sample").rename(tmp_path / "moved")
    shutil.copy(films / "1.mp4", films / "new.mp4")
    assert mlcmr.index(films, tmp_path / "index", device="cpu").added == 1


def test_videos_are_sampled_as_before_though_a_collection_was_not(drawn, films, tmp_path):
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    shutil.copytree(films / "holiday", tmp_path / "more")
    (tmp_path / "more" / "beach.mp4").rename(tmp_path / "more" / "sea.mp4")
    extract(tmp_path / "more", tmp_path / "slow", rate=2)
    mlcmr.index(tmp_path / "slow", tmp_path / "index", device="cpu")
    assert mlcmr.index(films, tmp_path / "index", device="cpu").unchanged == 7


def test_files_come_change_and_go(drawn, films, tmp_path):
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    shutil.copy(films / "1.mp4", films / "new.mp4")
    shutil.copy(films / "2.mp4", films / "3.mp4")
    (films / "0.mp4").unlink()
    summary = mlcmr.index(films, tmp_path / "index", device="cpu")
    assert (summary.added, summary.changed, summary.removed, summary.segments) == (1, 1, 0, 8)
    searcher = Searcher(tmp_path / "index", device="cpu")
    for copy, original in (("new", "1"), ("3", "2")):
        assert searcher.similar(copy, k=1)[0].video == original
        assert searcher.similar(copy, k=1)[0].score == pytest.approx(1, abs=1e-3)
    summary = mlcmr.index(films, tmp_path / "index", prune=True, device="cpu")
    assert (summary.added, summary.changed, summary.removed, summary.segments) == (0, 0, 1, 7)
    assert "0" not in {hit.video for hit in searcher.search("a", k=50)}
    for path in films.rglob("*.*"):
        path.unlink()
    with pytest.raises(
        NotFoundError, match=f"no videos or images there any more; remove the index {tmp_path}/index"
    ):
        mlcmr.index(films, tmp_path / "index", prune=True, device="cpu")
    assert searcher.size == 7


def test_a_folder_of_videos_that_has_moved(drawn, films, tmp_path, monkeypatch):
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    searcher = Searcher(tmp_path / "index", device="cpu")
    before = searcher.search("a red circle", k=20)
    films.rename(tmp_path / "moved")
    counts = count_embedded(monkeypatch)
    summary = mlcmr.index(tmp_path / "moved", tmp_path / "index", device="cpu")
    assert (summary.added, summary.changed, summary.unchanged) == (0, 7, 0)
    assert counts == [0, 0]
    after = searcher.search("a red circle", k=20)
    assert [hit.path for hit in after] == [hit.path.replace("/films/", "/moved/") for hit in before]
    assert [hit.score for hit in after] == pytest.approx([hit.score for hit in before], abs=1e-6)


def test_a_collection_whose_videos_are_there(drawn, tmp_path):
    mlcmr.index(drawn / "sample", tmp_path / "index", run=drawn / "run", device="cpu")
    searcher = Searcher(tmp_path / "index", device="cpu")
    (hit,) = searcher.video("sample00003")
    assert hit.path == str(drawn / "sample/VideoData/sample00003.mp4")
    assert (hit.end, hit.duration, hit.width, hit.height) == (2, 2, 96, 96)
    assert searcher.languages == ("en", "de", "es", "zh")
    assert searcher.known_languages == ("en", "zh")  # those of the training
    # Described as it was for training, so found again by its file.
    best = searcher.search_file(hit.path, k=1)[0]
    assert (best.video, round(best.score, 3)) == ("sample00003", 1)
    of_file = searcher.captions_of_file(hit.path, k=1)[0]
    assert of_file.score == pytest.approx(searcher.captions("sample00003", k=1)[0].score, abs=1e-3)


def test_files_without_features_are_told(drawn, films, tmp_path):
    mine = tmp_path / "my films"
    extract(films, mine, rate=2, segment=None)
    first = mlcmr.index(mine, tmp_path / "index", run=drawn / "run", device="cpu")
    assert "missing" not in str(first)
    (films / "notes.txt").write_text("no video")
    new = [films / "holiday" / "new.mp4", films / "next year" / "3.mp4"]
    for path in new:
        path.parent.mkdir(exist_ok=True)
        shutil.copy(films / "1.mp4", path)
    told = str(mlcmr.index(mine, tmp_path / "index", device="cpu"))
    assert f"  missing:  up to 2 files without features, as {new[0]}; mlcmr extract " in told
    words = shlex.split(told[told.index("mlcmr extract") :].splitlines()[0])
    assert words[2] == str(films)
    assert main(words[1:]) == 0
    again = mlcmr.index(mine, tmp_path / "index", device="cpu")
    assert (again.added, again.changed, again.segments) == (2, 0, 9)
    assert "missing" not in str(again)
    # As if all had been extracted at once.
    extract(films, tmp_path / "fresh", rate=2, segment=None)
    assert read_videos(mine) == read_videos(tmp_path / "fresh")


def test_what_cannot_be_extracted_is_not_missing(drawn, films, tmp_path):
    mine = tmp_path / "mine"
    extract(films, mine)
    (films / "broken.mp4").write_text("no video")
    (films / "broken.jpg").write_text("no picture")
    (films / "empty.mp4").touch()
    (films / "nowhere.mp4").symlink_to(films / "absent.mp4")
    os.mkfifo(films / "pipe.mp4")
    make_sound(films / "audio.mp4")
    told = str(mlcmr.index(mine, tmp_path / "index", run=drawn / "run", device="cpu"))
    assert "missing" not in told
    shutil.copy(films / "1.mp4", films / "new.mp4")
    told = str(mlcmr.index(mine, tmp_path / "index", device="cpu"))
    assert (
        f"  missing:  up to 4 files without features, as {films / 'new.mp4'}; mlcmr extract {films} " in told
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"segments": [{"start": 0, "end": 2, "frames": [0, 999], "thumbnail": ""}]},
            "videos.jsonl says 999",
        ),
        ({"path": "/etc/passwd"}, "the file /etc/passwd has no extension of a video"),
        ({"video": "another"}, "video 'another': has no features; extract the video again"),
        ({"segments": []}, "videos.jsonl:1: segments is []: it should have at least 1 item, not 0"),
    ],
)
def test_what_a_collection_says_of_its_videos_is_not_trusted(drawn, films, tmp_path, capfd, wrong, said):
    extract(films, tmp_path / "mine")
    path = tmp_path / "mine/FeatureData/hues228/videos.jsonl"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{json.dumps(json.loads(first) | wrong)}\n{rest}")
    words = ["index", str(tmp_path / "mine"), "--run", str(drawn / "run"), "--to", str(tmp_path / "index")]
    assert main([*words, "--device", "cpu"]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("mlcmr: ")
    assert said in error


@pytest.mark.parametrize(
    ("path", "video", "root"),
    [
        ("/v/a/b.mp4", "b", "/v/a"),
        ("/v/a/b.mp4", "a_b", "/v"),
        ("/v/a/b.mp4", "v_a_b", "/"),
        ("/v/day 1/b.mp4", "day_1_b_mp4", "/v"),
        ("/v/day 1/b.mp4", "day_1_b_mp4-12", "/v"),
        ("/v/a/b.mp4", "another", "/v/a"),
    ],
)
def test_the_folder_that_a_video_was_found_in(path, video, root):
    segment = Segment(0, 1, (0, 1), "")
    record = VideoRecord(video, path, 1, 1, "video", 1.0, 1, 1, (0.0,), (segment,))
    assert root_of(record) == Path(root)


def test_the_folders_that_many_videos_were_found_in(monkeypatch):
    folder = Path("/v/a/b/c/d/e")
    files = [folder / f"{number} of many.mp4" for number in range(100)]
    files += [folder / f"{name}.webm" for name in ("x", "10 of many")]
    ids = assign_ids(files, Path("/v"), {}) | {folder / "alone.mp4": "alone", Path("/w/x.mp4"): "x"}
    records = [
        VideoRecord(video, str(path), 1, 1, "video", 1.0, 1, 1, (0.0,), (Segment(0, 1, (0, 1), ""),))
        for path, video in ids.items()
    ]
    asked = []
    monkeypatch.setattr(find, "root_of", lambda record: asked.append(record) or root_of(record))
    assert find.roots_of(records) == {Path("/v"), folder, Path("/w")}
    assert len(asked) < 10


def test_ids_that_others_wrote_name_no_file_outside_the_collection(tmp_path):
    mine = tmp_path / "mine"
    names = ["a", "b/c", "../x", "b/../../../away", str(tmp_path / "away"), "b//c", "./a", "n" * 300]
    (mine / "VideoData" / "b").mkdir(parents=True)
    for name in ("mine/VideoData/a", "mine/VideoData/b/c", "mine/x", "away"):
        (tmp_path / f"{name}.mp4").touch()
    ids = [f"{name}_0" for name in names]
    frames = {name: [one] for name, one in zip(names, ids, strict=True)}
    write_features(mine / "FeatureData" / "f", [(ids, np.ones((len(ids), 2), np.float32))], frames)
    videos = open_source(Collection(mine, "mine"), "f").videos
    assert {name: record.path for name, record in videos.items() if record.path} == {
        "a": str(mine / "VideoData/a.mp4"),
        "b/c": str(mine / "VideoData/b/c.mp4"),
    }


def test_videos_of_a_collection_without_features(drawn, tmp_path):
    mine = Path(shutil.copytree(drawn / "sample", tmp_path / "mine"))
    shutil.copy(mine / "VideoData" / "sample00001.mp4", mine / "VideoData" / "new.mp4")
    told = str(mlcmr.index(mine, tmp_path / "index", run=drawn / "run", device="cpu"))
    assert told.endswith(f"  missing:  1 file without features, as {mine / 'VideoData' / 'new.mp4'}")
    shutil.rmtree(mine / "FeatureData" / "hues228")
    with pytest.raises(
        NotFoundError, match=r"no such feature; there is none; to make it: mlcmr extract"
    ) as caught:
        mlcmr.index(mine, tmp_path / "other", run=drawn / "run", device="cpu")
    assert not (tmp_path / "other").exists()
    words = shlex.split(str(caught.value).partition("to make it: mlcmr ")[2].replace("ENCODER", "hues228"))
    assert main(words) == 0
    mlcmr.index(mine, tmp_path / "other", run=drawn / "run", device="cpu")
    assert "new" in {hit.video for hit in Searcher(tmp_path / "other", device="cpu").search("a", k=50)}


def test_segments_of_a_long_video(drawn, films, tmp_path):
    for name in ("1.mp4", "2.mp4", "4.mp4", "photo.png"):
        (films / name).unlink()
    extract(films, tmp_path / "mine", segment=0.5)
    mlcmr.index(tmp_path / "mine", tmp_path / "index", run=drawn / "run", device="cpu")
    searcher = Searcher(tmp_path / "index", device="cpu")
    parts = searcher.video("3")
    assert [(hit.segment, hit.start, hit.end) for hit in parts] == [
        (n, 0.5 * n, 0.5 * n + 0.5) for n in range(4)
    ]
    assert {hit.video for hit in searcher.similar("3", 2, k=20)} == {"0", "holiday_beach"}
    # Cut otherwise, there are fewer: those that were there before go.
    shutil.rmtree(tmp_path / "mine")
    extract(films, tmp_path / "mine", segment=1.0)
    summary = mlcmr.index(tmp_path / "mine", tmp_path / "index", device="cpu")
    assert (summary.changed, summary.segments) == (3, 6)
    assert [hit.end for hit in searcher.video("3")] == [1, 2]


def test_an_encoder_of_another_size(trained, drawn, films, tmp_path):
    with pytest.raises(
        InvalidValueError, match="takes the feature 'feat'; name the frame encoder that makes this feature"
    ):
        mlcmr.index(films, tmp_path / "index", run=trained, device="cpu")
    with pytest.raises(InvalidValueError, match="makes features of 228 numbers, but the model takes 12"):
        mlcmr.index(films, tmp_path / "index", run=trained, encoder="hues228", device="cpu")
