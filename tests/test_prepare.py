"""Annotation files become captions: nothing lost, nothing in two splits, and `check` finds nothing."""

import csv
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcmr.cli import main
from mlcmr.data.annotations import Columns, split_by_name
from mlcmr.data.captions import parse_caption_id, read_captions
from mlcmr.data.check import check_collection
from mlcmr.data.collection import open_collection
from mlcmr.data.features import write_features
from mlcmr.data.ids import split_ending, video_id
from mlcmr.data.languages import LANGUAGES, language_code
from mlcmr.data.prepare import parse_lists, prepare
from mlcmr.data.scenario import Scenario, ScenarioKind, read_training_pairs
from mlcmr.errors import UserError
from mlcmr.extraction.find import assign_ids

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
    return check_collection(collection).problems


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
    for english, chinese in zip(pairs.columns["en"].texts, pairs.columns["zh"].texts, strict=True):
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
    assert (summary.blank, summary.spare, summary.duplicates) == (1, 1, 2)
    assert problems(tmp_path / "vatex") == []


def test_vatex_without_captions(tmp_path):
    bare = write(
        tmp_path / "vatex_public_test_without_annotations.json", [{"videoID": "x"}, {"videoID": "y"}]
    )
    train = write(tmp_path / "vatex_training.json", vatex(["a"]))
    with pytest.raises(UserError, match=r"without_annotations.json: no captions in it"):
        prepare([bare], tmp_path / "vatex")
    assert prepare([train, bare], tmp_path / "vatex").without_captions == 2
    assert by_split(tmp_path / "vatex") == {"train": {"a"}}


def test_a_vatex_caption_that_two_files_give_differently(tmp_path):
    one = write(tmp_path / "one.json", [{"videoID": "v", "enCap": ["a dog"]}])
    other = write(tmp_path / "other.json", [{"videoID": "v", "enCap": ["a cat"]}])
    assert prepare([one, one], tmp_path / "same", splits=["train"]).duplicates == 1
    with pytest.raises(
        UserError, match=r"other.json, item 1: caption 0 of video 'v' in 'en' was another before"
    ):
        prepare([one, other], tmp_path / "vatex", splits=["train"])


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
    lists = parse_lists([f"train={train}", f"test={test}", f"val={val}"])
    summary = prepare([data], tmp_path / "m", lists=lists)
    assert by_split(tmp_path / "m") == {"train": {"video0", "video8"}, "test": {"video1"}, "val": {"video2"}}
    assert summary.unlisted == 5
    with pytest.raises(UserError, match=r"1kA.csv: video 'video1' is in the list of train too"):
        prepare([data], tmp_path / "n", lists={"train": write(tmp_path / "t.txt", "video1"), "test": test})


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
        columns=Columns(video="who", text="what"),
        languages=["de"],
        splits=["val"],
    )
    assert contents(tmp_path / "mine") == {"mineval_de.caption.txt": "a#de#0 a dog\nb#de#0 a cat\n"}


