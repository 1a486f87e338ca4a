"""Read annotation files: captions as data sets publish them, or tables that people make.

The content tells the JSON of VATEX and of MSR-VTT. Every other file is a table: CSV, TSV, JSON lines, a JSON
list of objects, or Parquet (`pip install 'mlcmr[tables]'`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

from pydantic import ConfigDict
from typing_extensions import TypedDict

from mlcmr.data.captions import decode_lines
from mlcmr.data.languages import UnknownLanguageError, language_code
from mlcmr.data.prepare.cells import TableRow, parse_name, read_name, read_spans, read_texts, read_word
from mlcmr.data.prepare.tables import CaptionTable, ColumnNames, load_json, open_table
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.reading import check

_NAMES_OF_SPLITS = {
    "train": "train training",
    "val": "val valid validate validation dev development",
    "test": "test testing",
}
_SPLIT_OF = {word: split for split, words in _NAMES_OF_SPLITS.items() for word in words.split()}
_VATEX = {"enCap": "en", "chCap": "zh"}
_YOUTUBE = re.compile("(youtube|yt).*")
_START = re.compile("(clip|segment|seg|time)?(start|begin).*")
_LIST = re.compile(r"\s*[\[(]")


class AnnotatedClip(NamedTuple):
    """A video or a clip of a video, as a file names it.

    Attributes:
        video: The name of the video in the annotations, which may be the name of a file.
        where: The file and the row or item, for messages.
        span: The span of the video, `33_46`; empty if the file gives none.
        cut: Whether the span is certainly part of the clip's id; else it may only describe the video.
        uncertain: Whether the span may be something else, as it is in columns such as `from` and `to`.
        fault: The reason why the span cannot be read; empty if it can be read.
    """

    video: str
    where: str
    span: str = ""
    cut: bool = False
    uncertain: bool = False
    fault: str = ""


class Annotation(NamedTuple):
    """One caption of an annotation file.

    Attributes:
        clip: The video or clip that the caption describes.
        language: The ISO 639 code of the caption's language.
        text: The caption; None if the file names a video without a caption.
        split: `train`, `val` or `test`; None if the file names no split.
        number: The number of the caption, if captions of a video with the same number make pairs.
        vatex_split: The split in a row of VATEX, as written: VATEX has others too, such as `public_test`.
            None if there is no column for it.
    """

    clip: AnnotatedClip
    language: str
    text: str | None
    split: str | None = None
    number: int | None = None
    vatex_split: str | None = None


def read_annotations(
    path: Path,
    columns: ColumnNames,
    language: str | None,
    unknown: Counter[str],
) -> Iterator[Annotation]:
    """Read the captions of one file.

    Args:
        path: The JSON of VATEX or MSR-VTT, or a table.
        columns: The names of the columns of a table.
        language: The language of all captions; None takes the language from a column. Captions of MSR-VTT are
            English by default. VATEX names the languages itself.
        unknown: Counts the captions in unknown languages, which are left out, by the name of the language.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file cannot be read, or a row is malformed; with file and row.
        InvalidValueError: If a table lacks a column.
    """
    content: Any = load_json(path) if path.suffix.lower() == ".json" else None
    if isinstance(content, dict) and {"videos", "sentences"} <= content.keys():
        return _read_msrvtt(path, content, language or "en")
    table = open_table(path, content)
    if "videoID" in table.names and columns.text not in table.names:
        of_vatex = [name for name in _VATEX if name in table.names]
        if of_vatex or table.names == ["videoID"]:
            split = columns.split or table.usual_column("split")
            # Unlike in other tables, this column may be missing, or there twice.
            split = split if split and table.names.count(split) == 1 else None
            table.select(["videoID", *of_vatex, *filter(None, [split])])
            return _read_vatex(table.rows, split)
    return _read_table(table, columns, language, unknown)


class VideoList(NamedTuple):
    """The videos that a file lists.

    Attributes:
        path: The file.
        clips: The videos or clips.
        captions: Their captions, if the file has any.
    """

    path: Path
    clips: list[AnnotatedClip]
    captions: list[Annotation]


def read_list(path: Path, columns: ColumnNames, language: str) -> VideoList:
    """Read the videos that a file lists: in a column of a table, or one a line in a `.txt`.

    Args:
        path: The file.
        columns: The names of the columns of a table.
        language: The language of captions in a table without a column for the language.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file cannot be read, or a row is malformed.
        InvalidValueError: If a table lacks a column.
    """
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in decode_lines(path)]
        return VideoList(
            path,
            [AnnotatedClip(line, f"{path}:{place}") for place, line in enumerate(lines, start=1) if line],
            [],
        )
    table = open_table(path, load_json(path) if path.suffix.lower() == ".json" else None)
    _find_columns(table, ColumnNames(video=columns.video, start=columns.start, end=columns.end))
    text, language_column = table.column_of["text"], table.column_of["language"]
    videos = VideoList(path, [], [])
    for where, row in table.rows:
        clips = _clips(table, columns, where, row)
        videos.clips.extend(clips)
        code = _language(where, language_column, row) if language_column else language
        if text and code and len(clips) == 1:
            captions = read_texts(where, text, row.get(text))
            videos.captions.extend(Annotation(clips[0], code, caption) for caption in captions)
    return videos


def split_by_name(path: Path) -> str | None:
    """Return the split in the name of a file (`vatex_validation_v1.0.json`); None for no split or several."""
    words = re.split("[^a-z]+", path.name.lower())
    splits = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
    return splits.pop() if len(splits) == 1 else None


def find_split(word: str) -> str | None:
    """Return `train`, `val` or `test` for any of their usual names; None for any other word."""
    return _SPLIT_OF.get(word.strip().lower())


def split_code(word: str) -> str:
    """Return `train`, `val` or `test` for any of their usual names.

    Raises:
        InvalidValueError: If the word names no split.
    """
    if split := find_split(word):
        return split
    raise InvalidValueError(f"split '{word:.40}' is none of {', '.join(_SPLIT_OF)}")


# ─── published data sets ─────────────────────────────────────────────────────────────────────────────────


def _read_vatex(rows: Iterable[tuple[str, TableRow]], split_column: str | None) -> Iterator[Annotation]:
    for where, row in rows:
        clip = AnnotatedClip(read_name(where, "videoID", row), where)
        split = read_word(row.get(split_column)) if split_column else None
        if not any(row.get(name) for name in _VATEX):
            yield Annotation(clip, "en", None, vatex_split=split)
        for name, language in _VATEX.items():
            for number, text in enumerate(read_texts(where, name, row[name]) if row.get(name) else []):
                yield Annotation(clip, language, text, number=number, vatex_split=split)


class _MsrvttSentence(TypedDict):
    """A caption in MSR-VTT's JSON; other names are `video_id` and `caption`."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    sen_id: NotRequired[int]


