"""Parse the cells of a table: names, captions, lists of captions, and start and end times."""

import ast
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from mlcmr.errors import CorruptFileError, MlcmrError

MAX_CHARACTERS = 131_072  # the limit of Python's CSV reader

TableRow = Mapping[str, Any]
"""The cells of a row by the names of their columns."""

_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and symbols without ink
_INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters, except white space
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions of text
    "\u00ad\u180e\u200b\u2060-\u206f\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "]"
)
# Zero-width joiners shape the letters of the scripts from Hebrew to Vedic and join emoji, and tag characters
# spell the flags of regions. Elsewhere these characters change nothing that is seen.
_SHAPED = "\u0590-\u1cff\ua840-\uabff\U00010a00-\U00011fff\U0001e900-\U0001e95f"
_EMOJI = "\u2190-\u2bff\u3030\ufe0f\U0001f000-\U0001faff"
_JOINERS = re.compile(
    rf"((?<=[{_SHAPED}])[\u200c\u200d]|(?<=[{_EMOJI}])\u200d(?=[{_EMOJI}])"
    "|(?<=\U0001f3f4)[\U000e0020-\U000e007e]+\U000e007f)|[\u200c\u200d\U000e0001-\U000e007f]"
)

_QUOTED = r"""[uUbB]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_MISSING_ITEMS = frozenset(["None", "null", "nan", "NaN"])
_ITEM = re.compile(rf"\s*({_QUOTED}|None|null|nan|NaN)\s*(,?)", re.DOTALL)
_LIST_START = re.compile(r"""\s*(?:array\(\s*)?[\[(](?=\s*(?:[uUbB]?['"]|None\b|null\b|nan\b))""")
_LIST_END = re.compile(r"[\])]\s*(?:,\s*dtype=[^()]*)?\)?\s*")
_LIST_BEFORE_WORDS = re.compile(r"[\])]\s*[^\W_]")
_LIST_LIKE = re.compile(r"""\s*(?:array\(\s*)?\[\s*(?:['"{\[]|None\b|null\b|nan\b|\]\s*$)""")
# DuckDB, PostgreSQL and Java print lists of texts without quotation marks.
_UNQUOTED_LIST = re.compile(r"\s*(?:\[[^\[\],]*,[^\[\]]*\]|\{[^{},]*,[^{}]*\})\s*")
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)\s*(?:s|sec|seconds)?", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,]\d*)?")
_TIME_SEPARATOR = re.compile(r"[\s,'\"]+")


def read_name(where: str, column: str, row: TableRow) -> str:
    """Return the name in a cell, without white space and invisible characters around it.

    Raises:
        CorruptFileError: If the cell is empty, or its value is neither a text nor a whole number.
    """
    cell = row.get(column)
    name = _trim(str(cell)) if isinstance(cell, str | int) and not isinstance(cell, bool) else ""
    if not name:
        fault = "is empty" if _is_missing(cell) else f"is not a name: {cell!r:.40}"
        raise CorruptFileError(f"{where}: column '{column}' {fault}")
    return name


def parse_name(where: str, column: str, row: TableRow, parse: Callable[[str], str]) -> str:
    """Return the name in a cell as `parse` converts it.

    Raises:
        CorruptFileError: If the cell is empty.
        MlcmrError: If `parse` refuses the name; the error has the class that `parse` raised.
    """
    name = read_name(where, column, row)
    try:
        return parse(name)
    except MlcmrError as error:
        raise type(error)(f"{where}: column '{column}': {error}") from error


def read_word(cell: Any) -> str:
    """Return what a cell holds as text, without white space around it; empty if the cell is empty."""
    return "" if _is_missing(cell) else _trim(str(cell))


def read_texts(where: str, column: str, cell: Any) -> Sequence[str]:
    """Return the text or the list of texts in a cell; a missing text is blank.

    A list may be printed as text, as Python, JSON and NumPy print it: `['a dog', 'a cat']`.

    Raises:
        CorruptFileError: If the cell holds another type, a text that is too long, or a malformed list.
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return [""]
    if isinstance(cell, str):
        if len(cell) > MAX_CHARACTERS:
            raise CorruptFileError(
                f"{where}: column '{column}': a text of more than {MAX_CHARACTERS:,} characters"
            )
        return _parse_list(where, column, cell) or [cell]
    if isinstance(cell, list) and all(isinstance(text, str | None) for text in cell):
        return [text or "" for text in cell] or [""]
    raise CorruptFileError(f"{where}: column '{column}' is neither a text nor a list of texts: {cell!r:.40}")


def clean_text(text: str) -> str:
    """Return a text on one line, without invisible characters; empty if nothing visible is left."""
    line = " ".join(_JOINERS.sub(r"\1", _INVISIBLE.sub("", text)).split())
    return line if any(map(_is_visible, line)) else ""


def read_spans(cells: Sequence[Any]) -> list[str]:
    """Return the spans of a video, such as `33_46`, from the cells for start and end.

    Times are seconds (`33`, `33.0`), `mm:ss` or `hh:mm:ss`. A cell without a second one may hold a start, a
    span `[33, 46]`, or a list of spans.

    Raises:
        ValueError: If a cell holds something else, one of two is empty, or a span ends before it begins.
    """
    if all(map(_is_missing, cells)):
        return []
    if len(cells) == 1 and (pairs := _parse_pairs(cells[0])):
        return [_format_span(pair) for pair in pairs]
    return [_format_span(cells)]


def are_spans(pairs: Iterable[Sequence[Any]]) -> bool:
    """Return whether pairs of cells are spans in plain numbers; pairs without content may be among them."""
    found = False
    for cells in pairs:
        if all(map(_is_missing, cells)):
            continue
        try:
            found = all(map(_is_number, cells)) and bool(read_spans(cells))
        except ValueError:
            return False
        if not found:
            return False
    return found


def _format_span(times: Sequence[Any]) -> str:
    seconds = [_parse_seconds(time) for time in times]
    if len(seconds) == 2 and seconds[1] <= seconds[0]:
        raise ValueError(f"the end, {times[1]!r:.40}, is not after the start, {times[0]!r:.40}")
    return "_".join(f"{time.normalize():f}" for time in seconds)


def _parse_seconds(time: Any) -> Decimal:
    """Return a time in seconds, rounded to milliseconds.

    Raises:
        ValueError: If the cell holds no time.
    """
    found = None if isinstance(time, bool) else _TIME.fullmatch(_trim(str(time)).replace(",", "."))
    if found is None:
        raise ValueError(f"{time!r:.40} is no time; expected seconds, mm:ss or hh:mm:ss")
    hours, minutes, seconds = (Decimal(part or 0) for part in found.groups())
    try:
        return round(hours * 3600 + minutes * 60 + seconds, 3)
    except InvalidOperation as error:
        raise ValueError(f"{time!r:.40} is no time of a video") from error


def _parse_pairs(cell: Any) -> list[Sequence[Any]]:
    """Return the pairs of times in a cell: one pair, a list of pairs, or none if the cell is no list."""
    if isinstance(cell, str):
        inner = cell.strip()
        if not (inner[:1] in "[(" and inner[-1:] in "])"):
            return []
        groups = re.findall(r"[\[(]([^\[\]()]*)[\])]", inner)
        cell = [[part for part in _TIME_SEPARATOR.split(group) if part] for group in groups]
    if not isinstance(cell, list | tuple) or not cell:
        return []
    pairs: list[Any] = [cell] if not isinstance(cell[0], list | tuple) else list(cell)
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"{cell!r:.40} is no [start, end]")
    return pairs


def _parse_list(where: str, column: str, cell: str) -> list[str]:
    """Return the texts of a printed list; none if the cell is a text.

    A cell such as `[a dog, a cat]` may be a list or a text; only the author of the file knows.
    """
    if re.fullmatch(r"\s*\[\s*\]\s*", cell):
        return [""]
    found: list[str] = []
    start = _LIST_START.match(cell)
    position = start.end() if start else 0
    while start and (item := _ITEM.match(cell, position)):
        found.append(_parse_item(item[1]))
        position = item.end()
    if start and _LIST_END.fullmatch(cell, position):
        return found
    advice = "write a list as ['a dog', \"it's a cat\"], and a text without brackets around it"
    if _UNQUOTED_LIST.fullmatch(cell) and not _LIST_LIKE.match(cell):
        raise CorruptFileError(
            f"{where}: column '{column}': {cell!r:.60} may be a text or a list of texts; {advice}"
        )
    if not _LIST_LIKE.match(cell) or (found and _LIST_BEFORE_WORDS.match(cell, position)):
        return []
    rest = f"{cell[position : position + 30]!r}"
    raise CorruptFileError(
        f"{where}: column '{column}': a list of texts that cannot be read at {rest}; {advice}"
    )


def _parse_item(literal: str) -> str:
    if literal in _MISSING_ITEMS:
        return ""
    try:
        text = ast.literal_eval(literal.replace("\n", "\\n").replace("\r", "\\r").replace("\0", ""))
    except (ValueError, SyntaxError):
        return literal[1:-1]
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    # JSON writes characters beyond 16 bits as two halves.
    return str(text).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _is_number(cell: Any) -> bool:
    return not isinstance(cell, bool) and _NUMBER.fullmatch(_trim(str(cell))) is not None


def _is_missing(cell: Any) -> bool:
    return (
        cell is None
        or (isinstance(cell, float) and math.isnan(cell))
        or (isinstance(cell, str) and not _trim(cell))
    )


def _trim(text: str) -> str:
    """Remove white space and invisible characters at both ends."""
    if text.isascii() and text.isprintable():
        return text.strip()
    kept = [place for place, character in enumerate(text) if not _is_blank(character)]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in {"Cc", "Cf"}


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character not in _FILLERS
