"""Tables as people have them: clips of videos, lists in cells, lone quotation marks, what nobody sees."""

import json
import time
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.cli import main
from mlcmr.data.captions import read_captions
from mlcmr.data.prepare import prepare
from mlcmr.data.prepare.cells import clean_text, read_spans, read_texts
from mlcmr.data.prepare.summary import PrepareSummary
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, OutOfResourcesError
from tests.helpers.annotations import write_parquet, write_table

VISIBLE = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=8)


def write(path: Path, content: str | bytes | list) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def prepared(file: Path, **options) -> tuple[list[str], PrepareSummary]:
    """Prepares a file to train on; returns its lines, language after language, and the summary."""
    folder = file.parent / f"of {file.name}"
    summary = prepare([file], folder, **({"split": ["train"]} | options))
    paths = sorted(path for path in (folder / "TextData").iterdir() if "_half" not in path.name)
    return [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()], summary


def english(file: Path, **options) -> list[str]:
    return prepared(file, language=["en"], **options)[0]


def copy(path: Path, folder: Path) -> Path:
    return write(folder / path.name, path.read_bytes())


# ─── clips of videos ─────────────────────────────────────────────────────────────────────────────────────


def test_two_clips_of_one_video(cases, tmp_path):
    lines, summary = prepared(copy(cases / "clips_of_one_video.csv", tmp_path))
    assert lines == [
        "aB3dE5fG7hI_33_46#enc#0 A parrot takes a shower.",
        "aB3dE5fG7hI_50_60#enc#0 A man opens a window.",
        "-zz_9yXwVuT_1_5#enc#1 A dog digs a hole.",
        "aB3dE5fG7hI_33_46#sl#0 Papiga se tušira.",
        "aB3dE5fG7hI_33_46#zh#0 一只鹦鹉在洗澡。",
    ]
    assert summary.blank == 1


def test_clips_of_one_video_are_in_one_split(tmp_path):
    rows = [f"video{n // 4},{n},{n + 1},A dog runs." for n in range(80)]
    lines, summary = prepared(
        write(tmp_path / "clips.csv", "\n".join(["video,start,end,caption", *rows])),
        split=[],
        language=["en"],
    )
    folder = tmp_path / "of clips.csv" / "TextData"
    videos = {
        split: {line.partition("_")[0] for line in path.read_text().splitlines()}
        for split in ("train", "val", "test")
        for path in folder.glob(f"*{split}.caption.txt")
    }
    assert [len(videos[split]) for split in ("train", "val", "test")] == [16, 2, 2]
    assert len(set.union(*videos.values())) == 20
    assert len(lines) == 80
    assert "clips of one video are in one split" in summary.split_source


def test_clips_of_too_few_videos_are_split_all_the_same(tmp_path):
    rows = [f"video,{n},{n + 1},A dog runs." for n in range(10)]
    _, summary = prepared(
        write(tmp_path / "clips.csv", "\n".join(["video,start,end,caption", *rows])),
        split=[],
        language=["en"],
    )
    assert summary.videos == {("train", "en"): 8, ("val", "en"): 1, ("test", "en"): 1}
    assert "one split" not in summary.split_source


@pytest.mark.parametrize(
    ("heading", "cells"),
    [
        ("VideoID,Start,End", "{},33,46"),
        ("youtube_id,start_time,end_time", "{},33.0,46.0"),
        ("video_id,start time,end time", "{},00:33,00:46"),
        ("video,clip_start,clip_end", "{},0:00:33.000,00:00:46"),
        ("video_id,timestamp", '{},"[33, 46]"'),
        ("videoID,timestamps", "{},\"[['0:00:33.000', '0:00:46']]\""),
        ("id,start_sec,end_sec", "{}.mp4,33s,46 sec"),
        ("video,t_start,t_end", "{},33,46"),
        ("video,start_timestamp,end_timestamp", "{},0:33,0:46"),
    ],
)
def test_every_spelling_of_start_and_end(heading, cells, tmp_path):
    rows = [f"{cells.format('v')},first", f"{cells.format('v').replace('46', '47')},second"]
    file = write(tmp_path / "t.csv", "\n".join([f"{heading},caption", *rows]))
    assert english(file) == ["v_33_46#enc#0 first", "v_33_47#enc#0 second"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "names",
    ["from to", "From To", "from_sec to_sec", "fromTime toTime", "from_seconds to_seconds",
     "start_frame end_frame", "frame start,frame end", "first_frame last_frame"],
)  # fmt: skip
def test_further_spellings_of_start_and_end(names, kind, tmp_path):
    start, end = names.split("," if "," in names else " ")
    rows = [{"video": "v", "caption": str(i), start: 33.0, end: 46 + i} for i in range(2)]
    rows.append({"video": "w", "caption": "2", start: None, end: None})
    file = tmp_path / f"t.{kind}"
    if kind == "csv":
        write_table(file, rows)
    elif kind == "parquet":
        write_parquet(file, rows)
    else:
        write(file, "\n".join(map(json.dumps, rows)))
    lines, summary = prepared(file, language=["en"])
    assert lines == ["v_33_46#enc#0 0", "v_33_47#enc#0 1", "w#enc#0 2"]
    assert summary.clip_id == "v_33_46"


