"""Columns that look like a split or like the span of a clip, but are neither, change nothing."""

from pathlib import Path

import pytest

from mlcmr.data.prepare import prepare
from tests.helpers.annotations import contents, write, write_parquet, write_table

VIDEOS = [f"v{i}" for i in range(20)]


def without(rows: list[dict], *columns: str) -> list[dict]:
    return [{name: cell for name, cell in row.items() if name not in columns} for row in rows]


def prepared(path: Path, rows: list[dict], **options) -> dict[str, str]:
    """Prepare rows in a file of the kind that its name says; return the contents of the caption files."""
    match path.suffix:
        case ".csv":
            write_table(path, rows)
        case ".parquet":
            write_parquet(path, rows)
        case _:
            write(path, rows)
    prepare(path, path.parent / "c", **options)
    return contents(path.parent / "c")


def folder(path: Path) -> Path:
    path.mkdir()
    return path


# Names of two columns, and their cells in the three rows of a video.
NO_SPANS: dict[str, tuple[tuple[str, str], list[tuple]]] = {
    "languages": (("from", "to"), [("en", "de"), ("en", "zh"), ("de", "zh")]),
    "texts": (("from", "to"), [("a dog", "ein Hund"), ("a cat", "eine Katze"), ("1", "2")]),
    "links between sentences": (("from", "to"), [(17, 23), (23, 17), (1, 2)]),
    "some texts": (("from", "to"), [(1, 2), (2, 3), ("three", "four")]),
    "a bound without the other": (("from", "to"), [(1, 2), (2, 3), (3, "")]),
    "flags": (("from", "to"), [("False", "True"), ("False", "True"), ("True", "False")]),
    "one span": (("from", "to"), [(1, 2), (1, 2), ("1.0", "2.0")]),
    "all frames": (("start_frame", "end_frame"), [(0, 300)] * 3),
    "the last frame unknown": (("frame_start", "frame_end"), [(1, -1), (5, -1), (9, -1)]),
    "one of two": (("from", "other"), [(1, 2), (2, 3), (3, 4)]),
    "of two pairs": (("from", "end_frame"), [(1, 2), (2, 3), (3, 4)]),
    "lists": (("from", "to"), [("[1, 2]", "[2, 3]"), ("[1, 2]", "[3, 4]"), ("[1]", "[2]")]),
}


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
@pytest.mark.parametrize("case", NO_SPANS)
def test_columns_that_are_no_span_leave_ids_and_splits_alone(case, kind, tmp_path):
    (first, second), cells = NO_SPANS[case]
    rows = [
        {"video": video, "caption": f"{video} {number}", first: one, second: other}
        for video in VIDEOS
        for number, (one, other) in enumerate(cells)
    ]
    if kind == "parquet":  # a column has one type
        rows = [{name: str(cell) for name, cell in row.items()} for row in rows]
    found = prepared(folder(tmp_path / "with") / f"t.{kind}", rows, language="en")
    expected = prepared(
        folder(tmp_path / "without") / f"t.{kind}", without(rows, first, second), language="en"
    )
    assert found == expected
    assert found["ctest.caption.txt"].count("\n") == 6


@pytest.mark.parametrize("column", ["video", "youtube_id"])
@pytest.mark.parametrize("names", [("from", "to"), ("start_frame", "end_frame")])
def test_a_video_of_youtube_with_one_span_keeps_its_id(column, names, tmp_path):
    rows = [{column: f"aB3dE5fG7h{i}", "caption": "a dog", names[0]: i, names[1]: i + 1} for i in range(5)]
    found = prepared(tmp_path / "t.csv", rows, language="en", split="train")
    assert found["ctrain.caption.txt"].splitlines() == [f"aB3dE5fG7h{i}#enc#0 a dog" for i in range(5)]