def test_a_language_and_a_split_for_each_file(tmp_path):
    files = [write(tmp_path / f"{i}.csv", f"video,text\nv{i},text {i}\n") for i in range(2)]
    prepare(files, tmp_path / "mine", languages=["English", "zh"], splits=["train", "test"])
    assert list(contents(tmp_path / "mine")) == ["minetest_zh.caption.txt", "minetrain.caption.txt"]
    with pytest.raises(UserError, match="--language: give one for all, or one for each of the 2 files"):
        prepare(files, tmp_path / "other", languages=["en", "zh", "de"])


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
    summary = prepare([table], tmp_path / "mine", languages=["en"], splits=["train"])
    assert (
        contents(tmp_path / "mine")["minetrain.caption.txt"]
        == "v#enc#0 a dog\nv#enc#1 A dog\nw#enc#0 a dog\n"
    )
    assert (summary.blank, summary.duplicates, summary.without_captions) == (3, 1, 1)
    notes = list(summary.notes())
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
    summary = prepare([table], tmp_path / "apart", splits=["train"])
    assert summary.apart == ["zh"]
    assert sum(summary.captions.values()) == len(rows)  # nothing is lost
    assert problems(tmp_path / "apart") == []
    english, chinese, german = (
        set(read_captions(tmp_path / f"apart/TextData/aparttrain{suffix}.caption.txt").keys)
        for suffix in ("", "_zh", "_de")
    )
    assert english == german
    assert not english & chinese

    summary = prepare([table], tmp_path / "paired", splits=["train"], pair=True)
    assert (summary.apart, summary.spare) == ([], 4)
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
        summary = prepare([table], tmp_path / name, splits=["train"], seed=seed)
        assert summary.halves == {"en": 7, "zh": 7}  # Chinese makes up for those that are in English alone
        assert "unparallel: of the videos to train on, 7 in en, 7 in zh" in summary.notes()
        collection = open_collection(tmp_path, name)
        assert len(read_training_pairs(collection, Scenario(ScenarioKind.UNPARALLEL)).videos) == 14
        captions = read_captions(collection.caption_file("train", "_half"))
        halves.append(dict(zip(captions.videos, captions.languages, strict=True)))
        assert {halves[-1][f"w{i}"] for i in range(4)} == {"en"}
    assert halves[0] == halves[1] != halves[2]

    prepare([write_table(tmp_path / "e.csv", english)], tmp_path / "english", splits=["train"])
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
    prepare([table], tmp_path / "mine", languages=["en"], splits=["train"])
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
    with pytest.raises(UserError, match=r"t.csv:3: '.*' and '.*' both get the video id") as error:
        prepare([table], tmp_path / "mine", languages=["en"])
    assert one in str(error.value)
    assert not (tmp_path / "mine").exists()