def test_times_go_before_frames_and_pairs_are_not_mixed(tmp_path):
    both = write(
        tmp_path / "both.csv", "id,start_frame,end_frame,from,to,text\nv,25,50,1,2,a\nv,50,75,2,3,b\n"
    )
    assert english(both) == ["v_1_2#enc#0 a", "v_2_3#enc#0 b"]
    texts = write(
        tmp_path / "t.csv", "id,from,to,start_frame,end_frame,text\nv,en,de,25,50,a\nv,en,zh,50,75,b\n"
    )
    assert english(texts) == ["v_25_50#enc#0 a", "v_50_75#enc#0 b"]
    parts = write(tmp_path / "p.csv", "id,from,start_frame,end_frame,text\nv,1,25,50,a\nv,2,50,75,b\n")
    assert english(parts) == ["v_25_50#enc#0 a", "v_50_75#enc#0 b"]


@pytest.mark.parametrize("cell", ["2024-01-01", "7", "[1, 2]"])
def test_a_timestamp_that_is_no_span_leaves_room_for_from_and_to(cell, tmp_path):
    rows = [{"video": "v", "text": str(i), "timestamp": cell, "from": i, "to": i + 1} for i in range(2)]
    expected = ["v#enc#0 0", "v#enc#1 1"] if cell == "[1, 2]" else ["v_0_1#enc#0 0", "v_1_2#enc#0 1"]
    assert english(write_table(tmp_path / "t.csv", rows)) == expected


def test_clips_of_from_and_to_in_several_files(tmp_path):
    first = write(tmp_path / "one.csv", "video,from,to,text\nv,1,2,a dog\nw,1,2,a cat\n")
    second = write(tmp_path / "two.csv", "video,from,to,text\nv,2,3,a pig\n")
    lists = {"test": write(tmp_path / "list.csv", "video,from,to\nv,2.0,3.0\nw,1,2\n")}
    prepare([first, second], tmp_path / "c", language="en", split_lists=lists)
    assert read_captions(tmp_path / "c/TextData/ctest.caption.txt").videos == ["w_1_2", "v_2_3"]
    chinese = write(tmp_path / "zh.csv", "video,from,to,text\nv,2,3,猪\n")
    prepare(chinese, tmp_path / "c", language="zh")
    assert read_captions(tmp_path / "c/TextData/ctest_zh.caption.txt").videos == ["v_2_3"]


def test_start_and_end_may_be_mere_facts_about_a_video(tmp_path):
    rows = [
        {"video_id": f"video{i}", "video": f"video{i}.mp4", "caption": ["a dog", "a cat"],
         "start time": 1.5 * i, "end time": 9, "source": "MSR-VTT", "url": "u"}
        for i in range(2)
    ]  # fmt: skip
    lines, summary = prepared(write(tmp_path / "msrvtt_train_9k.json", rows), language=["en"])
    assert lines == [
        f"video{i}#enc#{n} {text}" for i in range(2) for n, text in enumerate(("a dog", "a cat"))
    ]
    assert any("ids: without start and end (video0)" in note for note in summary.lines())
    asked = {"start_column": "start time", "end_column": "end time"}
    file = write(tmp_path / "again.json", rows)
    assert english(file, **asked)[0] == "video0_0_9#enc#0 a dog"
    dates = write(tmp_path / "dates.csv", "video,start,end,timestamp,caption\nv,2024-01-01,x,now,a dog\n")
    assert english(dates) == ["v#enc#0 a dog"]


