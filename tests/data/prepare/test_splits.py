"""Splits by chance, by the names of files and by lists."""

import json
import random
from pathlib import Path

import pytest

from mlcmr.data.prepare import prepare
from mlcmr.data.prepare.annotations import split_by_name
from mlcmr.errors import CorruptFileError, InvalidValueError
from tests.helpers.annotations import by_split, problems, write, write_parquet, write_table


def test_splits_by_chance_depend_on_videos_and_seed_only(tmp_path):
    rows = [{"video": f"v{i}", "text": f"caption {n}", "lang": lang}
            for i in range(50) for n in range(1 + i % 3) for lang in ("en", "zh")]  # fmt: skip
    prepare([write_table(tmp_path / "t.csv", rows)], tmp_path / "mine")
    random.Random(1).shuffle(rows)
    prepare(
        [write_table(tmp_path / "t.csv", [row for row in rows if row["lang"] == "zh"])], tmp_path / "again"
    )
    prepare([tmp_path / "t.csv"], tmp_path / "other", seed=1)
    splits = by_split(tmp_path / "mine")
    assert {split: len(videos) for split, videos in splits.items()} == {"train": 40, "val": 5, "test": 5}
    assert len(set().union(*splits.values())) == 50
    assert by_split(tmp_path / "again") == splits
    assert by_split(tmp_path / "other") != splits
    assert problems(tmp_path / "mine") == []


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        ((8, 1, 1), (8, 1, 1)),
        ((0.9, 0, 0.1), (9, 0, 1)),
        ((0, 0, 3), (0, 0, 10)),
        ((0.98, 0.01, 0.01), (8, 1, 1)),
    ],
)
def test_shares(shares, sizes, tmp_path):
    table = write_table(
        tmp_path / "test.csv", [{"video": i, "text": "x", "split": "test"} for i in range(10)]
    )
    prepare([table], tmp_path / "mine", language=["en"], shares=shares)
    found = by_split(tmp_path / "mine")
    assert tuple(len(found.get(split, ())) for split in ("train", "val", "test")) == sizes


@pytest.mark.parametrize(
    "shares", [(1, 1), (0, 0, 0), (1, -1, 1), (float("nan"), 1, 1), (float("inf"), 1, 1)]
)
def test_shares_that_are_none(shares, tmp_path):
    table = write(tmp_path / "t.csv", "video,text\na,b\n")
    with pytest.raises(InvalidValueError, match="shares"):
        prepare([table], tmp_path / "mine", language=["en"], shares=shares)


def test_too_few_videos(tmp_path):
    with pytest.raises(
        InvalidValueError, match="2 videos with captions: too few for 3 splits; `shares` 1 0 0"
    ):
        prepare([write(tmp_path / "t.csv", "video,text\na,b\nc,d\n")], tmp_path / "mine", language=["en"])


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("vatex_validation_v1.0.json", "val"), ("my.train.tsv", "train"), ("Test.csv", "test"),
        ("train_val_videodatainfo.json", None), ("captions.csv", None), ("latest.csv", None),
    ],
)  # fmt: skip
def test_splits_by_file_names(name, split):
    assert split_by_name(Path(name)) == split


def test_a_video_in_two_splits(tmp_path):
    table = write(tmp_path / "t.csv", "video,text,split\nv,a,train\nw,b,val\nv.mp4,c,test\n")
    with pytest.raises(
        CorruptFileError, match=r"t.csv:4: video 'v' is in split test, but in split train at .*t.csv:2"
    ):
        prepare([table], tmp_path / "mine", language=["en"])


VATEX = ["train", "Training", " validation ", "dev", "TEST", "testing"]


@pytest.mark.parametrize("column", ["split", "subset", "Split"])
@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_a_split_in_each_row_of_vatex(kind, column, tmp_path):
    rows = [{"videoID": f"v{i}", "enCap": "a dog", column: split} for i, split in enumerate(VATEX)]
    path = tmp_path / f"vatex_training.{kind}"
    if kind == "csv":
        write_table(path, rows)
    elif kind == "parquet":
        write_parquet(path, rows)
    else:
        write(path, rows if kind == "json" else "\n".join(map(json.dumps, rows)))
    summary = prepare([path], tmp_path / "mine")
    assert by_split(tmp_path / "mine") == {"train": {"v0", "v1"}, "val": {"v2", "v3"}, "test": {"v4", "v5"}}
    assert not summary.by_chance
    assert not summary.unknown_splits
    prepare([path], tmp_path / "options", split="test")
    assert list(by_split(tmp_path / "options")) == ["test"]


