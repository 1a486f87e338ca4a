"""Annotations that cannot be used are one line that says where, and nothing is written."""

import sys

import pytest

from mlcmr.cli import main
from mlcmr.data.prepare import prepare
from mlcmr.data.prepare.video_lists import parse_split_lists
from mlcmr.errors import (
    CorruptFileError,
    InvalidValueError,
    MissingDependencyError,
    MlcmrError,
    NotFoundError,
)
from tests.helpers.annotations import write

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
        "t.json: sentences.0.sen_id is null, but must be a whole number",
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


def test_a_folder_instead_of_a_file(tmp_path):
    with pytest.raises(InvalidValueError, match=r": a folder, expected a file$"):
        prepare([tmp_path], tmp_path / "mine")


def test_a_missing_file_and_a_missing_column(tmp_path):
    with pytest.raises(NotFoundError, match=r"none.csv: no such file"):
        prepare([tmp_path / "none.csv"], tmp_path / "mine")
    with pytest.raises(NotFoundError, match=r"none.parquet: no such file$"):
        prepare([tmp_path / "none.parquet"], tmp_path / "mine")
    table = write(tmp_path / "t.csv", "video,text\na,b\n")
    with pytest.raises(InvalidValueError, match=r"t.csv: no column 'wo'; there is 'video', 'text'"):
        prepare([table], tmp_path / "mine", video_column="wo", language=["en"])


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mlcmr\[tables\]'"):
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
    with pytest.raises(CorruptFileError, match=r"t.parquet: column 'text' twice; rename one"):
        prepare([tmp_path / "t.parquet"], tmp_path / "mine", language=["en"])


def test_captions_are_never_overwritten(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\na,b\n")
    (tmp_path / "mine" / "TextData").mkdir(parents=True)
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    with pytest.raises(InvalidValueError, match="there are captions already"):
        prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    with pytest.raises(InvalidValueError, match="give one of them"):
        prepare([table], tmp_path / "more", language=["en"], split=["train"], shares=[1, 1, 1])
    with pytest.raises(InvalidValueError, match=r"expected train=FILE"):
        parse_split_lists(["train"])