def test_a_clip_of_a_youtube_video_is_called_so_even_alone(tmp_path):
    for name, heading in enumerate(("youtube_id,start_time,end_time", "video,start,end")):
        file = write(tmp_path / f"{name}.csv", f"{heading},caption\naB3dE5fG7hI,1,2.5,a dog\n")
        assert english(file) == ["aB3dE5fG7hI_1_2.5#enc#0 a dog"]


def test_each_caption_of_a_list_has_its_own_stretch(tmp_path):
    row = {
        "videoID": "v",
        "timestamp": "[['0:00', '0:05'], ['0:05', '0:09.5']]",
        "caption": "['a dog', 'a cat']",
    }
    assert english(write(tmp_path / "t.json", [row])) == ["v_0_5#enc#0 a dog", "v_5_9.5#enc#0 a cat"]
    row["caption"] = "['a', 'b', 'c']"
    with pytest.raises(CorruptFileError, match=r"t.json, item 1: 3 captions for 2 spans of the video"):
        prepare([write(tmp_path / "t.json", [row])], tmp_path / "c", language=["en"])


def test_clips_that_cannot_be_told_apart_are_refused(tmp_path):
    file = write(tmp_path / "t.csv", "video,start,end,caption\nv,1,2,a\nv,soon,3,b\n")
    with pytest.raises(
        CorruptFileError, match=r"t.csv:3: column 'start': 'soon' is no time; expected seconds, mm:ss"
    ):
        prepare([file], tmp_path / "c", language=["en"])


@pytest.mark.parametrize("end", ["00:01", "0.5", "1.0004"])
def test_a_clip_that_ends_before_it_begins_is_refused(end, tmp_path, capsys):
    rows = f"v,1,2,a dog\nv,1,{end},a cat\n"
    file = write(tmp_path / "t.csv", f"video,start,end,caption\n{rows}")
    assert main(["prepare", str(file), "--collection", str(tmp_path / "c"), "--language", "en"]) == 2
    assert (
        f"t.csv:3: column 'start': the end, '{end}', is not after the start, '1'\n" in capsys.readouterr().err
    )
    pairs = write(
        tmp_path / "t.json", [{"videoID": "v", "timestamps": [[0, 5], [5, 5]], "caption": ["a", "b"]}]
    )
    with pytest.raises(
        CorruptFileError, match=r"t.json, item 1: column 'timestamps': the end, 5, is not after the"
    ):
        prepare([pairs], tmp_path / "c", language=["en"], start_column="timestamps")


def test_lists_of_videos_name_clips_too(tmp_path):
    file = write(tmp_path / "t.csv", "VideoID,Start,End,caption\nv,1,2,a dog\nv,2,3,a cat\n")
    lists = {"test": write(tmp_path / "list.csv", "VideoID,Start,End\nv,2.0,3.0\n")}
    prepare([file], tmp_path / "c", language=["en"], split_lists=lists)
    assert read_captions(tmp_path / "c/TextData/ctest.caption.txt").videos == ["v_2_3"]


