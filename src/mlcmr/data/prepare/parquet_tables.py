"""Read Parquet files of strangers: bounded in memory, and no damaged footer ends the process."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlcmr.data.prepare.cells import TableRow
from mlcmr.errors import CorruptFileError, MissingDependencyError, NotFoundError, OutOfResourcesError, reason
from mlcmr.reading import parse_json

_GROWTH = 100  # the largest growth of a Parquet file in memory, as a factor
_GROWN_BYTES = 256 << 20  # the size in memory that any Parquet file may have
_ROW_BYTES = 64  # the least size of a row or of an item of a list
_BATCH_ROWS = 1024

# Prints the name, the size and the number of values of each column of a Parquet file.
_PRINT_SIZES = """
import json, sys
from pyarrow import parquet
metadata = parquet.ParquetFile(sys.argv[1]).metadata
groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
columns = [group.column(place) for group in groups for place in range(group.num_columns)]
print(json.dumps([(one.path_in_schema, one.total_uncompressed_size, one.num_values) for one in columns]))
"""


def open_parquet(
    path: Path,
) -> tuple[list[str], Callable[[Sequence[str]], Iterator[tuple[str, TableRow]]]]:
    """Open a Parquet file.

    Returns:
        The names of the columns, and a function that yields the place and the cells of each row, given the
        names of the columns to read.

    Raises:
        MissingDependencyError: If pyarrow is not installed.
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file is not Parquet.
        OutOfResourcesError: If the rows would fill the memory; raised while they are read.
    """
    try:
        from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: to read Parquet needs pyarrow: pip install 'mlcmr[tables]'"
        ) from error
    if not os.path.isfile(path):
        raise NotFoundError(f"{path}: no such file", path=path)
    # Damaged files raise any of these errors.
    errors = (ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
    try:
        size = path.stat().st_size
        file = parquet.ParquetFile(path)
        names = list(map(str, file.schema_arrow.names))
        leaves = [file.schema.column(place).path for place in range(len(file.schema))]
    except errors as error:
        raise CorruptFileError(f"{path}: not Parquet that can be read: {reason(error)}", path=path) from error
    limit = max(_GROWN_BYTES, _GROWTH * size)

    def read_rows(columns: Sequence[str]) -> Iterator[tuple[str, TableRow]]:
        number = grown = 0
        try:
            selected = [leaf for leaf in leaves if any(_is_within(leaf, name) for name in columns)]
            _require_small(path, set(selected), limit)
            # A short dictionary can stand for long texts in many rows. So the size of the texts is computed
            # before they are made.
            opened = parquet.ParquetFile(path, read_dictionary=selected)
            for batch in opened.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                grown += sum(map(_count_bytes, batch.columns))
                if grown > limit:
                    raise _too_large(path, grown, size)
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
        except errors as error:
            raise CorruptFileError(
                f"{path}, row {number + 1}: cannot be read: {reason(error)}", path=path
            ) from error

    return names, read_rows


def _is_within(leaf: str, name: str) -> bool:
    """Return whether a leaf of the schema belongs to the column `name`."""
    return leaf == name or leaf.startswith(f"{name}.")


def _require_small(path: Path, leaves: set[str], limit: int) -> None:
    """Refuse a file whose columns would fill the memory, by the sizes in its footer.

    Another process reads the footer: some damaged footers make pyarrow call `abort`, which ends the process.

    Raises:
        OutOfResourcesError: If the columns would be larger than `limit` bytes.
        ValueError: If the footer cannot be read.
    """
    words = [sys.executable, "-P", "-c", _PRINT_SIZES, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 – this Python
    if done.returncode:
        raise ValueError(reason(ValueError(done.stderr.strip().rpartition("\n")[2])))
    sizes = parse_json(done.stdout.encode(), list[tuple[str, int, int]], str(path), "write it again")
    grown = sum(size + _ROW_BYTES * values for name, size, values in sizes if name in leaves)
    if grown > limit:
        raise _too_large(path, grown, path.stat().st_size)


def _count_bytes(column: Any) -> int:
    """Return the size of a column once each row has a text of its own, in bytes."""
    from pyarrow import compute  # noqa: PLC0415

    if hasattr(column, "dictionary"):
        texts = column.dictionary
        if not hasattr(texts, "buffers") or not len(texts) or "string" not in str(texts.type):
            return 0
        return int(compute.sum(compute.binary_length(texts).take(column.indices)).as_py() or 0)
    if hasattr(column, "flatten"):  # of lists or of objects
        parts = column.flatten()
        return sum(map(_count_bytes, parts if isinstance(parts, list) else [parts]))
    return int(column.nbytes)


def _too_large(path: Path, grown: int, size: int) -> OutOfResourcesError:
    return OutOfResourcesError(
        f"{path}: {size:,} bytes would become more than {grown:,}; write it again with fewer rows in a file",
        path=path,
    )