@pytest.mark.parametrize("first", ["rows", "file name"])
def test_a_language_is_added_to_vatex_whose_rows_have_splits(first, tmp_path):
    english = [{"videoID": f"v{i}", "enCap": ["a dog"], "split": split} for i, split in enumerate(VATEX)]
    chinese = [{"videoID": row["videoID"], "chCap": ["狗"], "split": row["split"]} for row in english]
    if first == "file name":  # as prepared before rows were read
        english = [{**row, "split": ""} for row in english]
    prepare(write(tmp_path / "vatex_test_en.json", english), tmp_path / "mine")
    before = by_split(tmp_path / "mine")
    prepare(write(tmp_path / "vatex_test_zh.json", chinese), tmp_path / "mine")
    assert by_split(tmp_path / "mine") == before
    assert len(before) == (3 if first == "rows" else 1)
    captions = (tmp_path / "mine" / "TextData").glob("mine*.caption.txt")
    assert len([path for path in captions if "half" not in path.name]) == 2 * len(before)


def test_the_split_of_vatex_in_a_column_of_another_name(tmp_path):
    rows = [{"videoID": f"v{i}", "enCap": ["a dog"], "split": i, "fold": "val"} for i in range(2)]
    prepare(write(tmp_path / "t.json", rows), tmp_path / "mine", split_column="fold")
    assert by_split(tmp_path / "mine") == {"val": {"v0", "v1"}}


def test_splits_that_vatex_has_besides_are_counted(tmp_path):
    words = ["val", "public_test", "", "public_test", "train", None] + 14 * ["private_test"]
    rows = [{"videoID": f"v{i}", "enCap": [f"dog {i}"], "split": word} for i, word in enumerate(words)]
    rows.append({"videoID": "bare", "split": "private_test"})
    summary = prepare(write(tmp_path / "t.json", rows), tmp_path / "mine")
    assert (
        "splits: videos whose rows name no known split, as if without the column: 'private_test' 15, "
        "'public_test' 2, '' 2" in summary.lines()
    )
    assert json.loads(json.dumps(summary.to_dict()))["unknown_splits"]["public_test"] == 2
    assert "in a column; other videos by chance, 0.8 : 0.1 : 0.1, seed 0" in summary.split_source
    plain = write(tmp_path / "plain.json", [{"videoID": row["videoID"], "enCap": ["a"]} for row in rows[:20]])
    prepare(plain, tmp_path / "plain")
    expected = {video: split for split, videos in by_split(tmp_path / "plain").items() for video in videos}
    found = {video: split for split, videos in by_split(tmp_path / "mine").items() for video in videos}
    assert found == expected | {"v0": "val", "v4": "train"}


def test_a_video_of_vatex_in_two_splits(tmp_path):
    rows = [{"videoID": "v", "enCap": ["a dog"], "split": word} for word in ("", "train", "training", "dev")]
    table = write(tmp_path / "t.json", rows)
    with pytest.raises(
        CorruptFileError, match=r"item 4: video 'v' is in split val, but in split train at .*t.json, item 3"
    ):
        prepare(table, tmp_path / "mine")
    prepare(write(tmp_path / "t.json", rows[:3]), tmp_path / "mine")
    assert by_split(tmp_path / "mine") == {"train": {"v"}}


def test_rows_of_vatex_say_where_new_videos_belong(tmp_path):
    prepare(write(tmp_path / "t.csv", "video,text\na,x\n"), tmp_path / "c", language="en", split="train")
    rows = [{"videoID": video, "chCap": ["狗"], "split": "test"} for video in "ab"]
    prepare(write(tmp_path / "zh.json", rows), tmp_path / "c")
    assert by_split(tmp_path / "c") == {"train": {"a"}, "test": {"b"}}


def test_some_videos_without_a_split(tmp_path):
    files = [write(tmp_path / name, f"video,text\n{name},b\n") for name in ("train.csv", "more.csv")]
    with pytest.raises(CorruptFileError, match=r"more.csv:2: no split for video"):
        prepare(files, tmp_path / "mine", language=["en"])
