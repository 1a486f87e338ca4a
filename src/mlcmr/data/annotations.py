"""Annotation files: captions as data sets publish them, or as tables that people make.

VATEX's and MSR-VTT's JSON are known by what is in them; everything else is a table: CSV, TSV, JSON lines, a
JSON list of objects, or Parquet (`pip install 'mlcmr[tables]'`).
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from mlcmr.data.captions import decode_lines
from mlcmr.data.languages import language_code
from mlcmr.errors import UserError

_NAMES_OF_SPLITS = {
    "train": "train training",
    "val": "val valid validate validation dev development",
    "test": "test testing",
}
_SPLIT_OF = {word: split for split, words in _NAMES_OF_SPLITS.items() for word in words.split()}
_VATEX = {"enCap": "en", "chCap": "zh"}
# By what name columns are found when nobody says it, the likeliest first.
_GUESSES = {
    "video": "video videoid vid videoname videofile videopath clip clipid clipname filename file path image "
    "imageid id",
    "text": "caption captions text texts sentence sentences description descriptions",
    "language": "language lang locale",
    "split": "split subset partition",
}
_TABLES = ".csv, .tsv, .txt, .json, .jsonl, .ndjson, .parquet"

Row = Mapping[str, Any]


class Annotation(NamedTuple):
    """One caption as its file gives it.

    Attributes:
        video: The video's name there, which may be a file's.
        language: Its ISO 639 code.
        text: The caption; None where a video is named without one.
        split: `train`, `val` or `test`; None where the file does not say.
        number: Which caption of the video it is, where that says which captions of different languages belong
            together.
        where: Its place, for messages.
    """

    video: str
    language: str
    text: str | None
    split: str | None
    number: int | None
    where: str


@dataclass(frozen=True, slots=True)
class Columns:
    """How the columns of a table are called; None takes the likeliest of those there are."""

    video: str | None = None
    text: str | None = None
    language: str | None = None
    split: str | None = None


@dataclass(slots=True)
class _Table:
    path: Path
    names: list[str]
    rows: Iterable[tuple[str, Row]]
    heading: str  # where its columns are named
    column_of: dict[str, str | None] = field(default_factory=dict)

    def find(self, columns: Columns) -> None:
        """Finds out which column is which."""
        plain = {re.sub("[^a-z0-9]", "", name.lower()): name for name in reversed(self.names)}
        for kind in (one.name for one in fields(columns)):
            name = getattr(columns, kind)
            if name is None:
                name = next((plain[guess] for guess in _GUESSES[kind].split() if guess in plain), None)
            elif name not in self.names:
                raise UserError(f"{self.path}: no column '{name}'; there is {self._listed()}")
            if name is not None and self.names.count(name) > 1:  # a row would keep only the last
                raise UserError(f"{self.heading}: column '{name}' twice; rename one")
            self.column_of[kind] = name

    def require(self, kind: str, instead: str = "") -> str:
        """The column of this kind."""
        name = self.column_of[kind]
        if name is None:
            wanted = "captions" if kind == "text" else f"the {kind}"
            raise UserError(
                f"{self.path}: no column for {wanted}; there is {self._listed()}; name it with "
                f"--{kind}_column{instead} (the first line of a CSV or TSV names its columns)"
            )
        return name

    def _listed(self) -> str:
        return ", ".join(f"'{name:.40}'" for name in self.names[:20]) or "none"


def read_annotations(
    path: Path, columns: Columns | None = None, language: str | None = None
) -> Iterator[Annotation]:
    """Reads the captions of one file.

    Args:
        path: VATEX's or MSR-VTT's JSON, or a table.
        columns: How a table's columns are called.
        language: The language of all its captions, for tables without such a column; MSR-VTT is English
            unless this says otherwise, VATEX says it itself.

    Raises:
        UserError: it cannot be read, lacks a column, or a row is malformed; with file, place and column.
    """
    content: Any = _load_json(path) if path.suffix.lower() == ".json" else None
    if isinstance(content, dict) and {"videos", "sentences"} <= content.keys():
        return _read_msrvtt(path, content, language or "en")
    if _is_vatex(content):
        return _read_vatex(path, content)
    return _read_table(_open_table(path, content), columns or Columns(), language)


def read_videos(path: Path, columns: Columns | None = None) -> list[str]:
    """The videos that a file lists: a table's column, or the lines of a text without one."""
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in decode_lines(path)]
        return [line for line in lines if line]
    table = _open_table(path, _load_json(path) if path.suffix.lower() == ".json" else None)
    table.find(Columns(video=columns.video if columns else None))
    name = table.require("video")
    return [_word(where, name, row) for where, row in table.rows]


