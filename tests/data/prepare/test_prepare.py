"""Annotation files become captions: nothing lost, nothing in two splits, and `check` finds nothing."""

import csv
import errno
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter, defaultdict
from contextlib import nullcontext, suppress
from itertools import combinations, count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcmr.cli import main
from mlcmr.data.captions import parse_caption_id, read_captions
from mlcmr.data.check import check
from mlcmr.data.collection import open_collection
from mlcmr.data.features.frame_features import write_features
from mlcmr.data.ids import split_ending, video_id
from mlcmr.data.languages import language_code
from mlcmr.data.prepare import prepare
from mlcmr.data.prepare.annotations import split_by_name
from mlcmr.data.prepare.video_lists import parse_split_lists
from mlcmr.data.scenarios import Scenario, ScenarioKind, read_training_pairs
from mlcmr.errors import MlcmrError
from mlcmr.extraction.discovery import assign_ids
from mlcmr.files import locked

ROWS = [
    {"video_id": f"clip{i}.mp4", "caption": f"{word} {i}", "lang": lang, "split": split}
    for i, split in enumerate(["training", "train", "TRAIN", "validation", "test", "test"])
    for lang, word in (("en", 'a "quoted", dog'), ("English", "a cat"), ("zh-CN", "一只狗；跑"), ("zh", "猫"))
]