class _MsrvttFile(TypedDict):
    """The part of MSR-VTT's JSON that is read."""

    videos: list[dict[str, Any]]
    sentences: list[_MsrvttSentence]


def _read_msrvtt(path: Path, content: dict[str, Any], language: str) -> Iterator[Annotation]:
    try:
        checked = check(content, _MsrvttFile)
    except ValueError as error:
        raise CorruptFileError(f"{path}: {error}", path=path) from error
    split_of: dict[str, str | None] = {}
    for place, video in enumerate(checked["videos"], start=1):
        where = f"{path}, video {place}"
        split = parse_name(where, "split", video, split_code) if "split" in video else None
        split_of[read_name(where, "video_id", video)] = split
    sentences = [
        (sentence.get("sen_id", place), place, sentence)
        for place, sentence in enumerate(checked["sentences"], start=1)
    ]
    for _, place, sentence in sorted(sentences, key=lambda item: item[:2]):
        where = f"{path}, sentence {place}"
        name = read_name(where, "video_id", sentence)
        if name not in split_of:
            raise CorruptFileError(f"{where}: video '{name:.60}' is not among the file's videos", path=path)
        for text in read_texts(where, "caption", sentence.get("caption")):
            yield Annotation(AnnotatedClip(name, where), language, text, split_of[name])


# ─── tables ──────────────────────────────────────────────────────────────────────────────────────────────


def _read_table(
    table: CaptionTable, columns: ColumnNames, language: str | None, unknown: Counter[str]
) -> Iterator[Annotation]:
    _find_columns(table, columns)
    table.require("video")
    text_column, split_column = table.require("text"), table.column_of["split"]
    language_column = (
        "" if language else table.require("language", ", or give the `language` of all captions")
    )
    for where, row in table.rows:
        texts = read_texts(where, text_column, row.get(text_column))
        code = language or _language(where, language_column, row)
        if code is None:
            unknown[str(row.get(language_column) or "")] += len(texts)
            continue
        split = parse_name(where, split_column, row, split_code) if split_column else None
        clips = _clips(table, columns, where, row)
        if len(clips) not in {1, len(texts)}:
            raise CorruptFileError(f"{where}: {len(texts)} captions for {len(clips)} spans of the video")
        for clip, text in zip(clips if clips[1:] else clips * len(texts), texts, strict=True):
            yield Annotation(clip, code, text, split)


def _language(where: str, name: str, row: TableRow) -> str | None:
    """Return the code of a row's language; None if the cell is empty or names no known language."""
    cell = row.get(name)
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        return parse_name(where, name, row, language_code)
    except UnknownLanguageError:
        return None


def _find_columns(table: CaptionTable, columns: ColumnNames) -> None:
    """Find the column of each kind; columns such as `from` and `to` count if no others have spans."""
    table.find_columns(columns)
    start = table.column_of["start"]
    if columns.start or columns.end or (start and not _is_alone(table, columns, start)):
        return
    pair = table.uncertain_span()
    if pair and not (start and any(_LIST.match(str(row.get(start))) for _, row in table.read_rows([start]))):
        table.use_uncertain_span(*pair)


def _is_alone(table: CaptionTable, columns: ColumnNames, start: str) -> bool:
    """Return whether a column such as `timestamp` has none for the end; then only spans in it count."""
    return not (table.column_of["end"] or columns.start or _START.fullmatch(_plain(start)))


def _clips(table: CaptionTable, columns: ColumnNames, where: str, row: TableRow) -> list[AnnotatedClip]:
    """Return the clips of a row: one clip, or one for each span of the video."""
    name = table.require("video")
    video = AnnotatedClip(read_name(where, name, row), where)
    start, end = table.column_of["start"], table.column_of["end"]
    if start is None:
        return [video]
    uncertain = table.span_is_uncertain
    cut = not uncertain and bool(columns.start or columns.end or _YOUTUBE.fullmatch(_plain(name)))
    cells = [row.get(column) for column in (start, end) if column]
    if _is_alone(table, columns, start) and not _LIST.match(str(cells[0])):
        return [video]
    try:
        spans = read_spans(cells)
    except ValueError as error:
        return [video._replace(span=repr(cells), cut=cut, fault=f"column '{start}': {error}")]
    return [video._replace(span=span, cut=cut, uncertain=uncertain) for span in spans] or [video]


def _plain(name: str) -> str:
    """Return the letters of a name."""
    return re.sub("[^a-z]", "", name.lower())
