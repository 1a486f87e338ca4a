"""Read tables as rows with named columns: CSV, TSV, JSON lines, JSON lists and Parquet."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mlcmr.data.captions import decode_lines
from mlcmr.data.prepare.cells import TableRow, are_spans
from mlcmr.data.prepare.csv_tables import open_csv
from mlcmr.data.prepare.parquet_tables import open_parquet
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError
from mlcmr.reading import check, parse_json

# The usual names of columns, the likeliest first.
_USUAL_NAMES = {
    "video": "video videoid vid videoname videofile videopath clip clipid clipname youtubeid ytid "
    "youtubevideoid filename file path image imageid id",
    "text": "caption captions text texts sentence sentences description descriptions raw",
    "language": "language lang locale",
    "split": "split subset partition",
    "start": "start starttime startsec startsecs startsecond startseconds clipstart segmentstart begin "
    "begintime timestart timestamp timestamps span timespan segment segments interval starttimestamp tstart",
    "end": "end endtime endsec endsecs endsecond endseconds clipend segmentend stop stoptime timeend "
    "endtimestamp stoptimestamp tend",
}
# Names for start and end that may mean something else, such as languages; times before frames.
_UNCERTAIN_SPANS = [
    ("from", "to"),
    ("fromtime", "totime"),
    ("fromsec", "tosec"),
    ("fromsecs", "tosecs"),
    ("fromsecond", "tosecond"),
    ("fromseconds", "toseconds"),
    ("startframe", "endframe"),
    ("framestart", "frameend"),
    ("beginframe", "endframe"),
    ("firstframe", "lastframe"),
    ("fromframe", "toframe"),
]
_JSON_ADVICE = "correct the file, or write it again"
_EXTENSIONS = ".csv, .tsv, .txt, .json, .jsonl, .ndjson, .parquet"


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The names of a table's columns; for None, the first of the usual names that the table has.

    Attributes:
        video: The name of the video, or of the video that a clip was cut from.
        text: The caption, or a list of captions.
        language: The caption's language.
        split: The video's split.
        start: The time at which the clip starts, or a list `[start, end]`; ids of clips then include it.
        end: The time at which the clip ends.
    """

    video: str | None = None
    text: str | None = None
    language: str | None = None
    split: str | None = None
    start: str | None = None
    end: str | None = None


@dataclass(slots=True)
class CaptionTable:
    """A table whose rows are read one after the other.

    Attributes:
        path: The file.
        names: The names of its columns.
        read_rows: Yields the place (for messages) and the cells of each row, given the columns to read.
        heading: The place of the names of the columns, for messages.
        selected: The columns to read; Parquet reads no others.
        column_of: The column of each kind; None for a kind that the table lacks.
        span_is_uncertain: Whether the columns for start and end may mean something else.
    """

    path: Path
    names: list[str]
    read_rows: Callable[[Sequence[str]], Iterable[tuple[str, TableRow]]]
    heading: str
    selected: list[str] = field(default_factory=list)
    column_of: dict[str, str | None] = field(default_factory=dict)
    span_is_uncertain: bool = False
    _name_of: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._name_of = {re.sub("[^a-z0-9]", "", name.lower()): name for name in reversed(self.names)}

    @property
    def rows(self) -> Iterable[tuple[str, TableRow]]:
        """Return the place and the cells of each row."""
        return self.read_rows(self.selected)

    def find_columns(self, columns: ColumnNames) -> None:
        """Find the column of each kind, and select these columns.

        Raises:
            InvalidValueError: If the table lacks a column of this name.
            CorruptFileError: If the table has a column twice.
        """
        for kind in (item.name for item in fields(columns)):
            name = getattr(columns, kind)
            if name is None:
                name = self.usual_column(kind)
            elif name not in self.names:
                raise InvalidValueError(
                    f"{self.path}: no column '{name}'; there is {self._list_names()}",
                    path=self.path,
                    parameter=f"{kind}_column",
                )
            self.column_of[kind] = name
        self.select(name for name in self.column_of.values() if name)

    def usual_column(self, kind: str) -> str | None:
        """Return the first column with a usual name of a kind; None if the table has no such column."""
        usual = _USUAL_NAMES[kind].split()
        return next((self._name_of[plain] for plain in usual if plain in self._name_of), None)

    def uncertain_span(self) -> list[str]:
        """Return two columns that have numbers and may be start and end; empty if there are none."""
        for pair in _UNCERTAIN_SPANS:
            columns = [self._name_of[plain] for plain in pair if plain in self._name_of]
            is_free = all(self.names.count(name) == 1 and name not in self.selected for name in columns)
            if len(columns) == len(pair) and is_free and self._have_spans(columns):
                return columns
        return []

    def _have_spans(self, columns: Sequence[str]) -> bool:
        try:
            return are_spans([row.get(name) for name in columns] for _, row in self.read_rows(columns))
        except MlcmrError:  # If it concerns columns that are needed, reading these raises it.
            return False

    def use_uncertain_span(self, start: str, end: str) -> None:
        """Use two columns from `uncertain_span` as start and end."""
        self.column_of |= {"start": start, "end": end}
        self.span_is_uncertain = True
        self.select([*self.selected, start, end])

    def select(self, names: Iterable[str]) -> None:
        """Select the columns to read.

        Raises:
            CorruptFileError: If the table has a column twice: a row would keep only the second one.
        """
        self.selected = list(dict.fromkeys(names))
        twice = next((name for name in self.selected if self.names.count(name) > 1), None)
        if twice is not None:
            raise CorruptFileError(f"{self.heading}: column '{twice}' twice; rename one", path=self.path)

    def require(self, kind: str, instead: str = "") -> str:
        """Return the name of the column of a kind.

        Args:
            kind: An attribute of `ColumnNames`.
            instead: Another remedy than to name the column, for the message.

        Raises:
            InvalidValueError: If the table has no column of this kind.
        """
        name = self.column_of[kind]
        if name is None:
            content = "captions" if kind == "text" else f"the {kind}"
            raise InvalidValueError(
                f"{self.path}: no column for {content}; there is {self._list_names()}; name it with "
                f"`{kind}_column`{instead} (the first line of a CSV or TSV names its columns)",
                path=self.path,
                parameter=f"{kind}_column",
            )
        return name

    def _list_names(self) -> str:
        return ", ".join(f"'{name:.40}'" for name in self.names[:20]) or "none"


