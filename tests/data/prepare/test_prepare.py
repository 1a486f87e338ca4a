"""Annotation files become captions: nothing lost, nothing in two splits, and `check` finds nothing."""

import json
from pathlib import Path

import pytest

from mlcmr.cli import main
from mlcmr.data.captions import read_captions
from mlcmr.data.collection import open_collection
from mlcmr.data.languages import language_code
from mlcmr.data.prepare import prepare
from mlcmr.data.prepare.video_lists import parse_split_lists
from mlcmr.data.scenarios import Scenario, ScenarioKind, read_training_pairs
from mlcmr.errors import CorruptFileError, InvalidValueError
from tests.helpers.annotations import (
    ROWS,
    by_split,
    contents,
    in_language,
    msrvtt,
    problems,
    write,
    write_table,
)

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
    with pytest.raises(CorruptFileError, match=r"without_annotations.json: no captions in it"):
        prepare([bare], tmp_path / "vatex")
    assert prepare([train, bare], tmp_path / "vatex").without_captions == 2
    assert by_split(tmp_path / "vatex") == {"train": {"a"}}


def test_a_vatex_caption_that_two_files_give_differently(tmp_path):
    one = write(tmp_path / "one.json", [{"videoID": "v", "enCap": ["a dog"]}])
    other = write(tmp_path / "other.json", [{"videoID": "v", "enCap": ["a cat"]}])
    assert prepare([one, one], tmp_path / "same", split=["train"]).duplicates == 1
    with pytest.raises(
        CorruptFileError, match=r"other.json, item 1: caption 0 of video 'v' in 'en' was another before"
    ):
        prepare([one, other], tmp_path / "vatex", split=["train"])


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
    with pytest.raises(CorruptFileError, match=r"1kA.csv:2: video 'video1' is in the list of train too"):
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
    with pytest.raises(
        InvalidValueError, match="`language`: give one for all, or one for each of the 2 files"
    ) as caught:
        prepare(files, tmp_path / "other", language=["en", "zh", "de"])
    assert caught.value.parameter == "language"


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
