"""Whatever lies on disk is what its type says, or one line that says where it is not."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import inf, nan
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.errors import CorruptFileError, MlcmrError
from mlcmr.reading import (
    Count,
    Many,
    Name,
    Number,
    dump_yaml,
    parse_json,
    parse_yaml,
    read_json,
    read_json_lines,
    read_yaml,
)
from tests.helpers.bombs import bomb


@dataclass(frozen=True)
class Inner:
    start: Number
    rows: tuple[Count, Count]


@dataclass(frozen=True)
class Outer:
    name: Name
    kind: Literal["a", "b"]
    size: Count
    parts: Many[Inner]
    note: str | None = None
    checked: bool = False


GOOD = {"name": "clip", "kind": "a", "size": 3, "parts": [{"start": 0.5, "rows": [0, 2]}]}
VALUE = Outer("clip", "a", 3, (Inner(0.5, (0, 2)),))


def refusal(content: bytes, kind: type = Outer) -> str:
    with pytest.raises(CorruptFileError) as refused:
        parse_json(content, kind, "some/file.json", "remove it")
    line = str(refused.value)
    assert line.startswith("some/file.json: ")
    assert line.endswith("; remove it")
    assert "\n" not in line
    assert len(line) < 500
    return line


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(asdict(VALUE)))
    assert read_json(path, Outer, "") == VALUE
    path.write_text("\n".join(json.dumps(asdict(VALUE)) for _ in range(3)))
    assert list(read_json_lines(path, Outer, "")) == [VALUE] * 3
    path.write_text(yaml.safe_dump(GOOD))
    assert read_yaml(path, Outer, "") == VALUE
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert read_json(path, Outer, "") == VALUE == read_yaml(path, Outer, "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": "3"}, "size is '3', but must be a whole number"),
        ({"size": 3.0}, "size"),
        ({"size": True}, "size is true"),
        ({"size": -1}, "size is -1, but must be greater than or equal to 0"),
        ({"size": 2**63}, "size is 9223372036854775808, but must be less than"),
        ({"size": None}, "size is null"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 5000}, "name"),
        ({"kind": "c"}, "kind is 'c', but must be 'a' or 'b'"),
        ({"parts": {}}, "parts is {}, but must be a list"),
        ({"parts": [{"start": 0, "rows": [0]}]}, "parts.0.rows.1 is missing"),
        ({"parts": [{"start": "soon", "rows": [0, 1]}]}, "parts.0.start is 'soon', but must be a number"),
        ({"parts": [{"start": 1e300, "rows": [0, 1]}]}, "parts.0.start"),
        ({"checked": "yes"}, "checked is 'yes', but must be true or false"),
        ({"note": 5}, "note is 5, but must be a text"),
    ],
)
def test_wrong_types_and_sizes_are_named_by_field(change, says):
    assert f"some/file.json: {says}" in refusal(json.dumps(GOOD | change).encode())


@pytest.mark.parametrize("missing", ["name", "kind", "size", "parts"])
def test_a_missing_field_is_named(missing):
    content = {name: value for name, value in GOOD.items() if name != missing}
    assert f": {missing} is missing; " in refusal(json.dumps(content).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"\xff"',
        b'{"name": "\\ud800"}',
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'{"name": ' + b"[" * 300 + b"]" * 300 + b"}",
        b"1" * 10_000,
        b'{"size": ' + b"9" * 100_000 + b"}",
        "{}".encode("utf-16"),
        b"{} {}",
        b"\0",
    ],
)
def test_what_is_no_json_is_one_line(text):
    refusal(text)
    refusal(text, dict[str, Any])


@pytest.mark.parametrize("number", [nan, inf, -inf])
def test_numbers_that_are_none_are_refused_wherever_they_stand(number):
    refusal(json.dumps(GOOD | {"size": number}).encode())
    refusal(json.dumps(GOOD | {"parts": [{"start": number, "rows": [0, 1]}]}).encode())
    refusal(json.dumps(GOOD | {"unknown": number}).encode())


def test_a_name_that_is_there_twice_is_refused():
    text = json.dumps(GOOD)
    assert "'size' is there twice" in refusal(text.replace("{", '{"size": 1, ', 1).encode())
    assert "'start' is there twice" in refusal(text.replace('"rows"', '"start": 1, "rows"').encode())
    # These names are equal only where lists of numbers are left out of the comparison.
    assert parse_json(b'{"a[1]": 1, "a[2]": 2}', dict[str, int], "", "") == {"a[1]": 1, "a[2]": 2}


def test_what_is_not_known_is_passed_over():
    assert parse_json(json.dumps(GOOD | {"later": [1]}).encode(), Outer, "", "") == VALUE


def test_many_faults_take_no_more_memory_than_one():
    content = json.dumps(GOOD | {"parts": [0] * 1_000_000}).encode()
    start = time.monotonic()
    refusal(content)
    assert time.monotonic() - start < 5


def test_lines_are_counted(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n" * 2 + "{}\n")
    with pytest.raises(CorruptFileError, match=r"file.jsonl:3: name is missing; remove it"):
        list(read_json_lines(path, Outer, "remove it"))
    path.write_text(json.dumps(GOOD) + " " * 1000)
    with pytest.raises(CorruptFileError, match=r"file.jsonl:1: longer than 999 bytes"):
        list(read_json_lines(path, Outer, "", most=999))


@pytest.mark.parametrize("read", [read_json, read_yaml, lambda *a, **k: list(read_json_lines(*a, **k))])
def test_only_regular_files_of_a_reasonable_size_are_read(read, tmp_path):
    def refused(path) -> str:
        with pytest.raises(MlcmrError) as error:
            read(path, Outer, "mend it", missing="none there")
        return str(error.value)

    assert refused(tmp_path / "file") == "none there"
    (tmp_path / "text").touch()
    assert refused(tmp_path / "text" / "file") == "none there"
    assert refused(tmp_path).endswith("; mend it")
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == f"{tmp_path}/pipe: cannot be read: not a regular file; mend it"
    assert "not a regular file" in refused("/dev/zero")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    assert "than" in refused(tmp_path / "large")
    assert "cannot be read" in refused(tmp_path / "a\0b")


def test_a_message_that_quotes_a_long_value_loses_its_middle():
    message = str(MlcmrError(f"a.json: {'x' * 10**6} is no number; mend it"))
    assert len(message) < 2100
    assert message.startswith("a.json: xxx")
    assert message.endswith("xxx is no number; mend it")


def test_a_message_is_one_line():
    assert str(MlcmrError("a\nb: it says\r\n  that\u2028this\n")) == "a b: it says that this"


# ─── YAML ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[en, no, on, off, yes, y, n]", ["en", "no", "on", "off", "yes", "y", "n"]),
        ("[true, False]", [True, False]),
        ("{a: null, b: ~, c: }", {"a": None, "b": None, "c": None}),
        ("[12:30:45, 2026-11-29, 0123, 1_000, 0x10, 0o17]", ["12:30:45", "2026-11-29", "0123", 1000, 16, 15]),
        ("[1e-4, 1.5, -2, .5, 1., 1E+3]", [1e-4, 1.5, -2, 0.5, 1.0, 1000.0]),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, p: 3}", {"a": {"p": 1, "q": 2}, "b": {"p": 3, "q": 2}}),
        ("a: {b: &d {<<: &x {p: 1}, p: 3}}\nc: {<<: *d}", {"a": {"b": {"p": 3}}, "c": {"p": 3}}),
        ("", None),
    ],
)
def test_yaml_means_what_it_looks_like(text, value):
    assert parse_yaml(text, "", "") == value


def merges(levels: int) -> str:
    lines = ["a0: &a0 {p: 1, q: 2}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 1000 + "]" * 1000,
        "{a: " * 200,
        "- " * 5000,
        bomb(9),
        bomb(40),
        merges(40),
        "&a [*a]",
        "a: &a {b: {c: *a}}",
        "a: &a {<<: *a}",
        "a: *nowhere",
        "a: 1\nb: 2\na: 3",
        "a: {b: 1, 'b': 2}",
        "? [a, b]\n: c",
        "? {a: b}\n: c",
        "{a: b",
        "a: !!python/object/apply:os.system [ls]",
        "a: !!python/name:os.system",
        "a: !unknown 1",
        "a: !!binary '\xff'",
        "a: !!timestamp 2026-13-45",
        "a: !!int nothing",
        f"a: {'9' * 5000}",
        "a: \x07",
        "a: b: c",
        "--- 1\n--- 2",
        "%YAML 9.9\n--- a",
        "\t- a",
    ],
)
def test_what_is_no_settings_is_one_line(text, tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    start = time.monotonic()
    with pytest.raises(CorruptFileError) as refused:
        read_yaml(path, dict[str, Any], "mend it")
    assert time.monotonic() - start < 5
    line = str(refused.value)
    assert line.startswith(f"{path}:")
    assert line.endswith("; mend it")
    assert "\n" not in line
    assert len(line) < 500


@pytest.mark.parametrize("value", ["2026-11-29", "YQ==", "1"])
def test_values_that_json_has_not_are_refused(value, tmp_path):
    path = tmp_path / "file.yaml"
    tag = {"2026-11-29": "!!timestamp", "YQ==": "!!binary", "1": "!!set {a, b} #"}[value]
    path.write_text(f"a: {tag} {value}")
    with pytest.raises(CorruptFileError, match="not settings"):
        read_yaml(path, dict[str, Any], "")


def test_a_fault_in_yaml_has_its_line(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(CorruptFileError, match=r"file.yaml:3: not YAML: 'a' is there twice; mend it"):
        read_yaml(path, dict[str, Any], "mend it")
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(CorruptFileError, match=r"file.yaml:2: not UTF-8: byte 0xff; mend it"):
        read_yaml(path, dict[str, Any], "mend it")


# PyYAML writes the line end U+0085 so that PyYAML itself reads it as a space.
TEXTS = st.text(st.characters(exclude_characters="\x85", exclude_categories=["Cs"]))


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXTS, st.lists, max_leaves=9))
def test_what_yaml_writes_is_read(value):
    written = yaml.safe_dump({"a": value}, allow_unicode=True)
    assert parse_yaml(written, "", "") == {"a": value}


LOOKS_LIKE_MORE = ["1e5", "0o7", "0x1", "1_0", "no", "null", "~", "", ".5", "<<", "12:30", "2026-11-29"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(
    st.recursive(
        SCALARS | st.sampled_from(LOOKS_LIKE_MORE),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=9,
    )
)
def test_what_is_dumped_is_read_again(value):
    written = dump_yaml({"a": value})
    assert parse_yaml(written, "", "") == {"a": value}
    assert yaml.safe_load(written) == {"a": value}  # as readers of YAML 1.1 do


@given(st.binary() | st.text().map(str.encode))
def test_random_bytes_are_read_or_refused(content):
    with suppress(MlcmrError):
        parse_json(content, dict[str, Any], "", "")
    with suppress(MlcmrError):
        parse_yaml(content, "", "")


def test_no_fault_starts_more_than_the_file_takes():
    # In a process of its own with little memory: a bomb would end it.
    program = """
import resource, sys
from typing import Any
from mlcmr.errors import MlcmrError
from mlcmr.reading import Many, parse_json, parse_yaml
sys.path.insert(0, ".")
from tests.helpers.bombs import bomb
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for parse, text in (
    (lambda text: parse_yaml(text, "", ""), bomb(30)),
    (lambda text: parse_json(text.encode(), dict[str, Any], "", ""), "[" * 5_000_000),
    (lambda text: parse_json(text.encode(), Many[int], "", ""), "[" + '"",' * 2_000_000 + '""]'),
):
    try:
        parse(text)
    except MlcmrError:
        pass
    else:
        sys.exit("not refused")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 200_000  # KiB