def split_by_name(path: Path) -> str | None:
    """The split that a file's name says: `vatex_validation_v1.0.json`; None when it says none or several."""
    words = re.split("[^a-z]+", path.name.lower())
    splits = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
    return splits.pop() if len(splits) == 1 else None


def split_code(word: str) -> str:
    """`train`, `val` or `test`, by any of their usual names.

    Raises:
        UserError: it is none.
    """
    try:
        return _SPLIT_OF[word.strip().lower()]
    except KeyError:
        raise UserError(f"split '{word:.40}' is none of {', '.join(_SPLIT_OF)}") from None


# ─── published data sets ─────────────────────────────────────────────────────────────────────────────────


def _is_vatex(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "videoID" in first and first.keys() <= {"videoID", *_VATEX}


def _read_vatex(path: Path, content: list[Any]) -> Iterator[Annotation]:
    for place, item in enumerate(content, start=1):
        where = f"{path}, item {place}"
        row = _object(where, item)
        video = _word(where, "videoID", row)
        if not any(row.get(name) for name in _VATEX):
            yield Annotation(video, "en", None, None, None, where)
        for name, language in _VATEX.items():
            for number, text in enumerate(_texts(where, name, row.get(name) or [])):
                yield Annotation(video, language, text, None, number, where)


def _read_msrvtt(path: Path, content: dict[str, Any], language: str) -> Iterator[Annotation]:
    split_of: dict[str, str | None] = {}
    for place, item in enumerate(_list(path, content, "videos"), start=1):
        where = f"{path}, video {place}"
        row = _object(where, item)
        split = _value(where, "split", row, split_code) if "split" in row else None
        split_of[_word(where, "video_id", row)] = split
    sentences = []
    for place, item in enumerate(_list(path, content, "sentences"), start=1):
        where = f"{path}, sentence {place}"
        sentence = _object(where, item)
        number = sentence.get("sen_id", place)
        if not isinstance(number, int):
            raise UserError(f"{where}: 'sen_id' is no number: {number!r:.40}")
        sentences.append((number, place, where, sentence))
    for *_, where, sentence in sorted(sentences, key=lambda one: one[:2]):
        video = _word(where, "video_id", sentence)
        if video not in split_of:
            raise UserError(f"{where}: video '{video:.60}' is not among the file's videos")
        for text in _texts(where, "caption", sentence.get("caption")):
            yield Annotation(video, language, text, split_of[video], None, where)


def _list(path: Path, content: dict[str, Any], name: str) -> list[Any]:
    if not isinstance(content[name], list):
        raise UserError(f"{path}: '{name}' is not a list")
    return list(content[name])


# ─── tables ──────────────────────────────────────────────────────────────────────────────────────────────


def _read_table(table: _Table, columns: Columns, language: str | None) -> Iterator[Annotation]:
    table.find(columns)
    name, text, split = table.require("video"), table.require("text"), table.column_of["split"]
    spoken = "" if language else table.require("language", ", or say the language of all with --language")
    for where, row in table.rows:
        code = language or _value(where, spoken, row, language_code)
        of_split = _value(where, split, row, split_code) if split else None
        for caption in _texts(where, text, row.get(text)):
            yield Annotation(_word(where, name, row), code, caption, of_split, None, where)


def _open_table(path: Path, content: Any) -> _Table:
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            return _open_csv(path)
        case ".jsonl" | ".ndjson":
            return _table_of(path, _json_lines(path))
        case ".json" if isinstance(content, list):
            items = ((f"{path}, item {place}", item) for place, item in enumerate(content, start=1))
            return _table_of(path, ((where, _object(where, item)) for where, item in items))
        case ".json":
            raise UserError(f"{path}: neither VATEX's nor MSR-VTT's annotations, nor a list of objects")
        case ".parquet" | ".pq":
            return _open_parquet(path)
    raise UserError(f"{path}: not a kind of file that holds captions; expected one of {_TABLES}")


def _table_of(path: Path, rows: Iterator[tuple[str, Row]]) -> _Table:
    everything = list(rows)
    if not everything:
        raise UserError(f"{path}: no captions in it")
    names = list(dict.fromkeys(name for _, row in everything for name in row))
    return _Table(path, names, everything, str(path))


def _open_csv(path: Path) -> _Table:
    lines = decode_lines(path)
    if not lines:
        raise UserError(f"{path}: no captions in it")
    delimiter = max("\t,;", key=lines[0].count)
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    names = [name.strip() for name in _next(path, reader) or []]

    def rows() -> Iterator[tuple[str, Row]]:
        while (values := _next(path, reader)) is not None:
            where = f"{path}:{reader.line_num}"
            if values and len(values) != len(names):
                raise UserError(
                    f"{where}: {len(values)} columns, the first line has {len(names)}; a text with "
                    f"{delimiter!r} or a line end in it needs quotation marks around it"
                )
            if values:
                yield where, dict(zip(names, values, strict=True))

    return _Table(path, names, rows(), f"{path}:1")


def _next(path: Path, reader: Any) -> list[str] | None:
    before = reader.line_num + 1
    try:
        values: list[str] | None = next(reader, None)
    except csv.Error as error:
        if "field limit" in str(error):
            longest = f"{csv.field_size_limit():,}"
            raise UserError(
                f"{path}:{before}: a text of more than {longest} characters; do its quotation marks match?"
            ) from error
        raise UserError(f"{path}:{before}: quotation marks do not match: {error}") from error
    return values


def _json_lines(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(decode_lines(path), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _object(where, _parse_json(where, line))


def _open_parquet(path: Path) -> _Table:
    try:
        from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise UserError(f"{path}: to read Parquet needs pyarrow: pip install 'mlcmr[tables]'") from error
    try:
        file = parquet.ParquetFile(path)
        names = list(file.schema_arrow.names)
    except (ArrowException, OSError) as error:
        raise UserError(
            f"{path}: not Parquet that can be read: {str(error).partition(chr(10))[0]}"
        ) from error

    table = _Table(path, names, (), str(path))

    def rows() -> Iterator[tuple[str, Row]]:
        wanted = list(dict.fromkeys(name for name in table.column_of.values() if name))
        number = 0
        try:
            for batch in file.iter_batches(columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
        except (ArrowException, OSError) as error:
            raise UserError(f"{path}, row {number + 1}: cannot be read: {error}") from error

    table.rows = rows()
    return table


# ─── values ──────────────────────────────────────────────────────────────────────────────────────────────


def _load_json(path: Path) -> Any:
    return _parse_json(str(path), "\n".join(decode_lines(path)))


def _parse_json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f":{error.lineno}" if text.count("\n") else ""
        raise UserError(f"{where}{line}: not JSON: {error.msg} (character {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON that can be read: {error}") from error


def _object(where: str, item: Any) -> Row:
    if not isinstance(item, dict):
        raise UserError(f"{where}: expected an object with names and values, found {item!r:.40}")
    return item


def _word(where: str, name: str, row: Row) -> str:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        found = "is empty" if value is None or value == "" else f"is no word: {value!r:.40}"
        raise UserError(f"{where}: column '{name}' {found}")
    return str(value).strip()


def _value(where: str, name: str, row: Row, read: Callable[[str], str]) -> str:
    word = _word(where, name, row)
    try:
        return read(word)
    except UserError as error:
        raise UserError(f"{where}: column '{name}': {error}") from error


def _texts(where: str, name: str, value: Any) -> Sequence[str]:
    """One text or a list of them; what is missing is blank."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return [""]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(text, str | None) for text in value):
        return [text or "" for text in value]
    raise UserError(f"{where}: column '{name}' is neither a text nor a list of texts: {value!r:.40}")
