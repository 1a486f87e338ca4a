"""Files that are replaced whole, and locks of files that one process holds at a time."""

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
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

_WRITERS = 8
"""The number of processes that may write one file or folder at the same time under names found again."""

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
    except (BlockingIOError, PermissionError) as error:  # the type depends on the system
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

    A reader sees the old file or the new file, whole, also after a crash or a power cut. Temporary files
    of killed processes are removed.

    Args:
        path: The file.
        mode: The permissions of the file, before the process's umask.

    Raises:
        OutOfResourcesError: If the disk is full.
        MlcmrError: If the folder cannot be written for another reason.
    """
    target = Path(path)

    def create(temporary: Path) -> None:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))

    with _temporary(target, create) as temporary, writing(target):
        permissions = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        if stat.S_IMODE(temporary.stat().st_mode) != permissions:  # safetensors puts a private file there
            temporary.chmod(permissions)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which becomes `path` on success and is removed on failure.

    Temporary folders of killed processes are removed.

    Raises:
        InvalidValueError: If `path` exists and is not an empty folder.
        OutOfResourcesError: If the disk is full.
        MlcmrError: If the folder cannot be written for another reason.
    """
    target = Path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InvalidValueError(f"{target}: exists already; remove it or name another folder", path=target)
    with _temporary(target, Path.mkdir) as temporary, writing(target):
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        temporary.rename(target)


def remove_unfinished(path: str | os.PathLike[str]) -> None:
    """Remove what killed processes left of writing `path`.

    Raises:
        MlcmrError: If it cannot be removed.
    """
    with writing(path):
        for temporary in _temporary_paths(Path(path)):
            _remove_if_abandoned(temporary)


@contextmanager
def _temporary(target: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """Create a file or folder beside `target` that no other process writes; remove it on failure.

    Temporary files of killed processes are removed.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        path, handle = _claim(target, create)
    try:
        yield path
    except BaseException:
        if _is_at(handle, path):  # after the renaming, another process may use the name
            with suppress(OSError):
                _remove(path)
        raise
    finally:
        os.close(handle)


def _claim(target: Path, create: Callable[[Path], None]) -> tuple[Path, int]:
    """Create a temporary file or folder and lock it, if the file system has locks.

    Returns:
        Its path, and the open file: its lock ends when it is closed or the process ends.
    """
    remove_unfinished(target)
    # Numbered names are found again after a kill. They may all be in use, or remain where there are no locks.
    for path in (*_temporary_paths(target), target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")):
        with suppress(FileExistsError):  # another process writes there
            while True:
                create(path)
                # Until it is locked, another process may take it for abandoned.
                with suppress(FileNotFoundError):
                    handle = _open_to_lock(path)
                    _lock_open(handle)
                    if _is_at(handle, path):
                        return path, handle
                    os.close(handle)
    raise InUseError(f"{target}: other processes write it; wait until they have finished", path=target)


def _remove_if_abandoned(path: Path) -> None:
    """Remove a temporary file or folder, unless a living process holds its lock."""
    if path.is_symlink():
        path.unlink()
    try:
        handle = _open_to_lock(path)
    except (FileNotFoundError, PermissionError):  # PermissionError: another user may be writing it
        return
    try:
        if _lock_open(handle, fcntl.LOCK_NB) and _is_at(handle, path):
            _remove(path)
    finally:
        os.close(handle)


def _open_to_lock(path: Path) -> int:
    """Open a file or folder, but nothing behind a link; NFS locks only files that are open for writing."""
    access = os.O_RDONLY if path.is_dir() else os.O_RDWR
    return os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK)


def _lock_open(handle: int, flags: int = 0) -> bool:
    """Lock an open file or folder and return True; return False if that is not possible."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | flags)
        return True
    return False


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file or folder is still the one at `path`."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.lstat())
    return False


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _temporary_paths(target: Path) -> Iterator[Path]:
    """Yield the names of the temporary files of `target`: each process that writes it takes another."""
    for number in range(_WRITERS):
        yield target.with_name(f".{target.name}.{number}.tmp")
