"""Read frame features from lines of text, `<frame id> <number> <number> …`."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from mlcmr.data.features.arrays import Block, rows_per_block
from mlcmr.data.features.feature_files import Features, decode
from mlcmr.data.features.finite import require_finite
from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError, unreadable
from mlcmr.progress import Progress
from mlcmr.text import plural


def read_text_lines(paths: Sequence[Path], progress: Progress) -> Iterator[Block]:
    """Yield the blocks of text files, one file after the other; blank lines are skipped.

    Args:
        paths: The files.
        progress: Shows the number of bytes that were read.

    Raises:
        NotFoundError: If a file does not exist.
        CorruptFileError: If a line is malformed, or a frame has two lines; with file and line.
    """
    lines = _read_lines(paths, progress)
    for first in lines:
        block = [first, *islice(lines, rows_per_block(len(first[1])) - 1)]
        yield [frame for frame, _ in block], np.stack([row for _, row in block])


def _read_lines(paths: Sequence[Path], progress: Progress) -> Iterator[tuple[str, Features]]:
    """Yield the frame id and the features of each line."""
    try:
        total = sum(path.stat().st_size for path in paths)
        read = 0
        seen: set[str] = set()
        dimension = 0
        with progress.task("reading", total) as task:
            for path in paths:
                with path.open("rb") as file:
                    for number, line in enumerate(file, start=1):
                        if line.isspace():
                            continue
                        frame, row = _parse_line(line, f"{path}:{number}", dimension)
                        if frame in seen:
                            raise CorruptFileError(
                                f"{path}:{number}: frame '{frame}' has a line already", path=path, line=number
                            )
                        seen.add(frame)
                        dimension = len(row)
                        yield frame, row
                        if number % 1000 == 0:
                            task.update(read + file.tell(), note=path.name)
                    read += file.tell()
                task.update(read, note=path.name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{error.filename}: {unreadable(error)}", path=error.filename) from error
    except OSError as error:
        raise MlcmrError(f"{error.filename}: {unreadable(error)}", path=error.filename) from error


def _parse_line(line: bytes, where: str, dimension: int) -> tuple[str, Features]:
    """Return the frame id and the features of a line.

    Raises:
        CorruptFileError: If the line is malformed, or has not `dimension` numbers (0: any number of them).
    """
    name, *numbers = line.split()
    frame = decode(name)
    try:
        with np.errstate(over="ignore"):
            row = np.array(numbers, dtype=np.float32)
    except ValueError as error:
        wrong = str(error).rpartition(": ")[2].removeprefix("b")
        raise CorruptFileError(f"{where}: {wrong[:60]} is not a number") from error
    if not numbers or len(row) != (dimension or len(row)):
        expected = f"those before it {dimension:,}" if dimension else "expected <frame id> <number> …"
        raise CorruptFileError(f"{where}: frame '{frame[:60]}' has {plural(len(row), 'number')}, {expected}")
    if not np.isfinite(row).all():
        require_finite(np.array([numbers], np.float64), lambda _: where)
    return frame, row