@pytest.mark.parametrize("further", [("from", "to"), ("start_frame", "end_frame")])
@pytest.mark.parametrize("usual", [("start", "end"), ("start", "duration"), ("timestamp", "stop")])
def test_the_usual_columns_of_a_span_go_first(usual, further, tmp_path):
    rows = [
        {"video": video, "caption": f"{video} {i}", usual[0]: i, usual[1]: i + 1, further[0]: 5 + i,
         further[1]: 7 + i}
        for video in VIDEOS for i in range(2)
    ]  # fmt: skip
    found = prepared(folder(tmp_path / "with") / "t.csv", rows, language="en")
    expected = prepared(folder(tmp_path / "without") / "t.csv", without(rows, *further), language="en")
    assert found == expected


def test_columns_may_be_there_twice_if_they_are_not_needed(tmp_path):
    table = write(tmp_path / "t.csv", "video,caption,from,to,from\nv,a,1,2,3\nv,b,2,3,4\n")
    prepare(table, tmp_path / "c", language="en", split="train")
    assert contents(tmp_path / "c")["ctrain.caption.txt"] == "v#enc#0 a\nv#enc#1 b\n"
    vatex = write(tmp_path / "vatex.csv", "videoID,enCap,split,split\nv,a,train,x\n")
    prepare(vatex, tmp_path / "d", split="test")
    assert contents(tmp_path / "d")["dtest.caption.txt"] == "v#enc#0 a\n"


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
@pytest.mark.parametrize("name", ["vatex", "vatex_validation"])
@pytest.mark.parametrize("column", ["split", "subset"])
@pytest.mark.parametrize("cells", [["public_test"], ["private_test", ""], ["0", "1", "2"]])
def test_unknown_splits_of_vatex_change_nothing(cells, column, name, kind, tmp_path):
    rows = [
        {"videoID": video, "enCap": f"a dog {video}", "chCap": f"狗 {video}", column: cells[i % len(cells)]}
        for i, video in enumerate(VIDEOS)
    ]
    found = prepared(folder(tmp_path / "with") / f"{name}.{kind}", rows)
    assert found == prepared(folder(tmp_path / "without") / f"{name}.{kind}", without(rows, column))


@pytest.mark.parametrize("cell", [None, 1, True, ["train"], {"train": 1}])
def test_splits_of_vatex_that_are_no_texts_change_nothing(cell, tmp_path):
    rows = [{"videoID": video, "enCap": [f"a dog {video}"], "split": cell} for video in VIDEOS]
    found = prepared(folder(tmp_path / "with") / "vatex.json", rows)
    assert found == prepared(folder(tmp_path / "without") / "vatex.json", without(rows, "split"))


@pytest.mark.parametrize("options", [{"split": "test"}, {"shares": (0.5, 0.25, 0.25)}, {"split_lists": 1}])
def test_options_go_before_splits_of_vatex(options, tmp_path):
    rows = [{"videoID": video, "enCap": [f"a dog {video}"], "split": "train"} for video in VIDEOS]
    rows.append({"videoID": "v0", "enCap": ["a dog v0"], "split": "val"})
    if "split_lists" in options:
        options = {"split_lists": {"val": write(tmp_path / "list.txt", "v1\nv2\n")}}
    found = prepared(folder(tmp_path / "with") / "vatex.json", rows, **options)
    expected = prepared(folder(tmp_path / "without") / "vatex.json", without(rows, "split"), **options)
    assert found == expected


ADDED = {
    "VATEX": [{"videoID": video, "chCap": [f"狗 {video}", "狗"], "split": "val"} for video in VIDEOS],
    "spans": [
        {"video": video, "caption": f"狗 {video} {i}", "lang": "zh", "from": i, "to": i + 1}
        for video in VIDEOS for i in range(2)
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", ADDED)
def test_videos_that_are_there_keep_their_ids_and_splits(case, tmp_path):
    table = [{"video": video, "caption": f"{video} {i}"} for video in VIDEOS for i in range(2)]
    prepared(tmp_path / "t.csv", table, language="en")
    found = prepared(tmp_path / "zh.json", ADDED[case])
    for split, videos in (("train", 16), ("val", 2), ("test", 2)):
        in_english, in_chinese = (
            [line.partition("#")[0] for line in found[f"c{split}{suffix}.caption.txt"].splitlines()]
            for suffix in ("", "_zh")
        )
        assert set(in_english) == set(in_chinese)
        assert len(set(in_english)) == videos