@given(st.integers(0, 10**7))
def test_a_time_is_the_same_however_it_is_written(milliseconds):
    seconds = milliseconds / 1000
    hours, minutes, rest = int(seconds // 3600), int(seconds // 60 % 60), milliseconds % 60_000
    clock = f"{hours}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"
    assert (
        len(
            {
                *read_spans([seconds]),
                *read_spans([f"{seconds:.3f}"]),
                *read_spans([clock]),
                *read_spans([clock.replace(".", ",")]),
            }
        )
        == 1
    )
    assert float(read_spans([clock])[0]) == seconds


def test_ids_that_differ_in_case_or_in_the_form_of_accents(tmp_path):
    nfd = unicodedata.normalize("NFD", "é")
    lines, summary = prepared(
        write(tmp_path / "t.csv", f"video,caption\nVideo1,a\nvideo1,b\né,c\n{nfd},d\n"), language=["en"]
    )
    assert lines == ["Video1#enc#0 a", "video1#enc#0 b", "é#enc#0 c", "é#enc#1 d"]
    assert (
        "ids: Video1 and video1 differ only in upper and lower case; they are two videos" in summary.lines()
    )


# ─── languages ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_language_that_is_none_loses_its_own_rows(tmp_path):
    file = write(
        tmp_path / "t.csv", "video,language,caption\nv,English,a dog\nv,Elvish,x\nw,,y\nw,Elvish,z\n"
    )
    lines, summary = prepared(file)
    assert lines == ["v#enc#0 a dog"]
    assert "left out: captions in unknown languages: 'Elvish' 2, '' 1" in summary.lines()
    with pytest.raises(
        InvalidValueError, match=r"t.csv:2: column 'language': 'kr' is the code of Kanuri and of South Korea"
    ):
        prepare([write(file, "video,language,caption\nv,kr,x\n")], tmp_path / "c")


# ─── lists in cells ──────────────────────────────────────────────────────────────────────────────────────

LISTS = [
    "['a dog', \"it's a cat\"]",
    '["a dog", "it\'s a cat"]',
    "['a dog' \"it's a cat\"]",
    "['a dog'\n \"it's a cat\"]",
    "array(['a dog', \"it's a cat\"], dtype=object)",
    "('a dog', 'it\\'s a cat',)",
]


@pytest.mark.parametrize("cell", LISTS)
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_list_of_captions_that_is_written_as_text(cell, kind, tmp_path):
    file = tmp_path / f"t.{kind}"
    if kind == "parquet":
        write_parquet(file, [{"video": "v", "caption": cell}])
    elif kind == "jsonl":
        write(file, json.dumps({"video": "v", "caption": cell}))
    else:
        break_ = "," if kind == "csv" else "\t"
        quoted = cell.replace('"', '""')
        write(file, f'video{break_}caption\nv{break_}"{quoted}"\n')
    assert english(file) == ["v#enc#0 a dog", "v#enc#1 it's a cat"]


@pytest.mark.parametrize("cell", ["[]", "[ ]", " [\n] ", "['', None]"])
def test_an_empty_list_is_a_blank_caption(cell):
    assert not any(read_texts("t.csv:2", "caption", cell))


def test_the_table_with_a_list_in_a_cell(cases, tmp_path):
    assert english(copy(cases / "list_in_a_cell.csv", tmp_path)) == ["v1#enc#0 a dog", "v1#enc#1 a cat"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_list_is_read_as_it_was_printed(captions):
    assert read_texts("t.csv:2", "caption", repr(captions)) == captions
    assert read_texts("t.csv:2", "caption", json.dumps(captions)) == captions


@pytest.mark.parametrize(
    "text",
    [
        "[music] plays",
        "[music] a man sings, [applause]",
        "(a dog) runs",
        "(a dog, a cat)",
        "[laughs]",
        "('Hi' she said)",
        "['a dog'] and more",
        "[ ",
        "a ['b']",
    ],
)
def test_brackets_that_are_no_list_are_text(text):
    assert read_texts("t.csv:2", "caption", text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "['a dog', 'a c",
        "['a' 'b' ... 'z']",
        "['it's bad']",
        "['a dog'], ['a cat']",
        "[{'caption': 'a'}]",
        "[['a'], ['b']]",
        "['a dog', a cat]",
    ],
)
def test_lists_that_cannot_be_read_are_refused(text):
    message = (
        r"t.csv:2: column 'caption': a list of texts that cannot be read at .*; write a list as \['a dog'"
    )
    with pytest.raises(CorruptFileError, match=message):
        read_texts("t.csv:2", "caption", text)


@pytest.mark.parametrize(
    "text", ["[a dog, a cat]", " [一只狗, 一只猫]\n", '{a dog,"a cat"}', "[music, applause]"]
)
def test_a_list_without_quotation_marks_is_refused_as_it_may_be_a_text(text, tmp_path, capsys):
    file = write(tmp_path / "t.jsonl", json.dumps({"video": "v", "caption": text}))
    assert main(["prepare", str(file), "--collection", str(tmp_path / "c"), "--language", "en"]) == 2
    error = capsys.readouterr().err
    assert "t.jsonl:1: column 'caption': " in error
    assert "may be a text or a list of texts; write a list as ['a dog', " in error
    assert error.count("\n") == 1
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("text", ["[" + "," * 130_000, "[" * 130_000, "['" * 60_000, "[" + "'a'" * 40_000])
def test_a_cell_that_is_nearly_a_list_takes_no_time(text):
    started = time.process_time()  # a busy machine does not count
    with suppress(MlcmrError):
        read_texts("t.csv:2", "caption", text)
    assert time.process_time() - started < 2


# ─── quotation marks ─────────────────────────────────────────────────────────────────────────────────────


def test_a_tsv_without_quoting(cases, tmp_path):
    assert english(copy(cases / "quote_in_tsv.tsv", tmp_path)) == [
        'v1#enc#0 "A man sings',
        "v2#enc#0 a dog runs",
        'v3#enc#0 a TV of 42"',
        "v4#enc#0 end",
    ]
    file = write(tmp_path / "t.tsv", 'video\tcaption\nv\t"Hello" she says\nw\t"Hi"\nx\t"\n')
    assert english(file) == ['v#enc#0 "Hello" she says', 'w#enc#0 "Hi"', 'x#enc#0 "']


def test_a_tsv_with_quoting(tmp_path):
    file = write(tmp_path / "t.tsv", 'video\tcaption\nv\t"a ""big""\tdog\nruns"\nw\t"a cat"\n')
    assert english(file) == ['v#enc#0 a "big" dog runs', "w#enc#0 a cat"]


@pytest.mark.parametrize("close", ['v3,a TV of 42"', "v3,a TV", 'v3,"a cat"'])
def test_a_lone_mark_in_a_csv_swallows_no_rows(close, tmp_path):
    file = write(
        tmp_path / "t.csv", f'video,caption\nv0,"a dog, a cat"\nv1,"A man sings\nv2,a dog\n{close}\nv4,end\n'
    )
    with pytest.raises(CorruptFileError, match=r"t.csv:3: quotation marks do not match"):
        prepare([file], tmp_path / "c", language=["en"])


def test_texts_of_several_lines_in_a_csv(tmp_path):
    file = write(tmp_path / "t.csv", 'video,caption\nv,"a dog\nruns, fast,\n\nand barks"\nw,"one\ntwo"\n')
    assert english(file) == ["v#enc#0 a dog runs, fast, and barks", "w#enc#0 one two"]


# ─── what nobody sees ────────────────────────────────────────────────────────────────────────────────────


def test_captions_of_nothing_that_is_seen_are_blank(cases, tmp_path):
    lines, summary = prepared(copy(cases / "invisible.csv", tmp_path), language=["en"])
    assert [line.partition("#")[0] for line in lines] == [f"v{i}" for i in range(3, 10)]
    assert lines[1] == "v4#enc#0 ab"
    assert summary.blank == summary.without_captions == 2
    assert any("left out: blank captions: 2" in note for note in summary.lines())


INVISIBLE = (
    "\u200b\ufeff\u200e\u00ad\0\u00a0\u3000\u2060\u180e\u3164\u2800\u115f\ufe0f\u0301\ud83d\x07\u2028\u034f"
)


@given(st.text(st.sampled_from(INVISIBLE)))
def test_whatever_is_not_seen_is_blank(text):
    assert clean_text(text) == ""


UNSEEN = [
    *map(chr, [*range(0x202A, 0x202F), *range(0x2060, 0x2070)]),
    *"\xad\u061c\u180e\u200b\u200e\u200f\ufeff\ufff9",
]


@pytest.mark.parametrize("character", [*UNSEEN, "\u200c", "\u200d", "\U000e0041"], ids=ascii)
def test_invisible_characters_are_removed(character):
    assert clean_text(f"{character}a {character}d{character}og{character}") == "a dog"
    assert clean_text(f"一{character}只{character}狗") == "一只狗"


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",  # Persian
        "क\u094d\u200dष न\u094d\u200cन",  # Hindi
        "র\u200d\u09cdয",  # Bengali
        "ශ්\u200dරී",  # Sinhala
        "👨\u200d👩\u200d👧 👩🏽\u200d🚀 ❤\ufe0f\u200d🔥",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "\u0600\u0661",  # a sign that is seen, though its category is that of formats
    ],
)
def test_joiners_that_carry_meaning_stay(text):
    assert clean_text(text) == text
    assert clean_text("\u202b".join([*text, ""])) == text


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    assert clean_text(clean_text(text)) == clean_text(text)


