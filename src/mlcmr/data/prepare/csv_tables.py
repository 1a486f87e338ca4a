"""Read CSV and TSV files, as spreadsheets and other programs write them."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlcmr.data.captions import decode_lines
from mlcmr.data.prepare.cells import TableRow
from mlcmr.errors import CorruptFileError


def open_csv(path: Path) -> tuple[list[str], Callable[[], Iterator[tuple[str, TableRow]]], str]:
    """Open a CSV or TSV.

    Returns:
        The names of the columns, then a function that yields for each row its place (`file:line`, for
        messages) and its cells by column, and last the place of the names.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file is empty, or its quotation marks do not match.
    """
    # Tables that were put together from several files may have line ends of several kinds.
    lines = [part for line in decode_lines(path) for part in line.split("\r")]
    first = 0
    delimiter = None
    # Excel writes and reads a first line that names the delimiter.
    if lines and (found := re.fullmatch(r'"?sep=(.|\\t)"?[\t,;]*', lines[0], re.IGNORECASE)):
        first, delimiter = 1, "\t" if found[1] == "\\t" else found[1]
    if len(lines) <= first:
        raise CorruptFileError(f"{path}: no captions in it", path=path)
    delimiter = delimiter or max("\t,;", key=lines[first].count)
    quoting = _has_quoting(path, lines, first, delimiter)
    heading = _CsvReader(path, lines, first, delimiter, quoting).next_row()
    names = [name.strip() for name in heading or []]

    def read_rows() -> Iterator[tuple[str, TableRow]]:
        reader = _CsvReader(path, lines, first, delimiter, quoting)
        reader.next_row()
        while (values := reader.next_row()) is not None:
            where = f"{path}:{reader.line}"
            if values and len(values) != len(names):
                raise CorruptFileError(
                    f"{where}: {len(values)} columns, the first line has {len(names)}; a text with "
                    f"{delimiter!r} or a line end in it needs quotation marks around it"
                )
            if values:
                yield where, dict(zip(names, values, strict=True))

    return names, read_rows, f"{path}:{first + 1}"


class _CsvReader:
    """The rows of a CSV, and the number of the current line.

    Attributes:
        line: The line in which the last row ends, from 1.
    """

    def __init__(self, path: Path, lines: Sequence[str], first: int, delimiter: str, quoting: bool) -> None:
        table = (f"{line}\n" for line in lines[first:])
        if quoting:
            self._reader = csv.reader(table, delimiter=delimiter, strict=True)
        else:
            self._reader = csv.reader(table, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        self._path, self._first = path, first
        self.line = first

    def next_row(self) -> list[str] | None:
        """Return the next row, or None after the last.

        Raises:
            CorruptFileError: If a text is too long, or quotation marks do not match.
        """
        where = f"{self._path}:{self.line + 1}"
        try:
            values = next(self._reader, None)
        except csv.Error as error:
            if "field limit" in str(error):
                raise CorruptFileError(
                    f"{where}: a text of more than {csv.field_size_limit():,} characters; do its quotation "
                    "marks match?"
                ) from error
            raise CorruptFileError(f"{where}: quotation marks do not match: {error}") from error
        self.line = self._first + self._reader.line_num
        return values


def _has_quoting(path: Path, lines: Sequence[str], first: int, delimiter: str) -> bool:
    """Return whether quotation marks enclose texts, as in nearly all files.

    In a TSV without quoting, marks belong to the texts. With quoting, a text that begins with a mark would
    swallow the lines after it.

    Raises:
        CorruptFileError: If marks do not match, and the file is not a TSV without quoting.
    """
    if not any('"' in line for line in lines):
        return True
    delimiters = lines[first].count(delimiter)
    without_spaces = f"{delimiter} " not in lines[first]

    def looks_like_row(line: str) -> bool:
        # In prose, a space follows a comma.
        return line.count(delimiter) == delimiters and not (without_spaces and f"{delimiter} " in line)

    reader = _CsvReader(path, lines, first, delimiter, quoting=True)
    try:
        begin = reader.line
        while reader.next_row() is not None:
            row = lines[begin : reader.line]
            if len(row) > 1 and delimiters and all(map(looks_like_row, row)):
                raise CorruptFileError(
                    f"{path}:{begin + 1}: quotation marks do not match: a text goes on for "
                    f'{len(row):,} lines that look like rows; write "" for a mark within a text'
                )
            begin = reader.line
    except CorruptFileError:
        unquoted = all(line.count(delimiter) == delimiters for line in lines[first:] if line.strip())
        if delimiter == "\t" and unquoted:
            return False
        raise
    return True
