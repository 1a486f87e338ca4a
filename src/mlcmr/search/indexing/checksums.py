"""Checksums of the files that hold vectors.

The engine maps these files into memory without a check. A damaged file ends in a panic, a hang or an abort of
the process, or in wrong hits. So each file is checked before the engine opens it, and again when it changes
while it is open. The check of 100,000 vectors of 512 numbers takes 0.25 s.
"""

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from mlcmr.errors import CorruptFileError, MlcmrError, reason
from mlcmr.files import write_text
from mlcmr.reading import Count, Name, read_json

CHECKSUMS = "checksums.json"
_UNCHECKED = ("edge_config.json", "readers", CHECKSUMS)  # Qdrant Edge rewrites the first for each reader
_CHUNK = 2**20  # bytes
_ZEROS = bytes(_CHUNK)
_ADVICE = "restore the index from a copy, or index into another folder (`to`)"


class DamagedIndex(CorruptFileError):  # noqa: N818 – as UnknownVideo
    """A file of an index has changed since it was written."""


@dataclass(frozen=True)
class _File:
    bytes: Count
    sha256: Name


@dataclass(frozen=True)
class _Checksums:
    files: dict[Name, _File]


def write_checksums(vectors: Path) -> None:
    """Write the checksums of a folder of vectors, after its last change."""
    files = {
        str(path.relative_to(vectors)): {"bytes": path.stat().st_size, "sha256": _checksum(path)}
        for path in _files(vectors)
    }
    write_text(vectors / CHECKSUMS, json.dumps({"files": files}, indent=1) + "\n")


class Guard:
    """A check of the files of a folder of vectors, so that the engine reads no damaged file.

    Vectors of an older version have no checksums: only links and changed sizes are found.

    Args:
        vectors: The folder.

    Raises:
        DamagedIndex: If a file is missing, is a link, or has changed since it was written.
    """

    def __init__(self, vectors: Path) -> None:
        self._vectors = vectors
        self._turn = Lock()
        there = {str(path.relative_to(vectors)): path for path in _files(vectors)}
        self._sums: dict[str, _File] | None = None
        if os.path.lexists(vectors / CHECKSUMS):
            try:
                self._sums = dict(read_json(vectors / CHECKSUMS, _Checksums, _ADVICE).files)
            except MlcmrError as error:
                raise DamagedIndex(str(error)) from error
        if missing := sorted((self._sums or {}).keys() - there.keys()):
            raise DamagedIndex(f"{vectors / missing[0]}: is missing; {_ADVICE}")
        self._paths = there if self._sums is None else {name: there[name] for name in self._sums}
        self._good: dict[str, tuple[int, ...]] = {}
        self._bad: dict[str, tuple[int, ...]] = {}
        self.was_damaged = False
        self.check()

    def check(self) -> None:
        """Check the files that have changed since the last check; removed files stay open, and are ignored.

        Raises:
            DamagedIndex: If a file has changed since it was written.
        """
        for name, path in self._paths.items():
            try:
                status = os.lstat(path)
            except OSError:
                continue
            state = (status.st_size, status.st_mtime_ns, status.st_ino)
            if self._good.get(name) == state:
                continue
            with self._turn:
                if self._bad.get(name) == state or not self._is_as_written(name, path, state):
                    self._bad[name] = state
                    self.was_damaged = True
                    raise DamagedIndex(f"{path}: is damaged: not as it was written; {_ADVICE}")
                self._good[name] = state

    def _is_as_written(self, name: str, path: Path, state: tuple[int, ...]) -> bool:
        if self._sums is None:
            return name not in self._good or self._good[name][0] == state[0]
        wanted = self._sums[name]
        return state[0] == wanted.bytes and _checksum(path) == wanted.sha256


def _files(vectors: Path) -> list[Path]:
    """Return the files of a folder of vectors.

    Raises:
        DamagedIndex: If there are links or special files: the engine writes to what it opens.
    """
    found = []
    for path in sorted(vectors.rglob("*")):
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode):
            if path.name not in _UNCHECKED:
                found.append(path)
        elif not stat.S_ISDIR(mode):
            raise DamagedIndex(f"{path}: is neither a file nor a folder; {_ADVICE}")
    return found


def _chunk(handle: int, at: int) -> bytes:
    """Return a chunk of a file; one read may return less than a chunk."""
    part = os.pread(handle, _CHUNK, at)
    while len(part) < _CHUNK and (more := os.pread(handle, _CHUNK - len(part), at + len(part))):
        part += more
    return part


def _checksum(path: Path) -> str:
    """Return the SHA-256 of the chunks of a file that are not all zeros, each with its offset."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            handle = file.fileno()
            size, at = os.fstat(handle).st_size, 0
            while at < size:
                try:
                    at = os.lseek(handle, at, os.SEEK_DATA)
                except OSError:  # only a hole is left
                    break
                at -= at % _CHUNK
                part = _chunk(handle, at)
                if part != _ZEROS[: len(part)]:
                    digest.update(at.to_bytes(8, "little"))
                    digest.update(part)
                at += _CHUNK
    except OSError as error:
        raise DamagedIndex(f"{path}: cannot be read: {reason(error)}; {_ADVICE}") from error
    return digest.hexdigest()