def load_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file cannot be read or is not JSON.
    """
    return parse_json("\n".join(decode_lines(path)).encode(), object, str(path), _JSON_ADVICE)


def open_table(path: Path, content: Any = None) -> CaptionTable:
    """Open a table; the extension of the file tells its format.

    Args:
        path: The file.
        content: The content of a `.json`, from `load_json`.

    Raises:
        NotFoundError: If the file does not exist.
        InvalidValueError: If the file has another extension.
        CorruptFileError: If the file holds no table or cannot be read.
    """
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            names, read_rows, heading = open_csv(path)
            return CaptionTable(path, names, lambda _: read_rows(), heading)
        case ".jsonl" | ".ndjson":
            return _collect(path, _read_json_lines(path))
        case ".json" if isinstance(content, list):
            return _collect(path, _check_items(path, content))
        case ".json":
            raise CorruptFileError(
                f"{path}: neither VATEX's nor MSR-VTT's annotations, nor a list of objects", path=path
            )
        case ".parquet" | ".pq":
            return CaptionTable(path, *open_parquet(path), str(path))
    if path.is_dir():
        raise InvalidValueError(f"{path}: a folder, expected a file", path=path, parameter="files")
    raise InvalidValueError(
        f"{path}: unsupported file extension; expected one of {_EXTENSIONS}", path=path, parameter="files"
    )


def _collect(path: Path, rows: Iterator[tuple[str, TableRow]]) -> CaptionTable:
    """Return a table of JSON objects; it has the columns of all rows."""
    collected = list(rows)
    if not collected:
        raise CorruptFileError(f"{path}: no captions in it", path=path)
    names = list(dict.fromkeys(name for _, row in collected for name in row))
    return CaptionTable(path, names, lambda _: collected, str(path))


def _check_items(path: Path, items: Sequence[object]) -> Iterator[tuple[str, TableRow]]:
    for place, item in enumerate(items, start=1):
        where = f"{path}, item {place}"
        try:
            yield where, check(item, dict[str, Any])
        except ValueError as error:
            raise CorruptFileError(f"{where}: {error}", path=path) from error


def _read_json_lines(path: Path) -> Iterator[tuple[str, TableRow]]:
    for number, line in enumerate(decode_lines(path), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, parse_json(line.encode(), dict[str, Any], where, _JSON_ADVICE)
