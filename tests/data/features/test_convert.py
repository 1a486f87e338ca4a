"""Frame features to and from text and arrays, joined, selected: equal, flat in memory, whole or not there."""

import signal
import subprocess
import sys
import textwrap
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcmr.cli import main
from mlcmr.data.features import arrays, open_features, write_features
from mlcmr.data.features.convert import (
    FeatureSize,
    arrays_to_features,
    features_to_arrays,
    join_features,
    select_videos,
    text_to_features,
    write_video2frames,
)
from mlcmr.data.features.feature_files import read_frame_ids
from mlcmr.data.ids import video_id
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError
from tests.helpers.folders import contents
from tests.helpers.progress import RecordedProgress

Videos = dict[str, np.ndarray]


def rows(frames: int, dimension: int = 3, start: int = 0) -> np.ndarray:
    return np.arange(start, start + frames * dimension, dtype=np.float32).reshape(frames, dimension)


def write(folder: Path, videos: Videos, order: int | None = None) -> Path:
    """Writes videos with frame ids `<video>_<number>`, rows in an order that `order` draws."""
    ids = [f"{video}_{i}" for video, frames in videos.items() for i in range(len(frames))]
    matrix = np.concatenate(list(videos.values()))
    places = range(len(ids)) if order is None else np.random.default_rng(order).permutation(len(ids))
    video2frames = {video: [f"{video}_{i}" for i in range(len(frames))] for video, frames in videos.items()}
    write_features(folder, [([ids[place] for place in places], matrix[list(places)])], video2frames)
    return folder


def read(folder: Path) -> Videos:
    features = open_features(folder)
    return {video: features[video] for video in features.videos}


def assert_equal(found: Videos, expected: Videos) -> None:
    assert list(found) == list(expected)
    for video, frames in expected.items():
        np.testing.assert_array_equal(found[video], frames)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write(tmp_path / "toy", {"a": rows(2), "b-1": rows(3, start=6)}, order=1)


NAMES = st.from_regex(r"[A-Za-z0-9é视_-]{1,6}", fullmatch=True) | st.sampled_from(
    ["a_1", "a", "-", "_", "a_0_0"]
)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def collections(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=str.casefold))
    dimension = draw(st.integers(1, 4))
    counts = [draw(st.integers(1, 4)) for _ in names]
    values = st.lists(FLOATS, min_size=dimension, max_size=dimension)
    return {
        name: np.array([draw(values) for _ in range(count)], np.float32)
        for name, count in zip(names, counts, strict=True)
    }


# There and back


@settings(max_examples=15)
@given(collections(), st.integers(0, 99))
def test_arrays_and_back(tmp_path_factory, videos, order):
    folder = tmp_path_factory.mktemp("there")
    source = write(folder / "source", videos, order)
    frames = sum(map(len, videos.values()))
    size = FeatureSize(len(videos), frames, next(iter(videos.values())).shape[1])
    for name in ("one.npz", "many"):
        assert features_to_arrays(source, folder / name) == size
        assert arrays_to_features(folder / name, folder / f"back-{name}") == size
        back = read(folder / f"back-{name}")
        assert_equal(back if name == "one.npz" else {video: back[video] for video in videos}, videos)


@settings(max_examples=15)
@given(collections(), st.integers(0, 99))
def test_text_and_back(tmp_path_factory, videos, order):
    folder = tmp_path_factory.mktemp("text")
    source = write(folder / "source", videos, order)
    features = open_features(source)
    ids = read_frame_ids(source, len(features.matrix))
    lines = [
        f"{name} {' '.join(map(str, row.tolist()))}\n" for name, row in zip(ids, features.matrix, strict=True)
    ]
    (folder / "a.txt").write_text("".join(lines[:2]), encoding="utf-8")
    (folder / "b.txt").write_text("\n".join(lines[2:]), encoding="utf-8")
    texts = [folder / "a.txt", folder / "b.txt"]
    text_to_features(texts, folder / "back", video2frames=source / "video2frames.txt")
    assert_equal(read(folder / "back"), videos)
    np.testing.assert_array_equal(open_features(folder / "back").matrix, features.matrix)


