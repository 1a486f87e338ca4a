"""Files that are replaced whole, and locks of files that one process holds at a time."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import IO

from mlcmr.errors import (
    InUseError,
    InvalidValueError,
    MlcmrError,
    OutOfResourcesError,
    is_out_of_space,
    reason,
)

_ATTEMPTS = 10
"""Attempts to open a lock file whose folder another process removes at the same time."""

_held: dict[Path, object] = {}
"""The files that this process has locked, and a token of each holder."""


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors of the system into the error that `path` cannot be written.

    Raises:
        OutOfResourcesError: If the disk is full.
        MlcmrError: If the system refuses an operation for another reason.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, MlcmrError):
            raise
        kind = OutOfResourcesError if is_out_of_space(error) else MlcmrError
        raise kind(f"{path}: cannot be written: {reason(error)}", path=path) from error


@contextmanager
def locked(path: str | os.PathLike[str], refusal: str) -> Iterator[IO[bytes]]:
    """Open a file that only a single process, and a single thread of that process, may hold.

    The file is made if it is missing. A process that ends, even by a signal, releases its lock. If the
    context fails before a new folder holds anything else, the file and the folders made for it are removed.

    Args:
        path: The file.
        refusal: The message for a second process or thread.

    Raises:
        InUseError: If another process or thread holds the file.
        MlcmrError: If the file cannot be written or locked.
    """
    target, holder = Path(path).resolve(), object()
    # The lock of `lockf` belongs to the process: a second thread is not refused, and closing any other handle
    # of the file releases it; so holders are recorded. `flock`, which the package filelock uses, has neither
    # fault, but loading processes inherit it and hold it for a moment after their parent was killed: the
    # same command could not be started again at once.
    if _held.setdefault(target, holder) is not holder:
        raise InUseError(refusal, path=path)
    try:
        with writing(path):
            made = list(takewhile(lambda folder: not folder.exists(), target.parents))
            file = _open(target)
        try:
            _lock(file, Path(path), refusal)
            _require_same_file(file, target, refusal)
            try:
                yield file
            except BaseException:
                if made:
                    _remove_if_alone(target, made)
                raise
        finally:
            with writing(path):
                file.close()  # writes the buffered bytes
    finally:
        del _held[target]


def _open(target: Path, attempts: int = _ATTEMPTS) -> IO[bytes]:
    """Open a file and make its folder; try again if another process removes the folder meanwhile."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("a+b")
    except (FileNotFoundError, FileExistsError):
        if target.parent.is_file():
            raise InvalidValueError(
                f"{target.parent}: a file, but must be a folder", path=target.parent
            ) from None
        if attempts == 1:
            raise
        return _open(target, attempts - 1)


def _lock(file: IO[bytes], path: Path, refusal: str) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # which of them depends on the system
        raise InUseError(refusal, path=path) from error
    except OSError as error:
        raise MlcmrError(
            f"{path.parent}: cannot be locked: {reason(error)}; choose a folder on another file system",
            path=path,
        ) from error


def _require_same_file(file: IO[bytes], target: Path, refusal: str) -> None:
    """Refuse a lock file that its previous holder has deleted: a new file of that name may be locked."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), target.stat()):
            return
    raise InUseError(refusal, path=target)


def _remove_if_alone(target: Path, made: Sequence[Path]) -> None:
    """Remove a lock file and the folders made for it, innermost first, if they hold nothing else."""
    with suppress(OSError):
        if list(target.parent.iterdir()) == [target]:
            target.unlink()
            for folder in made:
                folder.rmdir()


@contextmanager
def replacing(path: str | os.PathLike[str], mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` on success and is removed on failure.

    A reader sees the old file or the new file, whole, also after a crash or a power cut.

    Args:
        path: The file.
        mode: The permissions of the file, before the process's umask.

    Raises:
        OutOfResourcesError: If the disk is full.
        MlcmrError: If the folder cannot be written for another reason.
    """
    target = Path(path)
    temporary = _temporary(target)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        with writing(target):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which becomes `path` on success and is removed on failure.

    Raises:
        InvalidValueError: If `path` exists and is not an empty folder.
        OutOfResourcesError: If the disk is full.
        MlcmrError: If the folder cannot be written for another reason.
    """
    target = Path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InvalidValueError(f"{target}: exists already; remove it or name another folder", path=target)
    temporary = _temporary(target)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    try:
        with writing(target):
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as written:
                        os.fsync(written.fileno())
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(target: Path) -> Path:
    """Return an unused name beside `target`."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
