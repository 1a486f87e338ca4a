"""Splits by chance, by the names of files and by lists."""

import random
from pathlib import Path

import pytest

from mlcmr.data.prepare import prepare
from mlcmr.data.prepare.annotations import split_by_name
from mlcmr.errors import CorruptFileError, InvalidValueError
from tests.helpers.annotations import by_split, problems, write, write_table


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
    with pytest.raises(InvalidValueError, match="expected three shares"):
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


def test_some_videos_without_a_split(tmp_path):
    files = [write(tmp_path / name, f"video,text\n{name},b\n") for name in ("train.csv", "more.csv")]
    with pytest.raises(CorruptFileError, match=r"more.csv:2: no split for video"):
        prepare(files, tmp_path / "mine", language=["en"])
