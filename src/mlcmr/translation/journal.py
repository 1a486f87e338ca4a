"""The journal of a translation: finished batches on disk, so that a killed command can continue."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.files import locked, writing
from mlcmr.reading import Text, parse_json

_HINT = "remove it to start again"


class Journal:
    """The finished batches of a translation: a line of settings, then a line per batch.

    Attributes:
        finished: The translations of the batches that an earlier process finished, in order.
    """

    def __init__(
        self, path: Path, file: IO[bytes], settings: Mapping[str, Any], sizes: Sequence[int]
    ) -> None:
        self._path = path
        self._file = file
        file.seek(0)
        lines = file.read().split(b"\n")
        # A process was killed while it wrote the bytes behind the last line end.
        file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        if lines[:-1]:
            before = parse_json(lines[0], dict[str, Any], f"{path}:1", _HINT)
            if difference := _difference(before, settings):
                raise InvalidValueError(
                    f"{path}: was started with other settings ({difference}): use those, or {_HINT}",
                    path=path,
                )
        if len(lines) - 2 > len(sizes):
            raise CorruptFileError(f"{path}: more translations than captions; {_HINT}", path=path)
        self.finished: list[list[str]] = []
        for number, (line, size) in enumerate(zip(lines[1:-1], sizes, strict=False), start=2):
            texts = parse_json(line, list[Text], f"{path}:{number}", _HINT)
            if len(texts) != size:
                raise CorruptFileError(
                    f"{path}:{number}: {len(texts)} translations of {size} captions; {_HINT}",
                    path=path,
                    line=number,
                )
            self.finished.append(texts)
        if not lines[:-1]:
            self.add(settings)

    def add(self, content: Any) -> None:
        """Add a line, and wait until it is on the disk."""
        with writing(self._path):
            self._file.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def journal_file(path: Path) -> Path:
    """Return the journal of a file of translations."""
    return path.with_name(f".{path.name}.journal")


@contextmanager
def open_journal(path: Path, settings: Mapping[str, Any], sizes: Sequence[int]) -> Iterator[Journal]:
    """Open a journal, and lock it for other processes.

    Args:
        path: The journal.
        settings: The settings on which the translations depend.
        sizes: The number of texts in each batch.

    Raises:
        InvalidValueError: If the journal was started with other settings.
        CorruptFileError: If the journal does not belong to these captions.
        InUseError: If another process writes the journal.
    """
    with locked(path, f"{path}: another process translates this; wait until it is done") as file:
        with writing(path):
            journal = Journal(path, file, settings, sizes)
        yield journal


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in now if before.get(name) != now[name]]
    return ", ".join(f"{name}: {before.get(name)}, now {now[name]}" for name in names)
