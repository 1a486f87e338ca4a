"""Caption files: what is read, what is refused and where, and that writing and reading are inverse."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.data.captions import (
    parse_caption_id,
    read_captions,
    scan_captions,
    write_captions,
)
from mlcmr.data.languages import clean_english, language_of_tag
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "toytest.caption.txt"


# Cleaning


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("a man  is   running", "A man is running."),
        ("What's THIS?!", "What s this."),
        ("café – über", "Caf ber."),
        ("3 men", "3 men."),
        ("x", "X."),
        ("under_score", "Under score."),
        ("", ""),
        (" … ?! ", ""),
        ("一只狗", ""),
    ],
)
def test_clean_english(written, cleaned):
    assert clean_english(written) == cleaned


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    once = clean_english(text)
    assert clean_english(once) == once
    assert once.isascii()
    assert "  " not in once


def test_cleaning_keeps_the_published_captions_as_they_were_tokenized(reference_data):
    path = reference_data("golden/tokens.json")
    vocabulary = reference_data("data/bert-base-multilingual-cased/vocab.txt")
    pieces = vocabulary.read_text(encoding="utf-8").split("\n")
    english = [item for item in json.loads(path.read_text())["items"] if item["type"] == "EN"]
    assert len(english) > 50
    for item in english:
        words = " ".join(pieces[i] for i in item["ids"][1:-1]).replace(" ##", "").removesuffix(" .")
        assert clean_english(words) == clean_english(item["caption"])


@pytest.mark.parametrize(
    ("tag", "language"),
    [("enc", "en"), ("en", "en"), ("zh", "zh"), ("zhc", "zh"), ("enc2zh", "zh"), ("zhc2en", "en"),
     ("en2de", "de"), ("de", "de"), ("it", "it"), ("pt-BR", "pt-BR"), ("yue", "yue")],
)  # fmt: skip
def test_language_of_tag(tag, language):
    assert language_of_tag(tag) == language


# Ids


def test_an_id_has_three_parts():
    assert parse_caption_id("a_b-c#enc2zh#12") == ("a_b-c", "enc2zh", "12")


@pytest.mark.parametrize("ending", [".mp4", ".jpg"])
def test_the_ending_of_a_file_is_not_part_of_the_video(ending, file):
    write_captions(file, [(f"video0{ending}#enc#0", "a dog"), (f"a{ending}.jpg#enc#0", "a cat")])
    captions = read_captions(file)
    assert captions.videos == ["video0", f"a{ending}"]
    assert captions.keys == ["video0#0", f"a{ending}#0"]
    assert captions.ids[0] == f"video0{ending}#enc#0"
    assert [parse_caption_id(caption_id).video for caption_id in captions.ids] == captions.videos


BAD_IDS = {
    "abc#zh": "has 2 parts",
    "abc": "has 1 part,",
    "a#b#c#d": "has 4 parts",
    "#enc#0": "empty part",
    "a##0": "empty part",
    "a#enc#": "empty part",
    ".mp4#enc#0": "empty part",
}


@pytest.mark.parametrize(("caption_id", "message"), BAD_IDS.items())
def test_a_malformed_id_is_named_with_file_and_line(caption_id, message, file):
    file.write_text(f"v#enc#0 fine\n{caption_id} a dog\nv#enc#1 fine\n")
    with pytest.raises(CorruptFileError, match=message) as caught:
        read_captions(file)
    assert (caught.value.path, caught.value.line) == (str(file), 2)
    assert str(caught.value).startswith(f"{file}:2: caption id '{caption_id}'")
    with pytest.raises(InvalidValueError, match=message):
        parse_caption_id(caption_id)
    with pytest.raises(InvalidValueError, match=message):
        write_captions(file, [(caption_id, "a dog")])


def test_a_tab_in_place_of_the_space_is_noticed(file):
    file.write_text("v#enc#0 fine\nv#enc#1\ta dog runs\n")
    with pytest.raises(CorruptFileError, match=r"txt:2: caption id 'v#enc#1\\ta' has white space in it"):
        read_captions(file)


def test_a_line_without_an_id(file):
    file.write_text("v#enc#0 fine\n\nv#enc#1 fine\n")
    with pytest.raises(
        CorruptFileError, match=r"txt:2: no caption id, expected '<video>#<tag>#<number> <text>'"
    ):
        read_captions(file)


def test_a_repeated_id_is_named_with_both_lines(file):
    file.write_text("v#enc#0 a\nv#enc#1 b\nv#enc#0 c\n")
    with pytest.raises(
        CorruptFileError, match=r"txt:3: caption id 'v#enc#0' stands in line 1 already"
    ) as caught:
        read_captions(file)
    assert (caught.value.path, caught.value.line) == (str(file), 3)


# Files


def test_no_such_file(tmp_path):
    with pytest.raises(NotFoundError, match=r"absent\.txt: no such file"):
        read_captions(tmp_path / "absent.txt")
    with pytest.raises(MlcmrError, match="cannot be read"):
        read_captions(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "v#enc#0 one\nv#zh#1 二\n",
        "v#enc#0 one\nv#zh#1 二",
        "v#enc#0 one\r\nv#zh#1 二\r\n",
        "v#enc#0 one\r\nv#zh#1 二\r\n\r\n \n",
        "\ufeffv#enc#0 one\r\nv#zh#1 二",
    ],
    ids=["plain", "no last newline", "Windows", "blank at the end", "byte order mark"],
)
def test_line_ends_and_byte_order_marks_do_not_matter(content, file):
    file.write_bytes(content.encode())
    captions = read_captions(file)
    assert captions.ids == ["v#enc#0", "v#zh#1"]
    assert captions.texts == ["one", "二"]
    assert captions.languages == ["en", "zh"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_bad_utf8_is_named_with_its_line_and_byte(mark, file):
    file.write_bytes(mark.encode() + b"v#enc#0 a\nv#enc#1 \xe4\xb8\nv#enc#2 b\xff\n")
    with pytest.raises(CorruptFileError, match=r"txt:2: not UTF-8: byte 0xe4"):
        read_captions(file)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_newlines_end_a_line(separator, file):
    write_captions(file, [("v#zh#0", f"一{separator}二"), ("v#zh#1", "三")])
    assert read_captions(file).texts == [f"一{separator}二", "三"]


def test_an_empty_file_has_no_captions(file):
    file.write_text("")
    assert len(read_captions(file)) == 0


def test_scanning_reads_the_good_lines_and_reports_the_others(file):
    file.write_bytes(b"v#enc#0 a\nv#enc\nv#enc#1 \xff\nv#enc#2 c\nv#enc#0 d\n")
    faults: list[tuple[int, str]] = []
    captions, lines = scan_captions(file, lambda line, kind, message: faults.append((line, kind)))
    assert faults == [(3, "lines that are not UTF-8"), (2, "malformed ids"), (5, "repeated ids")]
    assert captions.ids == ["v#enc#0", "v#enc#1", "v#enc#2", "v#enc#0"]
    assert list(lines) == [1, 3, 4, 5]


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "\r"])
def test_a_text_with_a_line_end_is_not_written(text, file):
    with pytest.raises(InvalidValueError, match="line end"):
        write_captions(file, [("v#enc#0", text)])
    assert not file.exists()


def test_what_cannot_be_read_is_not_written(file):
    for captions, message in [
        ([("v#enc#0", "a"), ("v#enc#0", "b")], "given twice"),
        ([("v w#enc#0", "a")], "white space"),
        ([("v#enc#0", "\ud800")], "surrogates not allowed"),
    ]:
        with pytest.raises(InvalidValueError, match=message):
            write_captions(file, captions)
    assert list(file.parent.iterdir()) == []


NAMES = st.text(
    st.characters(exclude_characters="#\ufeff", exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1
).filter(lambda name: not name.endswith((".mp4", ".jpg")))
TEXTS = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))


@given(
    st.lists(
        st.tuples(st.tuples(NAMES, NAMES, NAMES).map("#".join), TEXTS),
        max_size=8,
        unique_by=lambda caption: unicodedata.normalize("NFC", caption[0]),
    ).map(dict)
)
def test_written_and_read_are_equal(tmp_path_factory, captions):
    path = tmp_path_factory.mktemp("captions") / "toy.caption.txt"
    write_captions(path, captions.items())
    read = read_captions(path)
    captions = {unicodedata.normalize("NFC", caption_id): text for caption_id, text in captions.items()}
    assert dict(zip(read.ids, read.texts, strict=True)) == captions
    assert read.ids == list(captions)
    assert read.videos == [caption_id.split("#")[0] for caption_id in captions]


@pytest.mark.parametrize("collection", ["flickr8kcn", "msrvtt1k", "published-captions/vatex"])
def test_real_caption_files_read_whole(collection, reference_data):
    for path in reference_data(f"data/{collection}/TextData").glob("*test*.caption.txt"):
        captions = read_captions(path)
        assert len(captions) == len(path.read_bytes().strip().split(b"\n"))
        assert not any(text.endswith("\r") for text in captions.texts)