@given(VISIBLE, st.text(st.sampled_from(INVISIBLE.replace("\ud83d", ""))))
def test_what_is_seen_stays(seen, unseen):
    def ink(text: str) -> list[str]:
        return [one for one in text if one not in INVISIBLE and not one.isspace()]

    shown = clean_text(f"{seen}{unseen}a")
    assert "\0" not in shown
    assert ink(shown) == [*ink(seen), "a"]


def test_names_have_nothing_invisible_around_them(tmp_path):
    file = write(
        tmp_path / "t.csv", "video,language,split,caption\n\ufeffv1\u200b,\u00a0en\u200e,train\u3000,a dog\n"
    )
    assert prepared(file, split=[])[0] == ["v1#enc#0 a dog"]


# ─── lines and encodings ─────────────────────────────────────────────────────────────────────────────────


def test_line_ends_of_old_macs(cases, tmp_path):
    assert english(copy(cases / "cr_line_ends.csv", tmp_path)) == ["v1#enc#0 a dog", "v2#enc#0 a cat"]
    captions = write(tmp_path / "x.caption.txt", b"v#enc#0 a dog\rw#enc#0 a cat\r")
    assert read_captions(captions).texts == ["a dog", "a cat"]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;\r", "sep=;;;"])
def test_the_line_by_which_excel_says_the_separator(first, tmp_path):
    file = write(tmp_path / "t.csv", f"{first}\nvideo,name;caption\nv;a dog, a cat\n")
    assert english(file, video_column="video,name") == ["v#enc#0 a dog, a cat"]
    with pytest.raises(CorruptFileError, match=r"t.csv:3: 3 columns, the first line has 2"):
        prepare([write(file, f"{first}\nvideo;caption\nv;a;b\n")], tmp_path / "c", language=["en"])