def test_a_name_is_one_however_its_accents_are_written(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\ncaf\u00e9.mp4,first\ncafe\u0301.mp4,second\n")
    prepare([table], tmp_path / "mine", languages=["en"], splits=["train"])
    assert contents(tmp_path / "mine")["minetrain.caption.txt"] == (
        "caf\u00e9#enc#0 first\ncaf\u00e9#enc#1 second\n"
    )


def test_a_video_with_and_without_its_ending_is_one(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\nv,first\nv.mp4,second\n./v.mp4,third\n")
    prepare([table], tmp_path / "mine", languages=["en"], splits=["train"])
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
    prepare([write_table(tmp_path / "t.csv", rows)], tmp_path / "mine", languages=["en"], splits=["train"])
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
    prepare([table], tmp_path / "mine", languages=["en"], shares=shares)
    found = by_split(tmp_path / "mine")
    assert tuple(len(found.get(split, ())) for split in ("train", "val", "test")) == sizes


@pytest.mark.parametrize(
    "shares", [(1, 1), (0, 0, 0), (1, -1, 1), (float("nan"), 1, 1), (float("inf"), 1, 1)]
)
def test_shares_that_are_none(shares, tmp_path):
    table = write(tmp_path / "t.csv", "video,text\na,b\n")
    with pytest.raises(UserError, match="expected three shares"):
        prepare([table], tmp_path / "mine", languages=["en"], shares=shares)


def test_too_few_videos(tmp_path):
    with pytest.raises(UserError, match="2 videos with captions: too few for 3 splits; --splits 1 0 0"):
        prepare([write(tmp_path / "t.csv", "video,text\na,b\nc,d\n")], tmp_path / "mine", languages=["en"])


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
        UserError, match=r"t.csv:4: video 'v' is in split test, but in split train at .*t.csv:2"
    ):
        prepare([table], tmp_path / "mine", languages=["en"])


def test_some_videos_without_a_split(tmp_path):
    files = [write(tmp_path / name, f"video,text\n{name},b\n") for name in ("train.csv", "more.csv")]
    with pytest.raises(UserError, match=r"more.csv:2: no split for video"):
        prepare(files, tmp_path / "mine", languages=["en"])


# ─── bad input ───────────────────────────────────────────────────────────────────────────────────────────

GOOD = "video,text,lang,split\n"
BAD = {
    "no video column": (
        "t.csv",
        "a,caption\n1,2\n",
        "t.csv: no column for the video; there is 'a', .*--video_column",
    ),
    "no text column": ("t.csv", "video,b\n1,2\n", "t.csv: no column for captions; there is 'video', 'b'"),
    "one column twice": (
        "t.csv",
        "video,text,text,lang\nv,a,b,en\n",
        "t.csv:1: column 'text' twice; rename one",
    ),
    "no language": ("t.csv", "video,text\n1,2\n", "t.csv: no column for the language; .*--language"),
    "empty video": ("t.csv", GOOD + "v,a,en,train\n,b,en,train\n", "t.csv:3: column 'video' is empty"),
    "empty split": ("t.csv", GOOD + "v,a,en,\n", "t.csv:2: column 'split' is empty"),
    "unknown split": (
        "t.csv",
        GOOD + "v,a,en,trial\n",
        "t.csv:2: column 'split': split 'trial' is none of train",
    ),
    "unknown language": (
        "t.csv",
        GOOD + "v,a,Klingon,test\n",
        "t.csv:2: column 'lang': 'Klingon' is no language",
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
        "t.csv:2: not UTF-8: byte 0xff; save it as UTF-8",
    ),
    "half UTF-16": ("t.csv", b"\xff\xfev", "t.csv:1: not UTF-8: byte 0xff; save it as UTF-8"),
    "long": (
        "t.csv",
        GOOD + f"v,{'a' * 140_000},en,test\n",
        "t.csv:2: a text of more than 131,072 characters; do its quotation marks match",
    ),
    "empty": ("t.csv", "", "t.csv: no captions in it"),
    "header only": ("t.csv", GOOD, "t.csv: no captions in it"),
    "no JSON": ("t.jsonl", '{"video": "v"}\n{"video": \n', "t.jsonl:2: not JSON: .*character"),
    "no object": ("t.jsonl", '["v", "a dog"]\n', "t.jsonl:1: expected an object"),
    "no text": (
        "t.jsonl",
        '{"video": "v", "text": 7, "lang": "en"}\n',
        "t.jsonl:1: column 'text' is neither a text",
    ),
    "no word": (
        "t.json",
        [{"video": ["v"], "text": "a", "lang": "en"}],
        r"t.json, item 1: column 'video' is no word: \['v'\]",
    ),
    "half a character": (
        "t.jsonl",
        '{"video": "v", "text": "a \\ud83d", "lang": "en"}\n',
        "t.jsonl:1: caption with half a character",
    ),
    "broken JSON": ("t.json", '[\n{"video": "v",\n', "t.json:[23]: not JSON"),
    "deep JSON": ("t.json", "[" * 100_000, "t.json: not JSON that can be read"),
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
        "t.json, sentence 1: 'sen_id' is no number",
    ),
    "MSR-VTT's list": ("t.json", {"videos": {}, "sentences": []}, "t.json: 'videos' is not a list"),
    "no Parquet": ("t.parquet", "PAR1", "t.parquet: not Parquet that can be read"),
    "kind of file": ("t.xlsx", "PK", "t.xlsx: not a kind of file that holds captions; expected one of .csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_says_where(case, tmp_path, capsys):
    name, content, message = BAD[case]
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs mlcmr[tables]")
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else write(path, content)
    with pytest.raises(UserError, match=message):
        prepare([path], tmp_path / "mine")
    assert main(["prepare", str(path), "--collection", str(tmp_path / "mine")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_missing_file_and_a_missing_column(tmp_path):
    with pytest.raises(UserError, match=r"none.csv: no such file"):
        prepare([tmp_path / "none.csv"], tmp_path / "mine")
    with pytest.raises(UserError, match=r"none.parquet: not Parquet"):
        prepare([tmp_path / "none.parquet"], tmp_path / "mine")
    table = write(tmp_path / "t.csv", "video,text\na,b\n")
    with pytest.raises(UserError, match=r"t.csv: no column 'wo'; there is 'video', 'text'"):
        prepare([table], tmp_path / "mine", columns=Columns(video="wo"), languages=["en"])


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'mlcmr\[tables\]'"):
        prepare([write(tmp_path / "t.parquet", "PAR1")], tmp_path / "mine")


def test_other_columns_may_be_there_twice(tmp_path):
    table = write(tmp_path / "t.csv", "video,text,note,note,,\nv,a dog,1,2,,\n")
    prepare([table], tmp_path / "mine", languages=["en"], splits=["train"])
    (captions,) = (tmp_path / "mine" / "TextData").iterdir()
    assert captions.read_text() == "v#enc#0 a dog\n"


def test_one_column_twice_in_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs mlcmr[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = [pyarrow.array([word]) for word in ("v", "a", "b")]
    table = pyarrow.Table.from_arrays(columns, names=["video", "text", "text"])
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t.parquet: column 'text' twice; rename one"):
        prepare([tmp_path / "t.parquet"], tmp_path / "mine", languages=["en"])


def test_captions_are_never_overwritten(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\na,b\n")
    (tmp_path / "mine" / "TextData").mkdir(parents=True)
    prepare([table], tmp_path / "mine", languages=["en"], splits=["train"])
    with pytest.raises(UserError, match="there are captions already"):
        prepare([table], tmp_path / "mine", languages=["en"], splits=["train"])
    with pytest.raises(UserError, match="give one of them"):
        prepare([table], tmp_path / "more", languages=["en"], splits=["train"], shares=[1, 1, 1])
    with pytest.raises(UserError, match=r"expected train=FILE"):
        parse_lists(["train"])


def test_names_of_languages():
    for code, (name, three) in LANGUAGES.items():
        assert {language_code(word) for word in (code, three, name, code.upper(), f"{code}-XX")} == {code}
    assert language_code("cmn_Hans") == "zh"
    assert language_code("hsb") == "hsb"
    assert language_code("nb") == "nb"
    other_codes = {
        "alb": "sq", "arm": "hy", "baq": "eu", "bur": "my", "chi": "zh", "cze": "cs", "dut": "nl",
        "fre": "fr", "geo": "ka", "ger": "de", "gre": "el", "ice": "is", "mac": "mk", "mao": "mi",
        "may": "ms", "per": "fa", "rum": "ro", "slo": "sk", "tib": "bo", "wel": "cy",
        "in": "id", "iw": "he", "ji": "yi", "jw": "jv", "mo": "ro", "ua": "uk", "gr": "el",
    }  # fmt: skip
    assert {word: language_code(word) for word in other_codes} == other_codes
    for word in ("", "e", "en#", "klingon", "src", "a2b"):  # a tag `src` would be read as `sr`
        with pytest.raises(UserError, match="is no language"):
            language_code(word)


# ─── any captions ────────────────────────────────────────────────────────────────────────────────────────

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
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
            with pytest.raises(UserError, match=r"no captions in it|too few"):
                prepare([table], mine, pair=pair)
            return
        summary = prepare([table], mine, pair=pair)
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
    assert len(written) == len(set(written)) == len(expected) - summary.spare
    assert set(written) <= expected
    assert len(rows) == len(written) + summary.blank + summary.duplicates + summary.spare
    assert pair or not summary.spare


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
        notes = prepare([table], tmp_path / f"c{videos}").notes()
        told = [note for note in notes if note.startswith("few: ")]
        assert [note.removeprefix("few: ").partition(":")[0] for note in told] == few
        assert all("--splits" in note for note in told)
    lists = {
        split: write(tmp_path / f"{split}.txt", name) for split, name in (("train", "v1"), ("test", "v2"))
    }
    for number, asked in enumerate(({"lists": lists}, {"splits": ["test"]})):
        notes = list(prepare([table], tmp_path / f"asked{number}", **asked).notes())
        assert any(note.startswith("few: ") for note in notes) == ("lists" in asked)
        assert not any("--splits" in note for note in notes)