def write(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def write_table(path: Path, rows, delimiter=",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return path


def contents(collection: Path) -> dict[str, str]:
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted((collection / "TextData").iterdir())
    }


def by_split(collection: Path) -> dict[str, set[str]]:
    """The videos of each split, whatever their languages."""
    videos: dict[str, set[str]] = {}
    for path in (collection / "TextData").iterdir():
        split = path.name.removeprefix(collection.name).partition("_")[0].partition(".")[0]
        videos.setdefault(split, set()).update(read_captions(path).videos)
    return videos


def problems(collection: Path) -> list[str]:
    """What `check` finds once there are features of all videos."""
    videos = sorted(set().union(*by_split(collection).values()))
    frames = np.ones((len(videos), 3), np.float32)
    write_features(collection / "FeatureData" / "ones", [([f"{video}_0" for video in videos], frames)])
    return check(collection).problems


# ─── published data sets ─────────────────────────────────────────────────────────────────────────────────


def vatex(videos, captions=3):
    return [
        {
            "videoID": video,
            "enCap": [f"{video} in English {i}" for i in range(captions)],
            "chCap": [f"{video} 中文 {i}" for i in range(captions)],
        }
        for video in videos
    ]


def test_vatex(tmp_path):
    files = [
        write(tmp_path / "vatex_training_v1.0.json", vatex(["-a_000001_000011", "b_000002_000012"])),
        write(tmp_path / "vatex_validation_v1.0.json", vatex(["c_000000_000010"])),
        write(
            tmp_path / "vatex_public_test_english_v1.1.json", [{"videoID": "d", "enCap": ["only", "English"]}]
        ),
    ]
    summary = prepare(files, tmp_path / "vatex")
    assert list(contents(tmp_path / "vatex")) == [
        "vatextest.caption.txt",
        "vatextrain.caption.txt",
        "vatextrain_half.caption.txt",
        "vatextrain_zh.caption.txt",
        "vatexval.caption.txt",
        "vatexval_zh.caption.txt",
    ]
    assert contents(tmp_path / "vatex")["vatexval_zh.caption.txt"].splitlines() == [
        f"c_000000_000010#zh#{i} c_000000_000010 中文 {i}" for i in range(3)
    ]
    assert summary.videos["train", "en"] == 2
    assert summary.captions["train", "zh"] == 6
    assert problems(tmp_path / "vatex") == []
    pairs = read_training_pairs(open_collection(tmp_path, "vatex"), Scenario(ScenarioKind.PARALLEL))
    for english, chinese in zip(pairs.captions["en"].texts, pairs.captions["zh"].texts, strict=True):
        assert english.replace("in English", "中文") == chinese


def test_vatex_pairs_stay_pairs(tmp_path):
    item = {
        "videoID": "v",
        "enCap": ["one", " ", "three", "one", "x"],
        "chCap": ["一", "二", "三", "一", "一"],
    }
    summary = prepare([write(tmp_path / "vatex_training.json", [item])], tmp_path / "vatex")
    assert contents(tmp_path / "vatex") == {
        "vatextrain.caption.txt": "v#enc#0 one\nv#enc#2 three\nv#enc#4 x\n",
        "vatextrain_half.caption.txt": "v#enc#0 one\nv#enc#2 three\nv#enc#4 x\n",
        "vatextrain_zh.caption.txt": "v#zh#0 一\nv#zh#2 三\nv#zh#4 一\n",
    }
    assert (summary.blank, summary.without_counterpart, summary.duplicates) == (1, 1, 2)
    assert problems(tmp_path / "vatex") == []


def test_vatex_without_captions(tmp_path):
    bare = write(
        tmp_path / "vatex_public_test_without_annotations.json", [{"videoID": "x"}, {"videoID": "y"}]
    )
    train = write(tmp_path / "vatex_training.json", vatex(["a"]))
    with pytest.raises(MlcmrError, match=r"without_annotations.json: no captions in it"):
        prepare([bare], tmp_path / "vatex")
    assert prepare([train, bare], tmp_path / "vatex").without_captions == 2
    assert by_split(tmp_path / "vatex") == {"train": {"a"}}


def test_a_vatex_caption_that_two_files_give_differently(tmp_path):
    one = write(tmp_path / "one.json", [{"videoID": "v", "enCap": ["a dog"]}])
    other = write(tmp_path / "other.json", [{"videoID": "v", "enCap": ["a cat"]}])
    assert prepare([one, one], tmp_path / "same", split=["train"]).duplicates == 1
    with pytest.raises(
        MlcmrError, match=r"other.json, item 1: caption 0 of video 'v' in 'en' was another before"
    ):
        prepare([one, other], tmp_path / "vatex", split=["train"])


def msrvtt(videos):
    return {
        "info": {},
        "videos": [{"video_id": video, "split": split, "url": "", "category": 3} for video, split in videos],
        "sentences": [
            {"video_id": video, "caption": f"{video} {number}", "sen_id": 100 * place + number}
            for number in (1, 0)
            for place, (video, _) in enumerate(videos)
        ],
    }


def test_msrvtt(tmp_path):
    train_val = msrvtt([("video0", "train"), ("video1", "train"), ("video6513", "validate")])
    files = [
        write(tmp_path / "train_val_videodatainfo.json", train_val),
        write(tmp_path / "test_videodatainfo.json", msrvtt([("video7010", "test")])),
    ]
    prepare(files, tmp_path / "msrvtt10k")
    assert contents(tmp_path / "msrvtt10k") == {
        "msrvtt10ktest.caption.txt": "video7010#enc#0 video7010 0\nvideo7010#enc#1 video7010 1\n",
        "msrvtt10ktrain.caption.txt": "".join(
            f"video{i}#enc#{n} video{i} {n}\n" for i in (0, 1) for n in (0, 1)
        ),
        "msrvtt10kval.caption.txt": "video6513#enc#0 video6513 0\nvideo6513#enc#1 video6513 1\n",
    }
    assert problems(tmp_path / "msrvtt10k") == []


def test_other_splits_of_msrvtt_by_lists(tmp_path):
    videos = [(f"video{i}", "train" if i < 6 else "test") for i in range(9)]
    data = write(tmp_path / "MSRVTT_data.json", msrvtt(videos))
    train = write(tmp_path / "train9k.csv", "video_id\nvideo0\nvideo8\n")
    test = write(tmp_path / "1kA.csv", "key,vid_key,video_id,sentence\nret0,msr1,video1,a dog\n")
    val = write(tmp_path / "val.txt", "video2.mp4\n\n")
    lists = parse_split_lists([f"train={train}", f"test={test}", f"val={val}"])
    summary = prepare([data], tmp_path / "m", split_lists=lists)
    assert by_split(tmp_path / "m") == {"train": {"video0", "video8"}, "test": {"video1"}, "val": {"video2"}}
    assert summary.unlisted == 5
    with pytest.raises(MlcmrError, match=r"1kA.csv:2: video 'video1' is in the list of train too"):
        prepare(
            [data], tmp_path / "n", split_lists={"train": write(tmp_path / "t.txt", "video1"), "test": test}
        )


# ─── tables ──────────────────────────────────────────────────────────────────────────────────────────────


def write_parquet(path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="needs mlcmr[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def write_utf16(path: Path) -> Path:
    """As Excel writes `Unicode text`."""
    path.write_text(write_table(path, ROWS, "\t").read_text(encoding="utf-8"), encoding="utf-16")
    return path


TABLES = {
    "csv": lambda folder: write_table(folder / "rows.csv", ROWS),
    "semicolons": lambda folder: write_table(folder / "rows.csv", ROWS, ";"),
    "tsv": lambda folder: write_table(folder / "rows.tsv", ROWS, "\t"),
    "jsonl": lambda folder: write(folder / "rows.jsonl", "\n".join(map(json.dumps, ROWS)) + "\n\n"),
    "json": lambda folder: write(folder / "rows.json", ROWS),
    "parquet": lambda folder: write_parquet(folder / "rows.parquet"),
    "bom": lambda folder: write(
        folder / "rows.csv",
        "\ufeff" + write_table(folder / "plain.csv", ROWS).read_text().replace("\r\n", "\n"),
    ),
    "UTF-16": lambda folder: write_utf16(folder / "rows.txt"),
    "lists": lambda folder: write(
        folder / "rows.json",
        [
            {"video": video, "captions": [row["caption"] for row in rows], "locale": lang, "subset": split}
            for video, lang, split in dict.fromkeys(
                (row["video_id"], language_code(row["lang"]), row["split"]) for row in ROWS
            )
            for rows in [[r for r in ROWS if r["video_id"] == video and language_code(r["lang"]) == lang]]
        ],
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_of_table_gives_the_same_captions(kind, tmp_path):
    summary = prepare([TABLES[kind](tmp_path)], tmp_path / "mine")
    assert (
        contents(tmp_path / "mine")["mineval.caption.txt"]
        == 'clip3#enc#0 a "quoted", dog 3\nclip3#enc#1 a cat 3\n'
    )
    assert (
        contents(tmp_path / "mine")["mineval_zh.caption.txt"] == "clip3#zh#0 一只狗；跑 3\nclip3#zh#1 猫 3\n"
    )
    assert by_split(tmp_path / "mine")["train"] == {"clip0", "clip1", "clip2"}
    assert sum(summary.captions.values()) == len(ROWS)
    assert problems(tmp_path / "mine") == []


def test_columns_by_name(tmp_path):
    table = write(tmp_path / "t.csv", "id,caption,who,what\n1,not this,a,a dog\n2,nor this,b,a cat\n")
    prepare(
        [table],
        tmp_path / "mine",
        video_column="who",
        text_column="what",
        language=["de"],
        split=["val"],
    )
    assert contents(tmp_path / "mine") == {"mineval_de.caption.txt": "a#de#0 a dog\nb#de#0 a cat\n"}


def test_a_language_and_a_split_for_each_file(tmp_path):
    files = [write(tmp_path / f"{i}.csv", f"video,text\nv{i},text {i}\n") for i in range(2)]
    prepare(files, tmp_path / "mine", language=["English", "zh"], split=["train", "test"])
    assert list(contents(tmp_path / "mine")) == ["minetest_zh.caption.txt", "minetrain.caption.txt"]
    with pytest.raises(MlcmrError, match="`language`: give one for all, or one for each of the 2 files"):
        prepare(files, tmp_path / "other", language=["en", "zh", "de"])


def test_what_is_left_out_is_counted(tmp_path):
    rows = [
        ("v", "a dog"),
        ("v", "  "),
        ("v", ""),
        ("v", "a\n dog"),
        ("v", "A dog"),
        ("w", "a dog"),
        ("x", ""),
    ]
    table = write_table(tmp_path / "t.csv", [{"video": video, "text": text} for video, text in rows])
    summary = prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    assert (
        contents(tmp_path / "mine")["minetrain.caption.txt"]
        == "v#enc#0 a dog\nv#enc#4 A dog\nw#enc#0 a dog\n"
    )
    assert (summary.blank, summary.duplicates, summary.without_captions) == (3, 1, 1)
    notes = list(summary.lines())
    assert "left out: blank captions: 3" in notes
    assert "left out: captions that their video has already: 1" in notes


def test_languages_with_unequal_numbers_of_captions(tmp_path):
    rows = [
        {"video": f"v{i}", "text": f"{lang} {i} {n}", "lang": lang}
        for i in range(4)
        for lang, count in (("en", 5), ("zh", 5 if i else 3), ("de", 5))
        for n in range(count)
    ]
    table = write_table(tmp_path / "t.csv", rows)
    summary = prepare([table], tmp_path / "apart", split=["train"])
    assert summary.unpaired == ["zh"]
    assert sum(summary.captions.values()) == len(rows)  # nothing is lost
    assert problems(tmp_path / "apart") == []
    english, chinese, german = (
        set(read_captions(tmp_path / f"apart/TextData/aparttrain{suffix}.caption.txt").keys)
        for suffix in ("", "_zh", "_de")
    )
    assert english == german
    assert not english & chinese

    summary = prepare([table], tmp_path / "paired", split=["train"], pair=True)
    assert (summary.unpaired, summary.without_counterpart) == ([], 4)
    assert problems(tmp_path / "paired") == []
    pairs = read_training_pairs(open_collection(tmp_path, "paired"), Scenario(ScenarioKind.PARALLEL))
    assert len(pairs.videos) == 18


def test_for_unparallel_training_each_video_has_one_language(tmp_path):
    both = [
        {"video": f"v{i}", "text": f"{lang} {i}", "lang": lang} for i in range(10) for lang in ("en", "zh")
    ]
    english = [{"video": f"w{i}", "text": f"en {i}", "lang": "en"} for i in range(4)]
    table = write_table(tmp_path / "t.csv", [*both, *english])
    halves = []
    for name, seed in (("a", 0), ("b", 0), ("c", 2)):
        summary = prepare([table], tmp_path / name, split=["train"], seed=seed)
        assert summary.halves == {"en": 7, "zh": 7}  # Chinese makes up for those that are in English alone
        assert "unparallel: of the videos to train on, 7 in en, 7 in zh" in summary.lines()
        collection = open_collection(tmp_path, name)
        assert len(read_training_pairs(collection, Scenario(ScenarioKind.UNPARALLEL)).videos) == 14
        captions = read_captions(collection.caption_file("train", "_half"))
        halves.append(dict(zip(captions.videos, captions.languages, strict=True)))
        assert {halves[-1][f"w{i}"] for i in range(4)} == {"en"}
    assert halves[0] == halves[1] != halves[2]

    prepare([write_table(tmp_path / "e.csv", english)], tmp_path / "english", split=["train"])
    assert list(contents(tmp_path / "english")) == ["englishtrain.caption.txt"]


# ─── ids ─────────────────────────────────────────────────────────────────────────────────────────────────

NAMES = [
    "a b.mp4",
    "x#y.MOV",
    "sub folder/ü.webm",
    "no ending",
    "v1.0",
    "日本.mkv",
    "a" * 300 + ".avi",
    "pic.JPEG",
]


def test_ids_are_those_of_extraction(tmp_path):
    table = write_table(tmp_path / "t.csv", [{"video": name, "text": "x"} for name in NAMES])
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    media = [name for name in NAMES if name not in {"no ending", "v1.0"}]
    extracted = assign_ids([tmp_path / name for name in media], tmp_path, {})
    assert set(extracted.values()) <= by_split(tmp_path / "mine")["train"]
    assert {"a_b", "x_y", "sub_folder_ü", "no_ending", "v1.0", "日本", "pic"} < by_split(tmp_path / "mine")[
        "train"
    ]
    assert problems(tmp_path / "mine") == []


@pytest.mark.parametrize(("one", "other"), [("a b", "a_b"), ("v.mp4", "v.avi"), ("x/y", "x#y.mp4")])
def test_two_videos_do_not_share_an_id(one, other, tmp_path):
    table = write(tmp_path / "t.csv", f"video,text\n{one},first\n{other},second\n")
    with pytest.raises(MlcmrError, match=r"t.csv:3: '.*' and '.*' both get the video id") as error:
        prepare([table], tmp_path / "mine", language=["en"])
    assert one in str(error.value)
    assert not (tmp_path / "mine").exists()


def test_a_name_is_one_however_its_accents_are_written(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\ncaf\u00e9.mp4,first\ncafe\u0301.mp4,second\n")
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    assert contents(tmp_path / "mine")["minetrain.caption.txt"] == (
        "caf\u00e9#enc#0 first\ncaf\u00e9#enc#1 second\n"
    )


def test_a_video_with_and_without_its_ending_is_one(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\nv,first\nv.mp4,second\n./v.mp4,third\n")
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    assert contents(tmp_path / "mine")["minetrain.caption.txt"].count("v#enc#") == 3


parts = st.sampled_from([".mp4", ".JPG", ".png", ".ts", ".", "a", "#", " ", "\n", "e\u0301", "b" * 99])


@settings(max_examples=300)
@given(st.one_of(st.lists(parts, min_size=1).map("".join), st.text(min_size=1)))
def test_ids_have_no_ending_and_are_what_caption_ids_name(name):
    video = video_id(split_ending(name)[0])
    assert split_ending(video) == (video, "")
    assert parse_caption_id(f"{video}#en#0").video == video
    assert video_id(video) == video or len(video.encode()) > 200


def test_a_second_ending_is_mended(tmp_path):
    rows = [{"video": name, "text": "x"} for name in ("c.mp4.png", "d.MP4.jpg", ".mp4", "e.jpg.avi.mkv")]
    prepare([write_table(tmp_path / "t.csv", rows)], tmp_path / "mine", language=["en"], split=["train"])
    assert by_split(tmp_path / "mine")["train"] == {"c_mp4", "d_MP4", "_mp4", "e.jpg_avi"}
    assert problems(tmp_path / "mine") == []


# ─── splits ──────────────────────────────────────────────────────────────────────────────────────────────


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
    with pytest.raises(MlcmrError, match="expected three shares"):
        prepare([table], tmp_path / "mine", language=["en"], shares=shares)


def test_too_few_videos(tmp_path):
    with pytest.raises(MlcmrError, match="2 videos with captions: too few for 3 splits; `shares` 1 0 0"):
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
        MlcmrError, match=r"t.csv:4: video 'v' is in split test, but in split train at .*t.csv:2"
    ):
        prepare([table], tmp_path / "mine", language=["en"])


def test_some_videos_without_a_split(tmp_path):
    files = [write(tmp_path / name, f"video,text\n{name},b\n") for name in ("train.csv", "more.csv")]
    with pytest.raises(MlcmrError, match=r"more.csv:2: no split for video"):
        prepare(files, tmp_path / "mine", language=["en"])


# ─── bad input ───────────────────────────────────────────────────────────────────────────────────────────

GOOD = "video,text,lang,split\n"
BAD = {
    "no video column": (
        "t.csv",
        "a,caption\n1,2\n",
        "t.csv: no column for the video; there is 'a', .*`video_column`",
    ),
    "no text column": ("t.csv", "video,b\n1,2\n", "t.csv: no column for captions; there is 'video', 'b'"),
    "one column twice": (
        "t.csv",
        "video,text,text,lang\nv,a,b,en\n",
        "t.csv:1: column 'text' twice; rename one",
    ),
    "no language": ("t.csv", "video,text\n1,2\n", "t.csv: no column for the language; .*`language`"),
    "empty video": ("t.csv", GOOD + "v,a,en,train\n,b,en,train\n", "t.csv:3: column 'video' is empty"),
    "empty split": ("t.csv", GOOD + "v,a,en,\n", "t.csv:2: column 'split' is empty"),
    "unknown split": (
        "t.csv",
        GOOD + "v,a,en,trial\n",
        "t.csv:2: column 'split': split 'trial' is none of train",
    ),
    "unknown language": (
        "t.csv",
        GOOD + "v,a,Elvish,test\n",
        "t.csv: no captions in it in a known language, but in .'Elvish'.",
    ),
    "unquoted comma": (
        "t.csv",
        GOOD + "v,a dog, a cat,en,test\n",
        "t.csv:2: 5 columns, the first line has 4",
    ),
    "open quotation": ("t.csv", GOOD + '\nv,"a dog,en,test\n', "t.csv:3: quotation marks do not match"),
    "not UTF-8": (
        "t.csv",
        GOOD.encode() + b"v,\xff,en,test\n",
        "t.csv:2: not UTF-8: byte 0xff.*; save it as UTF-8",
    ),
    "half UTF-16": ("t.csv", b"\xff\xfev", "t.csv:1: not UTF-8: byte 0xff.*; save it as UTF-8"),
    "long": (
        "t.csv",
        GOOD + f"v,{'a' * 140_000},en,test\n",
        "t.csv:2: a text of more than 131,072 characters; do its quotation marks match",
    ),
    "empty": ("t.csv", "", "t.csv: no captions in it"),
    "header only": ("t.csv", GOOD, "t.csv: no captions in it"),
    "no JSON": ("t.jsonl", '{"video": "v"}\n{"video": \n', "t.jsonl:2: not JSON: .* at column 10; correct"),
    "no object": (
        "t.jsonl",
        '["v", "a dog"]\n',
        r"t.jsonl:1: the content is \['v', 'a dog'\], but must be an object",
    ),
    "no object in a list": (
        "t.json",
        [{"video": "v"}, 7],
        "t.json, item 2: the content is 7, but must be an object",
    ),
    "a name twice": ("t.json", '[{"video": "v", "video": "w"}]', "t.json: not JSON: 'video' is there twice"),
    "NaN": ("t.jsonl", '{"video": "v", "text": NaN}', "t.jsonl:1: not JSON: NaN is no number; correct the"),
    "no text": (
        "t.jsonl",
        '{"video": "v", "text": 7, "lang": "en"}\n',
        "t.jsonl:1: column 'text' is neither a text",
    ),
    "no word": (
        "t.json",
        [{"video": ["v"], "text": "a", "lang": "en"}],
        r"t.json, item 1: column 'video' is not a name: \['v'\]",
    ),
    "half a character": (
        "t.jsonl",
        '{"video": "v", "text": "a \\ud83d", "lang": "en"}\n',
        "t.jsonl:1: not JSON: unexpected end of hex escape",
    ),
    "broken JSON": ("t.json", '[\n{"video": "v",\n', "t.json: not JSON: .* at line [23] column"),
    "deep JSON": ("t.json", "[" * 100_000, "t.json: not JSON: recursion limit"),
    "other JSON": ("t.json", {"a": 1}, "t.json: neither VATEX's nor MSR-VTT's"),
    "VATEX": (
        "t.json",
        [{"videoID": "v", "enCap": "a dog", "chCap": [1]}],
        "t.json, item 1: column 'chCap' is neither",
    ),
    "MSR-VTT": (
        "t.json",
        {"videos": [], "sentences": [{"video_id": "x", "caption": "a"}]},
        "t.json, sentence 1: video 'x' is not among",
    ),
    "MSR-VTT's sen_id": (
        "t.json",
        {"videos": [], "sentences": [{"sen_id": None}]},
        "t.json: sentences.0.sen_id is None, but must be a whole number",
    ),
    "MSR-VTT's list": ("t.json", {"videos": {}, "sentences": []}, "t.json: videos is {}, but must be a list"),
    "no Parquet": ("t.parquet", "PAR1", "t.parquet: not Parquet that can be read"),
    "kind of file": ("t.xlsx", "PK", "t.xlsx: unsupported file extension; expected one of .csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_says_where(case, tmp_path, capsys):
    name, content, message = BAD[case]
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs mlcmr[tables]")
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else write(path, content)
    with pytest.raises(MlcmrError, match=message):
        prepare([path], tmp_path / "mine")
    assert main(["prepare", str(path), "--collection", str(tmp_path / "mine")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_missing_file_and_a_missing_column(tmp_path):
    with pytest.raises(MlcmrError, match=r"none.csv: no such file"):
        prepare([tmp_path / "none.csv"], tmp_path / "mine")
    with pytest.raises(MlcmrError, match=r"none.parquet: no such file$"):
        prepare([tmp_path / "none.parquet"], tmp_path / "mine")
    table = write(tmp_path / "t.csv", "video,text\na,b\n")
    with pytest.raises(MlcmrError, match=r"t.csv: no column 'wo'; there is 'video', 'text'"):
        prepare([table], tmp_path / "mine", video_column="wo", language=["en"])


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MlcmrError, match=r"pip install 'mlcmr\[tables\]'"):
        prepare([write(tmp_path / "t.parquet", "PAR1")], tmp_path / "mine")


def test_other_columns_may_be_there_twice(tmp_path):
    table = write(tmp_path / "t.csv", "video,text,note,note,,\nv,a dog,1,2,,\n")
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    (captions,) = (tmp_path / "mine" / "TextData").iterdir()
    assert captions.read_text() == "v#enc#0 a dog\n"


def test_one_column_twice_in_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs mlcmr[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = [pyarrow.array([word]) for word in ("v", "a", "b")]
    table = pyarrow.Table.from_arrays(columns, names=["video", "text", "text"])
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(MlcmrError, match=r"t.parquet: column 'text' twice; rename one"):
        prepare([tmp_path / "t.parquet"], tmp_path / "mine", language=["en"])


def test_captions_are_never_overwritten(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\na,b\n")
    (tmp_path / "mine" / "TextData").mkdir(parents=True)
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    with pytest.raises(MlcmrError, match="there are captions already"):
        prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    with pytest.raises(MlcmrError, match="give one of them"):
        prepare([table], tmp_path / "more", language=["en"], split=["train"], shares=[1, 1, 1])
    with pytest.raises(MlcmrError, match=r"expected train=FILE"):
        parse_split_lists(["train"])


# ─── any captions ────────────────────────────────────────────────────────────────────────────────────────

# Marks and characters without ink alone are blank, and `['a', 'b']` is a list: tests of their own.
words = st.text(
    st.characters(exclude_categories=["C", "M"], exclude_characters="[\u115f\u1160\u2800\u3164\uffa0"),
    max_size=12,
)
annotations = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["en", "zh", "de"]), words), min_size=6, max_size=40
)


@settings(max_examples=60)
@given(annotations, st.booleans())
def test_whatever_the_captions_check_is_clean_and_nothing_is_lost(rows, pair):
    expected = {(f"clip_{video}", lang, " ".join(text.split())) for video, lang, text in rows}
    expected = {row for row in expected if row[2]}
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            json.dumps({"clip": f"clip {video}.mp4", "text": text, "lang": lang})
            for video, lang, text in rows
        ]
        table = write(Path(folder) / "t.jsonl", "\n".join(lines))
        mine = Path(folder) / "mine"
        if len({video for video, *_ in expected}) < 3:
            unpaired = "|with a counterpart in another language" if pair else ""
            with pytest.raises(MlcmrError, match=rf"no captions in it|too few{unpaired}"):
                prepare([table], mine, pair=pair)
            return
        try:
            summary = prepare([table], mine, pair=pair)
        except MlcmrError:
            assume(not pair)  # else all captions of a video may be left out, and the rest be too few
            raise
        assert problems(mine) == []
        written = [
            (video, language, text)
            for path in (mine / "TextData").iterdir()
            if "_half" not in path.name
            for captions in [read_captions(path)]
            for video, language, text in zip(captions.videos, captions.languages, captions.texts, strict=True)
        ]
        half = mine / "TextData" / "minetrain_half.caption.txt"
        of_one = read_captions(half) if half.exists() else None
        of_all = [read_captions(path).ids for path in (mine / "TextData").glob("minetrain*") if path != half]
    if of_one:  # every video once, in one language, with all its captions in that
        assert set(of_one.videos) == {one.partition("#")[0] for ids in of_all for one in ids}
        spoken = dict(zip(of_one.videos, of_one.languages, strict=True))
        tags = {video: "enc" if language == "en" else language for video, language in spoken.items()}
        assert set(of_one.ids) == {
            one for ids in of_all for one in ids if tags[one.split("#")[0]] == one.split("#")[1]
        }
        assert Counter(spoken.values()) == Counter({k: v for k, v in summary.halves.items() if v})
    else:
        assert len(of_all) == 1
        assert not summary.halves
    assert set(written) <= expected
    assert set(written) == expected or pair
    assert len(rows) == len(written) + summary.blank + summary.duplicates + summary.without_counterpart
    assert pair or not summary.without_counterpart


few_words = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["en", "zh", "de"]), st.sampled_from(["a", "b", "c", ""])),
    min_size=6,
    max_size=40,
)


@settings(max_examples=150)
@given(
    few_words,
    st.booleans(),
    st.sampled_from([["en", "zh", "de"], ["en", "zh+de"], ["zh", "de+en"], ["en+zh+de"]]),
)
def test_a_pair_stands_in_rows_of_the_same_place_whatever_is_left_out(rows, pair, commands):
    """Blank captions and duplicates of one language do not shift its captions against another's."""
    rows_of = defaultdict(list)
    for video, language, text in rows:
        rows_of[f"v{video}", language].append(text)
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder) / "mine"
        for languages in commands:
            chosen = [row for row in rows if row[1] in languages]
            lines = [json.dumps({"video": f"v{v}", "text": t, "lang": lang}) for v, lang, t in chosen]
            with suppress(MlcmrError):  # no captions in this language, or all of them there already
                prepare([write(Path(folder) / "t.jsonl", "\n".join(lines))], mine, split=["train"], pair=pair)
        written = defaultdict(dict)
        for path in (mine / "TextData").glob("minetrain*"):
            if "_half" not in path.name:
                captions = read_captions(path)
                for key, text in zip(captions.keys, captions.texts, strict=True):
                    written[key][captions.languages[0]] = text
        for key, texts in written.items():
            video = key.partition("#")[0]
            for one, other in combinations(texts, 2):
                both = list(zip(rows_of[video, one], rows_of[video, other], strict=False))
                assert (texts[one], texts[other]) in both


def test_a_duplicate_in_one_language_shifts_no_pairs(tmp_path):
    texts = {"en": ["a", "a", "b", "c"], "zh": ["甲", "乙", "丙", "丙"]}
    rows = [{"video": "v", "text": text, "lang": lang} for lang, many in texts.items() for text in many]
    table = write_table(tmp_path / "t.csv", rows)
    summary = prepare([table], tmp_path / "c", split=["train"])
    pairs = read_training_pairs(open_collection(tmp_path, "c"), Scenario(ScenarioKind.PARALLEL))
    found = list(zip(pairs.captions["en"].texts, pairs.captions["zh"].texts, strict=True))
    assert found == list(zip(*texts.values(), strict=True))
    assert (summary.duplicates, summary.without_counterpart, summary.unpaired) == (0, 0, [])


def test_a_language_pairs_with_an_earlier_one_that_lost_a_duplicate(tmp_path):
    texts = {"en": ["a", "a", "b", "c"], "zh": ["甲", "乙", "丙", "丁"]}
    for language, many in texts.items():
        rows = [{"video": "v", "text": text, "lang": language} for text in many]
        summary = prepare([write_table(tmp_path / "t.csv", rows)], tmp_path / "c", split=["train"])
    assert contents(tmp_path / "c")["ctrain.caption.txt"] == "v#enc#0 a\nv#enc#2 b\nv#enc#3 c\n"
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"] == "v#zh#0 甲\nv#zh#2 丙\nv#zh#3 丁\n"
    assert (summary.without_counterpart, summary.unpaired) == (1, [])


def test_the_command(tmp_path, capsys):
    table = write_table(tmp_path / "rows.csv", ROWS)
    words = [
        "prepare",
        str(table),
        "--collection",
        str(tmp_path / "mine"),
        "--splits",
        "4",
        "1",
        "1",
        "--seed",
        "3",
    ]
    assert main(words) == 0
    output = capsys.readouterr().out
    lines = [line.split() for line in output.splitlines()]
    assert ["train", "zh", "4", "8"] in lines
    assert "by chance, 4 : 1 : 1, seed 3" in output
    assert (
        main(
            [
                "prepare",
                str(table),
                "--collection",
                str(tmp_path / "b"),
                "--text-column",
                "lang",
                "--split",
                "val",
            ]
        )
        == 0
    )
    assert list(contents(tmp_path / "b")) == ["bval.caption.txt", "bval_zh.caption.txt"]


def test_few_videos_to_measure_on_are_told(tmp_path):
    for videos, few in ((30, ["3 videos in val", "3 videos in test"]), (400, [])):
        table = tmp_path / "t.csv"
        rows = "".join(f"v{number},caption {number},en\n" for number in range(videos))
        table.write_text(f"video,text,language\n{rows}", encoding="utf-8")
        notes = prepare([table], tmp_path / f"c{videos}").lines()
        told = [note for note in notes if note.startswith("few: ")]
        assert [note.removeprefix("few: ").partition(":")[0] for note in told] == few
        assert all("`shares`" in note for note in told)
    lists = {
        split: write(tmp_path / f"{split}.txt", name) for split, name in (("train", "v1"), ("test", "v2"))
    }
    for number, asked in enumerate(({"split_lists": lists}, {"split": ["test"]})):
        notes = list(prepare([table], tmp_path / f"asked{number}", **asked).lines())
        assert any(note.startswith("few: ") for note in notes) == ("split_lists" in asked)
        assert not any("`shares`" in note for note in notes)


# ─── lists with captions ─────────────────────────────────────────────────────────────────────────────────


def test_the_protocol_of_msrvtt_1ka(tmp_path, capsys):
    videos = [(f"video{i}", "train") for i in range(4)]
    data = msrvtt(videos)
    data["sentences"] += [{"video_id": "video3", "caption": "a dog", "sen_id": 900}]
    json_file = write(tmp_path / "MSRVTT_data.json", data)
    train = write(tmp_path / "MSRVTT_train.9k.csv", "video_id\nvideo0\nvideo1\n")
    test = write(
        tmp_path / "MSRVTT_JSFUSION_test.csv",
        "key,vid_key,video_id,sentence\nret0,msr3,video3,a dog\nret1,msr2,video2,a sentence of its own\n",
    )
    words = ["prepare", str(json_file), "--split-lists", f"train={train}", f"test={test}", "--collection"]
    assert main([*words, str(tmp_path / "all")]) == 0
    told = "MSRVTT_JSFUSION_test.csv has captions of its own: --list-captions takes these alone"
    assert told in capsys.readouterr().out
    assert contents(tmp_path / "all")["alltest.caption.txt"].count("\n") == 5
    assert main([*words, str(tmp_path / "1kA"), "--list-captions"]) == 0
    assert "left out: captions that their list does not have: 4" in capsys.readouterr().out
    assert contents(tmp_path / "1kA") == {
        "1kAtest.caption.txt": "video2#enc#2 a sentence of its own\nvideo3#enc#2 a dog\n",
        "1kAtrain.caption.txt": contents(tmp_path / "all")["alltrain.caption.txt"],
    }
    assert problems(tmp_path / "1kA") == []
    with pytest.raises(
        MlcmrError, match="`list_captions`: no file of `split_lists` has a column with captions"
    ):
        prepare([json_file], tmp_path / "no", split_lists={"train": train}, list_captions=True)


def test_listed_captions_keep_their_counterparts_in_other_languages(tmp_path):
    rows = [
        {"video": video, "text": f"{lang} {n}", "lang": lang}
        for video in ("v", "w", "x") for lang in ("en", "zh") for n in range(3)
    ]  # fmt: skip
    table = write_table(tmp_path / "t.csv", rows)
    lists = {
        "train": write(tmp_path / "train.txt", "x"),
        "test": write(tmp_path / "test.csv", "video_id,sentence\nv,en 1\nw,en 0\n"),
    }
    summary = prepare([table], tmp_path / "c", split_lists=lists, list_captions=True)
    assert contents(tmp_path / "c")["ctest.caption.txt"] == "v#enc#1 en 1\nw#enc#0 en 0\n"
    assert contents(tmp_path / "c")["ctest_zh.caption.txt"] == "v#zh#1 zh 1\nw#zh#0 zh 0\n"
    assert (summary.replaced, summary.without_counterpart, summary.unpaired) == (4, 4, [])
    assert problems(tmp_path / "c") == []


def test_listed_captions_keep_those_at_their_place_in_a_language_that_makes_no_pairs(tmp_path):
    rows = [
        {"video": video, "text": f"{lang} {n}", "lang": lang}
        for video in ("v", "x") for lang, captions in (("en", 4), ("zh", 3)) for n in range(captions)
    ]  # fmt: skip
    lists = {
        "train": write(tmp_path / "train.txt", "x"),
        "test": write(tmp_path / "test.csv", "video_id,sentence\nv,en 1\n"),
    }
    table = write_table(tmp_path / "t.csv", rows)
    summary = prepare([table], tmp_path / "c", split_lists=lists, list_captions=True)
    files = contents(tmp_path / "c")
    assert summary.unpaired == ["zh"]
    assert files["ctest.caption.txt"] == "v#enc#1 en 1\n"
    assert files["ctest_zh.caption.txt"] == "v#zh#3 zh 1\n"
    assert files["ctrain_zh.caption.txt"] == "x#zh#4 zh 0\nx#zh#5 zh 1\nx#zh#6 zh 2\n"


# ─── captions that are added ─────────────────────────────────────────────────────────────────────────────


def in_language(path: Path, language: str, videos, captions: int = 2) -> Path:
    rows = [
        {"video": f"v{i}", "caption": f"{language} {i} {n}", "language": language}
        for i in videos for n in range(captions)
    ]  # fmt: skip
    return write_table(path, rows)


def test_captions_that_are_all_left_out_are_not_called_missing(tmp_path):
    chinese = in_language(tmp_path / "zh.csv", "zh", [1])
    with pytest.raises(MlcmrError, match=r"zh\.csv: no captions of the videos in `split_lists`$"):
        prepare([chinese], tmp_path / "a", split_lists={"test": write(tmp_path / "test.txt", "v2")})
    text = tmp_path / "b" / "TextData"
    text.mkdir(parents=True)
    write(text / "btrain.caption.txt", "v1#enc#first a dog\n")
    with pytest.raises(MlcmrError, match=r"zh\.csv: no captions with a counterpart in another language$"):
        prepare([chinese], tmp_path / "b", pair=True)


def test_a_number_too_long_to_be_read_makes_no_pair(tmp_path):
    text = tmp_path / "c" / "TextData"
    text.mkdir(parents=True)
    write(text / "ctrain.caption.txt", f"v1#enc#{'9' * 5000} a dog\n")
    prepare([in_language(tmp_path / "zh.csv", "zh", [1])], tmp_path / "c")
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"] == "v1#zh#0 zh 1 0\nv1#zh#1 zh 1 1\n"


def test_a_second_language_is_added_later(tmp_path):
    prepare([in_language(tmp_path / "en.csv", "en", range(30))], tmp_path / "c")
    before, splits = contents(tmp_path / "c"), by_split(tmp_path / "c")
    words = [
        "prepare",
        str(in_language(tmp_path / "zh.csv", "zh", range(28))),
        "--collection",
        str(tmp_path / "c"),
    ]
    assert main(words) == 0
    after = contents(tmp_path / "c")
    assert {name: after[name] for name in before} == before
    assert sorted(after.keys() - before.keys()) == [
        "ctest_zh.caption.txt", "ctrain_half.caption.txt", "ctrain_zh.caption.txt", "cval_zh.caption.txt",
    ]  # fmt: skip
    assert by_split(tmp_path / "c") == splits
    pairs = read_training_pairs(
        open_collection(tmp_path, "c"), Scenario(ScenarioKind.PARALLEL), missing_captions="skip"
    )
    for english, chinese in zip(pairs.captions["en"].texts, pairs.captions["zh"].texts, strict=True):
        assert english.replace("en", "zh") == chinese
    halves = read_captions(tmp_path / "c/TextData/ctrain_half.caption.txt")
    assert set(halves.videos) == splits["train"]
    assert set(halves.languages) == {"en", "zh"}
    assert not [one for one in problems(tmp_path / "c") if "caption" in one and "no zh" not in one]
    with pytest.raises(MlcmrError, match=r"ctrain_zh.caption.txt: there are captions already"):
        prepare([tmp_path / "zh.csv"], tmp_path / "c")
    assert contents(tmp_path / "c") == after


KILLED = """
import os, pathlib, shutil, sys
from mlcmr.data.prepare import prepare

calls = [0]
def killing(function):
    def count(*arguments, **options):
        calls[0] += 1
        if calls[0] == int(sys.argv[3]):
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    return count

pathlib.Path.replace = killing(pathlib.Path.replace)
pathlib.Path.rename = killing(pathlib.Path.rename)
shutil.copyfile = killing(shutil.copyfile)
prepare([sys.argv[1]], sys.argv[2])
print("done", calls[0])
"""


def test_a_command_that_was_killed_while_it_adds_a_language_can_be_run_again(tmp_path):
    chinese = in_language(tmp_path / "zh.csv", "zh", range(10))
    prepare([in_language(tmp_path / "en.csv", "en", range(10))], tmp_path / "before" / "c")
    shutil.copytree(tmp_path / "before" / "c", tmp_path / "whole" / "c")
    prepare([chinese], tmp_path / "whole" / "c")
    expected = contents(tmp_path / "whole" / "c")
    before, partial = contents(tmp_path / "before" / "c"), 0
    for call in count(1):
        folder = tmp_path / str(call) / "c"
        shutil.copytree(tmp_path / "before" / "c", folder)
        words = [sys.executable, "-c", KILLED, str(chinese), str(folder), str(call)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        partial += contents(folder) not in (before, expected)
        problems = check(folder).problems
        if contents(folder) not in (before, expected):
            assert any("or was stopped while it did: then run it again" in one for one in problems)
        prepare([chinese], folder)
        assert contents(folder) == expected
        assert not list(folder.glob(".TextData.added"))
    assert call > 8
    assert partial > 2


def test_two_commands_do_not_add_captions_at_once(tmp_path):
    prepare([in_language(tmp_path / "en.csv", "en", range(10))], tmp_path / "c")
    before = contents(tmp_path / "c")
    chinese = in_language(tmp_path / "zh.csv", "zh", range(10))
    with (
        locked(tmp_path / "c" / ".prepare.lock", ""),
        pytest.raises(MlcmrError, match="another process prepares captions there"),
    ):
        prepare([chinese], tmp_path / "c")
    assert contents(tmp_path / "c") == before
    prepare([chinese], tmp_path / "c")


@pytest.mark.parametrize("failing", range(4))
def test_a_disk_that_is_full_while_a_language_is_added_leaves_what_was_there(failing, tmp_path, monkeypatch):
    prepare([in_language(tmp_path / "en.csv", "en", range(10))], tmp_path / "c")
    before = contents(tmp_path / "c")
    copy, copied = shutil.copyfile, []

    def copyfile(source, target):
        if len(copied) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(source)
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(MlcmrError, match=r"TextData/c.*: cannot be written: No space left on device"):
        prepare([in_language(tmp_path / "zh.csv", "zh", range(10))], tmp_path / "c")
    assert contents(tmp_path / "c") == before
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"TextData", ".prepare.lock"}


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_language_is_added_to_a_collection_that_writes_accents_otherwise(forms, tmp_path):
    there, new = (unicodedata.normalize(form, "café") for form in forms)
    (tmp_path / "c" / "TextData").mkdir(parents=True)
    write(tmp_path / "c/TextData/ctrain.caption.txt", f"{there}#enc#0 a\n")
    prepare([write(tmp_path / "de.csv", f"video,caption\n{new},b\n")], tmp_path / "c", language=["de"])
    assert by_split(tmp_path / "c") == {"train": {"café"}}


def test_all_at_once_and_one_after_the_other_are_the_same(tmp_path):
    files = [in_language(tmp_path / f"{one}.csv", one, range(12)) for one in ("en", "zh", "de")]
    prepare(files, tmp_path / "at once" / "c")
    for file in files:
        prepare([file], tmp_path / "apart" / "c")
    at_once, apart = contents(tmp_path / "at once" / "c"), contents(tmp_path / "apart" / "c")
    del at_once["ctrain_half.caption.txt"], apart["ctrain_half.caption.txt"]
    assert at_once == apart


def test_an_added_language_with_other_numbers_of_captions_makes_no_wrong_pairs(tmp_path):
    prepare([in_language(tmp_path / "en.csv", "en", range(3))], tmp_path / "c", split=["train"])
    more = in_language(tmp_path / "zh.csv", "zh", range(3), captions=3)
    summary = prepare([more], tmp_path / "c")
    assert summary.unpaired == ["zh"]
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"].startswith("v0#zh#2 zh 0 0\n")
    (tmp_path / "c/TextData/ctrain_zh.caption.txt").unlink()
    assert prepare([more], tmp_path / "c", pair=True).without_counterpart == 3
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"].startswith("v0#zh#0 zh 0 0\nv0#zh#1 zh 0 1\nv1")


def test_a_language_that_makes_no_pairs_is_not_added_twice(tmp_path):
    prepare([in_language(tmp_path / "en.csv", "en", range(3), captions=3)], tmp_path / "c", split=["train"])
    for expected in (
        nullcontext(),
        pytest.raises(MlcmrError, match=r"ctrain_zh.*: there are captions already"),
    ):
        with expected:
            prepare([in_language(tmp_path / "zh.csv", "zh", range(3))], tmp_path / "c")
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"].startswith("v0#zh#3 zh 0 0\n")


def test_a_split_is_added_later(tmp_path):
    files = [in_language(tmp_path / f"{split}.csv", "en", [i]) for i, split in enumerate(("train", "test"))]
    for file in files:
        prepare([file], tmp_path / "c")
    assert by_split(tmp_path / "c") == {"train": {"v0"}, "test": {"v1"}}
    other = in_language(tmp_path / "de.csv", "de", [0, 1, 2])
    summary = prepare([other], tmp_path / "c")
    assert summary.unplaced == 1
    assert any("videos that the collection has no captions of" in note for note in summary.lines())
    with pytest.raises(MlcmrError, match="video 'v1' is in test there, but in train in the new files"):
        prepare([in_language(tmp_path / "it.csv", "it", [1])], tmp_path / "c", split=["train"])
    with pytest.raises(MlcmrError, match="has captions of other videos; say with `split`"):
        prepare([in_language(tmp_path / "fr.csv", "fr", [7])], tmp_path / "c")
    with pytest.raises(MlcmrError, match="has splits already"):
        prepare([other], tmp_path / "c", shares=[1, 0, 0])


def test_clips_are_added_under_the_names_that_they_have(tmp_path):
    both = write(tmp_path / "en.csv", "video,start,end,caption\nv,1,2,a dog\nv,2,3,a cat\n")
    prepare([both], tmp_path / "c", language=["en"], split=["train"])
    one = write(tmp_path / "de.csv", "video,start,end,caption\nv,2,3,eine Katze\n")
    prepare([one], tmp_path / "c", language=["de"])
    assert contents(tmp_path / "c")["ctrain_de.caption.txt"] == "v_2_3#de#0 eine Katze\n"


# The result


def test_the_text_of_a_summary_is_what_is_printed(tmp_path, capsys):
    table = in_language(tmp_path / "en.csv", "en", range(30))
    summary = prepare([table], tmp_path / "c")
    assert main(["prepare", str(table), "--collection", str(tmp_path / "d")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed.pop() == f"check: mlcmr check {tmp_path / 'd'}"
    expected = str(summary).replace(str(tmp_path / "c"), str(tmp_path / "d")).replace("`shares`", "--shares")
    assert [line.rstrip() for line in printed] == [line.rstrip() for line in expected.splitlines()]


def test_a_summary_is_plain_values(tmp_path):
    summary = prepare(in_language(tmp_path / "en.csv", "en", range(30)), tmp_path / "c")
    content = json.loads(json.dumps(summary.to_dict()))
    assert content["videos"] == {"train.en": 24, "val.en": 3, "test.en": 3}
    assert content["folder"] == str(tmp_path / "c")


@pytest.mark.parametrize("option", ["--shares", "--splits"])
def test_the_former_name_of_the_shares_still_works(option, tmp_path):
    table = in_language(tmp_path / "en.csv", "en", range(10))
    assert main(["prepare", str(table), "--collection", str(tmp_path / "c"), option, "1", "0", "1"]) == 0
    names = {path.name for path in (tmp_path / "c" / "TextData").iterdir()}
    assert names == {"ctrain.caption.txt", "ctest.caption.txt"}