def test_one_table_may_have_line_ends_of_every_kind(tmp_path):
    """As tables have that were put together from several files."""
    content = b'video,caption\rv,"a dog"\r\nw,a cat\rx,a pig\ny,"a\rhen"\r\n'
    assert english(write(tmp_path / "t.csv", content)) == [
        "v#enc#0 a dog",
        "w#enc#0 a cat",
        "x#enc#0 a pig",
        "y#enc#0 a hen",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_forms_of_unicode(encoding, ends, tmp_path):
    content = ends.join(["video;caption", "v;größer 一只猫", ""])
    assert english(write(tmp_path / "t.csv", content.encode(encoding))) == ["v#enc#0 größer 一只猫"]


@pytest.mark.parametrize(
    ("encoding", "text", "said"),
    [
        ("cp1252", "un élève écoute la leçon de français à l'école", "cp125"),
        ("gbk", "一只猫在沙发上睡觉。一个男人在打篮球，旁边有很多人在看", "gb"),
        ("shift_jis", "猫がソファで寝ている。男の人が走っている", "shift-jis"),
        ("euc_kr", "고양이가 소파에서 자고 있다", "euc-kr"),
    ],
)
def test_other_encodings_are_refused_by_name(encoding, text, said, tmp_path):
    file = write(tmp_path / "t.csv", f"video,caption\nv,a dog\nw,{text}\n".encode(encoding))
    with pytest.raises(
        CorruptFileError, match=rf"t.csv:3: not UTF-8: byte 0x.. \(perhaps .*{said}.*\); save it as UTF-8"
    ):
        prepare([file], tmp_path / "c", language=["en"])


# ─── published data sets ─────────────────────────────────────────────────────────────────────────────────


def test_vatex_with_further_keys(cases, tmp_path):
    lines, _ = prepared(copy(cases / "vatex_extra_key.json", tmp_path))
    assert lines[:2] == ["v0_000001_000011#enc#0 a", "v0_000001_000011#enc#1 b"]
    assert lines[-2:] == ["v3_000001_000011#zh#0 甲", "v3_000001_000011#zh#1 乙"]
    assert len(lines) == 16


@pytest.mark.parametrize("kind", ["json", "jsonl", "parquet"])
def test_vatex_in_every_kind_of_file(kind, tmp_path):
    rows = [{"videoID": "v", "url": "u", "enCap": ["a", "", "c"], "chCap": ["甲", "乙", "丙"]}]
    file = tmp_path / f"vatex.{kind}"
    if kind == "parquet":
        write_parquet(file, rows)
    else:
        write(file, rows if kind == "json" else json.dumps(rows[0]))
    assert prepared(file)[0] == ["v#enc#0 a", "v#enc#2 c", "v#zh#0 甲", "v#zh#2 丙"]


def test_msrvtt_with_further_keys(tmp_path):
    content = {
        "info": {"year": 2016},
        "videos": [{"video_id": "video7010", "split": "test", "category": 1, "id": 7010, "start time": 1.0}],
        "sentences": [{"video_id": "video7010", "caption": "a dog", "sen_id": 1, "lang": "x"}],
        "licence": None,
    }
    file = write(tmp_path / "test_videodatainfo.json", json.dumps(content))
    assert prepared(file, split=[])[0] == ["video7010#enc#0 a dog"]


# ─── files that are out of proportion ────────────────────────────────────────────────────────────────────


def test_parquet_that_would_fill_the_memory(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs mlcmr[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 20_000, "int32"), ["a" * 100_000])
    names = pyarrow.array([f"v{i}" for i in range(20_000)])
    parquet.write_table(pyarrow.table({"video": names, "caption": texts}), tmp_path / "words.parquet")
    many = pyarrow.table({"video": pyarrow.repeat("v", 5_000_000), "caption": pyarrow.repeat("a", 5_000_000)})
    parquet.write_table(many, tmp_path / "rows.parquet")
    for name in ("words", "rows"):
        assert (tmp_path / f"{name}.parquet").stat().st_size < 1 << 20
        with pytest.raises(OutOfResourcesError, match=rf"{name}.parquet: .* bytes would become more than"):
            prepare([tmp_path / f"{name}.parquet"], tmp_path / "c", language=["en"])


def test_parquet_with_odd_columns(tmp_path):
    row = {
        "video": "v",
        "caption": ["a dog"],
        "caption.list": "x",
        "": 1,
        "{Parser}\n": 2,
        "deep": {"a": [{"b": 1}]},
    }
    assert english(write_parquet(tmp_path / "t.parquet", [row])) == ["v#enc#0 a dog"]
    with pytest.raises(CorruptFileError, match="column 'deep' is neither a text nor a list of texts"):
        prepare([tmp_path / "t.parquet"], tmp_path / "c", language=["en"], text_column="deep")
    named = write_parquet(tmp_path / "n.parquet", [{"v.i.d": "v", "v": "x", "a caption": "a dog"}])
    assert english(named, video_column="v.i.d", text_column="a caption") == ["v#enc#0 a dog"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_very_many_columns(kind, tmp_path):
    names = ["video", "caption", *(f"c{i}" for i in range(50_000))]
    values = ["v", "a dog", *("x" for _ in range(50_000))]
    content = (
        f"{','.join(names)}\n{','.join(values)}\n"
        if kind == "csv"
        else json.dumps(dict(zip(names, values, strict=True)))
    )
    assert english(write(tmp_path / f"t.{kind}", content)) == ["v#enc#0 a dog"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", '[{"video": "v", "caption": ' + "[" * 100_000 + "]" * 100_000 + "}]"),
        ("t.jsonl", '{"video": "v", "caption": ' + '{"a":' * 100_000 + "1" + "}" * 100_001),
        ("t.json", '[{"video": ' + "1" * 10_000 + ', "caption": "a"}]'),
        ("t.jsonl", json.dumps({"video": "v", "caption": "a" * 200_000})),
        ("t.csv", 'video,caption\nv,"' + "a" * 200_000 + '"\n'),
    ],
)
def test_what_is_too_deep_or_too_large_is_one_line(name, content, tmp_path, capsys):
    file = write(tmp_path / name, content)
    assert main(["prepare", str(file), "--collection", str(tmp_path / "c"), "--language", "en"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert name in error
    assert len(error) < 500


def test_a_named_pipe_is_no_file(tmp_path):
    import os

    for name in ("t.csv", "t.parquet"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(MlcmrError, match=name):
            prepare([tmp_path / name], tmp_path / "c", language=["en"])


def test_a_parquet_file_that_ends_the_process_of_pyarrow_is_one_line(tmp_path):
    """Its footer has a histogram of another size than its schema, at which pyarrow calls `abort`."""
    content = (Path(__file__).parents[2] / "fuzz/corpus/parquet/ab5b444197cd").read_bytes()
    (tmp_path / "in.parquet").write_bytes(content)
    with pytest.raises(
        CorruptFileError, match=r"in\.parquet, row 1: cannot be read: .*histogram size mismatch"
    ):
        prepare([tmp_path / "in.parquet"], tmp_path / "out")