@settings(max_examples=15)
@given(collections(), st.lists(st.integers(0, 99), min_size=2, max_size=3))
def test_joined_features_are_those_of_each_side_by_side(tmp_path_factory, videos, orders):
    folder = tmp_path_factory.mktemp("join")
    parts = [
        write(folder / str(i), {video: frames + i for video, frames in videos.items()}, order)
        for i, order in enumerate(orders)
    ]
    join_features(parts, folder / "joined")
    expected = {
        video: np.concatenate([frames + i for i in range(len(parts))], axis=1)
        for video, frames in videos.items()
    }
    assert_equal(read(folder / "joined"), expected)


@settings(max_examples=15)
@given(collections(), st.integers(0, 99), st.data())
def test_selected_videos_are_as_they_were(tmp_path_factory, videos, order, data):
    folder = tmp_path_factory.mktemp("select")
    source = write(folder / "source", videos, order)
    wanted = data.draw(st.lists(st.sampled_from(list(videos)), min_size=1, unique=True))
    select_videos(source, wanted, folder / "by ids")
    (folder / "list.txt").write_text("\r\n".join(wanted) + "\r\n\r\n", encoding="utf-8")
    select_videos(source, folder / "list.txt", folder / "by list")
    for name in ("by ids", "by list"):
        assert_equal(read(folder / name), {video: videos[video] for video in wanted})


@settings(max_examples=15)
@given(collections(), st.integers(0, 99))
def test_video2frames_is_made_from_frame_ids(tmp_path_factory, videos, order):
    source = write(tmp_path_factory.mktemp("ids") / "source", videos, order)
    (source / "video2frames.txt").unlink()
    assert write_video2frames(source).videos == len(videos)
    found = read(source)
    assert_equal({video: found[video] for video in videos}, videos)


# Text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a_0 1 2\na_1 1\n", "t.txt:2: frame 'a_1' has 1 number, those before it 2"),
        ("a_0 1 2\n\na_1 1 x2\n", "t.txt:3: 'x2' is not a number"),
        ("a_0\n", "t.txt:1: frame 'a_0' has 0 numbers, expected <frame id> <number> …"),
        ("a_0 1 2\na_0 1 2\n", "t.txt:2: frame 'a_0' has a line already"),
        ("\x00\x01 \xff\xfe\n", "t.txt:1: "),
        ("", "no frames to write"),
        ("a 1 2\n", "'a' is not <video>_<number>"),
    ],
)
def test_malformed_lines_are_named(content, message, tmp_path):
    (tmp_path / "t.txt").write_text(content, encoding="latin-1")
    with pytest.raises(MlcmrError) as caught:
        text_to_features(tmp_path / "t.txt", tmp_path / "toy")
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def test_an_absent_text_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"absent\.txt: no such file$"):
        text_to_features(tmp_path / "absent.txt", tmp_path / "toy")


# Arrays


def test_arrays_of_other_kinds(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    np.save(source / "one-vector.npy", np.array([1, 2, 3]))
    np.save(source / "halves.npy", rows(2).astype(np.float16))
    np.save(source / "by-column.npy", np.asfortranarray(rows(3).astype(np.float64)))
    arrays_to_features(source, tmp_path / "toy")
    assert_equal(
        read(tmp_path / "toy"),
        {"by-column": rows(3), "halves": rows(2), "one-vector": np.array([[1, 2, 3]], np.float32)},
    )
    assert read_frame_ids(tmp_path / "toy", 6)[-1] == "one-vector_0"


def test_an_archive_of_videos(tmp_path):
    videos = {"v_000001_000011": rows(2), "features": rows(1), "ids": rows(3)}
    np.savez_compressed(tmp_path / "source.npz", **videos)
    arrays_to_features(tmp_path / "source.npz", tmp_path / "toy")
    assert_equal(read(tmp_path / "toy"), videos)


def test_rows_are_frames_or_videos_as_one_says(tmp_path):
    ids = ["a_0", "a_1", "b_7", "a_0"]
    np.save(tmp_path / "x.npy", rows(4))
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    arrays_to_features(tmp_path / "x.npy", tmp_path / "videos", rows="videos")
    assert_equal(
        read(tmp_path / "videos"), {"a_0": rows(4)[[0, 3]], "a_1": rows(4)[[1]], "b_7": rows(4)[[2]]}
    )
    with pytest.raises(CorruptFileError, match="'a_0' is listed twice"):
        arrays_to_features(tmp_path / "x.npy", tmp_path / "frames")
    np.savez(tmp_path / "x.npz", features=rows(3), ids=np.array(ids[:3]))
    arrays_to_features(tmp_path / "x.npz", tmp_path / "frames")
    assert_equal(read(tmp_path / "frames"), {"a": rows(2), "b": rows(4)[[2]]})


def test_an_array_of_videos_of_frames(tmp_path):
    matrix = rows(6).reshape(2, 3, 3)
    np.savez(tmp_path / "x.npz", features=matrix, ids=np.array([b"a", b"b"]))
    arrays_to_features(tmp_path / "x.npz", tmp_path / "toy")
    assert_equal(read(tmp_path / "toy"), {"a": matrix[0], "b": matrix[1]})


class Touch:
    """Pickled, it leaves a file behind when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_pickled_is_loaded(tmp_path):
    trace = tmp_path / "trace"
    evil = np.array([Touch(trace)], dtype=object)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "v.npy", evil)
    np.save(tmp_path / "x.npy", evil)
    (tmp_path / "ids.txt").write_text("a_0")
    np.savez(tmp_path / "videos.npz", v=evil)
    np.savez(tmp_path / "features.npz", features=evil, ids=np.array(["a_0"]))
    np.savez(tmp_path / "ids.npz", features=rows(1), ids=evil)
    for name in ("folder", "x.npy", "videos.npz", "features.npz", "ids.npz"):
        with pytest.raises(CorruptFileError, match=name):
            arrays_to_features(tmp_path / name, tmp_path / "toy")
    assert not trace.exists()
    assert not (tmp_path / "toy").exists()


def test_arrays_that_are_none_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "x.mat").touch()
    np.savez(tmp_path / "whole.npz", features=rows(4), ids=np.array(["a_0", "a_1", "a_2", "a_3"]))
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    np.savez(tmp_path / "few.npz", features=rows(4), ids=np.array(["a_0"]))
    np.savez(tmp_path / "words.npz", v=np.array(["a"]))
    np.savez(tmp_path / "none.npz", v=rows(0))
    np.savez(tmp_path / "cube.npz", v=rows(4).reshape(2, 2, 3))
    np.savez(tmp_path / "column.npz", features=np.asfortranarray(rows(2)), ids=np.array(["a_0", "a_1"]))
    np.save(tmp_path / "alone.npy", rows(2))
    for name, message in {
        "absent.npy": r"absent\.npy: no such file$",
        "absent.npz": r"absent\.npz: no such file$",
        "empty": r"no <video>\.npy in it",
        "text.npz": "cannot be read",
        "half.npz": "cannot be read",
        "few.npz": r"1 id for an array of shape \(4, 3\)",
        "words.npz": "video 'v': an array of shape .* expected numbers",
        "none.npz": r"video 'v': an array of shape \(0, 3\), which has no numbers$",
        "cube.npz": r"has shape \(2, 2, 3\), expected \(frames, dimension\)",
        "column.npz": "column by column",
        "alone.npy": r"ids\.txt: no such file",
        "absent": "absent: no such file or folder$",
        "x.mat": r"neither a folder nor an \.npy",
    }.items():
        with pytest.raises(MlcmrError, match=message):
            arrays_to_features(tmp_path / name, tmp_path / "toy")
        assert not (tmp_path / "toy").exists()
    (tmp_path / "ids.txt").write_text("a_0 a_1")
    with pytest.raises(InvalidValueError, match=r"has an ids\.txt"):
        arrays_to_features(tmp_path, tmp_path / "toy")


def test_a_fault_of_the_source_names_the_source(tmp_path):
    for name, width in (("arrays/cat01.mp4", 3), ("arrays/cat02.mp4", 4), ("twice/a", 3), ("twice/a.mp4", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", rows(2, width))
    np.savez(tmp_path / "widths.npz", a=rows(2, 3), b=rows(2, 4))
    np.savez(tmp_path / "blank.npz", features=rows(2), ids=np.array(["a_0", "a _1"]))
    np.savez(tmp_path / "form.npz", features=rows(1), ids=np.array(["a"]))
    np.save(tmp_path / "x.npy", rows(2))
    (tmp_path / "ids.txt").write_text("a_0 a_0")
    (tmp_path / "t.txt").write_text("a_0 1 2\n")
    (tmp_path / "frames.txt").write_text("{'a': ['a_7']}")
    (tmp_path / "empty.txt").touch()

    def refused(convert, source, **options):
        with pytest.raises(MlcmrError) as caught:
            convert(tmp_path / source, tmp_path / "toy", **options)
        return str(caught.value).replace(f"{tmp_path}/", "")

    for source, message in {
        "arrays": "arrays/cat02.mp4.npy: 4 numbers a frame, but arrays/cat01.mp4.npy has 3",
        "widths.npz": "widths.npz: video 'b': 4 numbers a frame, but widths.npz: video 'a' has 3",
        "twice": "twice: 'a.mp4' and 'a' both get the video id 'a': rename one",
        "blank.npz": "blank.npz: frame id 'a _1' is blank or has white space in it",
        "form.npz": "form.npz: frame id 'a' is not <video>_<number>; give video2frames yourself",
        "x.npy": "ids.txt: frame id 'a_0' is listed twice",
    }.items():
        assert refused(arrays_to_features, source) == message
    assert refused(text_to_features, "empty.txt") == "empty.txt: no frames to write"
    said = refused(text_to_features, "t.txt", video2frames=tmp_path / "frames.txt")
    assert said == "frames.txt: frame 'a_7' of video 'a' is not in t.txt"


def test_videos_are_called_as_everywhere(tmp_path):
    source = tmp_path / "source"
    nfd = unicodedata.normalize("NFD", "é")
    names = ["cat01.mp4", f"{nfd}.webm", "a b#1", "sub/dir/dog", "UPPER.NPY"]
    hidden = ["._cat01.mp4", ".hidden", ".cache/x", "sub/._dog"]
    for place, name in enumerate([*names, *hidden]):
        path = source / (name if name.endswith(".NPY") else f"{name}.npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.save(file, rows(1, start=place)) if name in names else file.write(b"Mac OS X")
    arrays_to_features(source, tmp_path / "toy")
    expected = {"cat01": 0, "é": 1, "a_b_1": 2, "sub_dir_dog": 3, "UPPER": 4}
    assert {video: frames[0, 0] for video, frames in read(tmp_path / "toy").items()} == expected
    np.savez(
        tmp_path / "x.npz", **{name.removesuffix(".NPY"): rows(1, start=i) for i, name in enumerate(names)}
    )
    arrays_to_features(tmp_path / "x.npz", tmp_path / "from npz")
    assert {video: frames[0, 0] for video, frames in read(tmp_path / "from npz").items()} == expected


def test_video_ids_of_every_source_follow_the_rules(tmp_path):
    ids = ["cat01.mp4", "sub/cat02.avi"]
    frames = [f"{video}_{i}" for video in ids for i in range(2)]
    np.savez(tmp_path / "frames.npz", features=rows(4), ids=np.array(frames))
    np.savez(tmp_path / "videos.npz", features=rows(4), ids=np.array(list("abcd")), videos=np.repeat(ids, 2))
    np.savez(tmp_path / "cube.npz", features=rows(4).reshape(2, 2, 3), ids=np.array(ids))
    np.savez(tmp_path / "rows.npz", features=rows(4), ids=np.repeat(ids, 2))
    (tmp_path / "t.txt").write_text("".join(f"{frame} 1\n" for frame in frames))
    (tmp_path / "v2f.txt").write_text(repr({ids[0]: frames[:2], ids[1]: frames[2:]}))
    for number, convert in enumerate((
        lambda to: arrays_to_features(tmp_path / "frames.npz", to),
        lambda to: arrays_to_features(tmp_path / "videos.npz", to),
        lambda to: arrays_to_features(tmp_path / "cube.npz", to),
        lambda to: arrays_to_features(tmp_path / "rows.npz", to, rows="videos"),
        lambda to: text_to_features(tmp_path / "t.txt", to),
        lambda to: text_to_features(tmp_path / "t.txt", to, video2frames=tmp_path / "v2f.txt"),
    )):  # fmt: skip
        convert(tmp_path / str(number))
        assert list(read(tmp_path / str(number))) == ["cat01", "sub_cat02"]


def test_a_list_of_videos_may_write_accents_otherwise(tmp_path):
    write(tmp_path / "toy", {"café": rows(1)})
    (tmp_path / "list.txt").write_text(unicodedata.normalize("NFD", "café\n"), encoding="utf-8")
    select_videos(tmp_path / "toy", tmp_path / "list.txt", tmp_path / "some")
    assert list(read(tmp_path / "some")) == ["café"]


def test_two_files_that_would_be_one_video_are_named(tmp_path):
    for names in (["cat.mp4", "cat.avi"], ["a b", "a_b"], ["x/y", "x_y"]):
        source = tmp_path / names[0].replace("/", "-")
        for name in names:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(source / f"{name}.npy", rows(1))
        first, second = sorted(names)
        with pytest.raises(
            InvalidValueError, match=f"'{first}' and '{second}' both get the video id '.*': rename one"
        ):
            arrays_to_features(source, tmp_path / "toy")
        assert not (tmp_path / "toy").exists()


def test_an_id_that_extraction_shortened_stays_as_it_is(tmp_path):
    long = video_id("视" * 300)
    write(tmp_path / "toy", {long: rows(1)})
    features_to_arrays(tmp_path / "toy", tmp_path / "arrays")
    arrays_to_features(tmp_path / "arrays", tmp_path / "back")
    assert list(read(tmp_path / "back")) == [long]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "holds NaN"),
        (-np.inf, "holds infinity"),
        (1e39, "holds 1e.39, too large for a 32-bit number"),
    ],
)
def test_numbers_that_are_not_finite_are_said_by_file_and_row(value, words, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 64)  # a few rows
    wrong = rows(9).astype(np.float64)
    wrong[7, 1] = value
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    np.save(tmp_path / "folder" / "sub" / "v.npy", wrong)
    np.save(tmp_path / "x.npy", wrong)
    (tmp_path / "ids.txt").write_text(" ".join(f"v_{i}" for i in range(9)))
    np.savez(tmp_path / "v.npz", v=wrong)
    np.savez(tmp_path / "cube.npz", features=wrong.reshape(3, 3, 3), ids=np.array(["a", "b", "c"]))
    for name, where in {
        "folder": "folder/sub/v.npy, row index 7",
        "x.npy": "x.npy, row index 7",
        "v.npz": "v.npz: video 'v', row index 7",
        "cube.npz": "cube.npz, row index 7",
    }.items():
        with pytest.raises(CorruptFileError, match=f"{where}: {words}"):
            arrays_to_features(tmp_path / name, tmp_path / "toy")
        assert not (tmp_path / "toy").exists()
    lines = "".join(f"v_{i} {' '.join(map(str, row))}\n" for i, row in enumerate(wrong.tolist()))
    (tmp_path / "t.txt").write_text(lines)
    with pytest.raises(CorruptFileError, match=f"t.txt:8: {words}"):
        text_to_features(tmp_path / "t.txt", tmp_path / "toy")
    if not np.isfinite(np.float32(min(value, 1e38))):  # a feature folder cannot hold a larger number
        write(tmp_path / "toy", {"v": wrong.astype(np.float32)})
        for convert in (
            lambda: join_features([tmp_path / "toy", tmp_path / "toy"], tmp_path / "no"),
            lambda: select_videos(tmp_path / "toy", ["v"], tmp_path / "no"),
        ):
            with pytest.raises(CorruptFileError, match=r"feature\.bin, row index 7: holds"):
                convert()


def test_video2frames_of_ids_that_name_videos(tmp_path):
    def bare(name: str, ids: list[str]) -> Path:
        folder = write(tmp_path / name, {"x": rows(len(ids))})
        (folder / "video2frames.txt").unlink()
        (folder / "id.txt").write_text(" ".join(ids))
        return folder

    one = bare("one", ["video_1.jpg", "video_2.jpg"])
    with pytest.raises(
        InvalidValueError, match=r"id.txt: frame id 'video_1.jpg' is not .*; if .* set `rows` to videos"
    ):
        write_video2frames(one)
    assert main(["features", "video2frames", str(one), "--rows", "videos"]) == 0
    assert_equal(read(one), {"video_1": rows(1), "video_2": rows(1, start=3)})
    assert (one / "id.txt").read_text() == "video_1.jpg video_2.jpg"
    many = bare("many", ["b.mp4", "a", "b.mp4"])
    write_video2frames(many, rows="videos")
    assert_equal(read(many), {"b": rows(3)[[0, 2]], "a": rows(3)[[1]]})
    assert read_frame_ids(many, 3) == ["b_0", "a_0", "b_1"]
    before = contents(many)
    with pytest.raises(
        InvalidValueError, match=r"id.txt: its ids name frames already, .* remove video2frames"
    ):
        write_video2frames(many, overwrite=True, rows="videos")
    assert contents(many) == before
    write_video2frames(one, overwrite=True, rows="videos")
    assert_equal(read(one), {"video_1": rows(1), "video_2": rows(1, start=3)})


@pytest.mark.parametrize(("frames", "words"), [(1, "1 frame ×"), (2, "2 frames ×")])
def test_a_size_counts_in_words(frames, words):
    assert words in str(FeatureSize(1, frames, 3))


def test_numpy_reads_what_is_written(toy, tmp_path):
    features_to_arrays(toy, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["features"], rows(5))
        assert archive["ids"].tolist() == ["a_0", "a_1", "b-1_0", "b-1_1", "b-1_2"]
        assert archive["videos"].tolist() == ["a", "a", "b-1", "b-1", "b-1"]
    features_to_arrays(toy, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "x.npz").read_bytes()


def test_a_video_that_cannot_name_a_file(tmp_path):
    write(tmp_path / "toy", {"a/../../b": rows(1)})
    with pytest.raises(InvalidValueError, match="cannot name a file"):
        features_to_arrays(tmp_path / "toy", tmp_path / "out" / "many")
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_is_overwritten(toy, tmp_path):
    (tmp_path / "x.npz").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    for convert in (
        lambda: features_to_arrays(toy, tmp_path / "x.npz"),
        lambda: features_to_arrays(toy, tmp_path / "mine"),
        lambda: select_videos(toy, ["a"], toy),
        lambda: join_features([toy, toy], tmp_path / "mine"),
        lambda: write_video2frames(toy),
    ):
        with pytest.raises(InvalidValueError, match="exists already"):
            convert()
    assert (tmp_path / "x.npz").read_text() == "mine"
    (toy / "video2frames.txt").write_text("damaged")
    assert write_video2frames(toy, overwrite=True) == FeatureSize(2, 5, 3)


# Joining and selecting


def test_a_frame_that_one_lacks_is_named(tmp_path):
    whole = write(tmp_path / "whole", {"a": rows(2), "b": rows(1)})
    part = write(tmp_path / "part", {"a": rows(2)})
    for parts in ([whole, part], [part, whole]):
        with pytest.raises(InvalidValueError) as caught:
            join_features(parts, tmp_path / "joined")
        assert str(caught.value) == f"{part / 'id.txt'}: no frame 'b_0', which {whole} has"
    with pytest.raises(InvalidValueError, match="two or more"):
        join_features([whole], tmp_path / "joined")


def test_a_video_that_is_not_there_is_named(toy, tmp_path):
    with pytest.raises(NotFoundError, match="no video 'x', nor 1 others of the 3 wanted"):
        select_videos(toy, ["a", "x", "y"], tmp_path / "some")
    with pytest.raises(InvalidValueError, match="no frames to write"):
        select_videos(toy, [], tmp_path / "some")


def test_frame_ids_of_another_form_are_named(tmp_path):
    folder = tmp_path / "toy"
    write_features(folder, [(["first", "second"], rows(2))], {"a": ["first", "second"]})
    (folder / "video2frames.txt").unlink()
    with pytest.raises(InvalidValueError, match=r"id\.txt: frame id 'first' is not <video>_<number>"):
        write_video2frames(folder)
    assert not (folder / "video2frames.txt").exists()


def test_a_size_reads_well():
    assert str(FeatureSize(1500, 48000, 1024)) == "1,500 videos, 48,000 frames × 1,024"


# Size and safety


@pytest.fixture
def big(tmp_path, monkeypatch) -> Path:
    """32 MB in 1,000 frames of 100 videos, while a block is half a MB."""
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 1 << 19)
    folder = tmp_path / "big"
    frames = np.zeros((10, 8192), np.float32)
    write_features(folder, (([f"v{i}_{j}" for j in range(10)], frames + i) for i in range(100)))
    open_features(folder)
    return folder


def test_memory_does_not_grow_with_the_collection(big, tmp_path):
    shuffled = tmp_path / "shuffled"
    videos = [f"v{i}" for i in np.random.default_rng(0).permutation(100)]
    (tmp_path / "small.txt").write_text("".join(f"v_{i} {'1 ' * 20_000}\n" for i in range(150)))
    for convert in (
        lambda: select_videos(big, videos, shuffled),
        lambda: join_features([big, shuffled], tmp_path / "joined"),
        lambda: features_to_arrays(big, tmp_path / "one.npz"),
        lambda: features_to_arrays(big, tmp_path / "many"),
        lambda: arrays_to_features(tmp_path / "one.npz", tmp_path / "from one"),
        lambda: arrays_to_features(tmp_path / "many", tmp_path / "from many"),
        lambda: text_to_features(tmp_path / "small.txt", tmp_path / "from text"),
    ):
        tracemalloc.start()
        convert()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5 << 20
    joined = open_features(tmp_path / "joined")
    assert joined.dimension == 2 * 8192
    assert set(joined["v7"].ravel().tolist()) == {7.0}


def test_progress_ends_at_the_total(big, tmp_path):
    (tmp_path / "t.txt").write_text("a_0 1\na_1 2\n")
    progress = RecordedProgress()
    told = progress.changes
    for convert, total in [
        (lambda: join_features([big, big], tmp_path / "joined", progress), 1000),
        (lambda: select_videos(big, ["v1", "v2"], tmp_path / "some", progress), 20),
        (lambda: features_to_arrays(big, tmp_path / "one.npz", progress), 1000),
        (lambda: features_to_arrays(big, tmp_path / "many", progress), 100),
        (lambda: arrays_to_features(tmp_path / "one.npz", tmp_path / "1", progress=progress), 1000),
        (lambda: arrays_to_features(tmp_path / "many", tmp_path / "2", progress=progress), 100),
        (lambda: text_to_features(tmp_path / "t.txt", tmp_path / "3", progress=progress), 12),
    ]:
        told.clear()
        convert()
        assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
        assert told[-1][1:] == (total, total)


def test_a_killed_command_leaves_nothing_under_the_name(big, tmp_path):
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from mlcmr.data.features import arrays, convert
        from tests.helpers.progress import RecordedProgress

        def wait(name, done, total):
            if done * 2 > total:
                print("half", flush=True)
                time.sleep(60)

        arrays.BLOCK_BYTES = 1 << 19
        big, target = map(Path, sys.argv[1:])
        if target.suffix:
            convert.features_to_arrays(big, target, RecordedProgress(wait))
        else:
            convert.join_features([big, big], target, RecordedProgress(wait))
    """)
    for target in (tmp_path / "out" / "joined", tmp_path / "out" / "one.npz"):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(big), str(target)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = list((tmp_path / "out").iterdir())
        assert left
        assert all(path.name.startswith(f".{target.name}.") for path in left)
        (features_to_arrays(big, target) if target.suffix else join_features([big, big], target))
        assert target.exists()
        assert not any(path.exists() for path in left)
        target.rename(tmp_path / f"done-{target.name}")
