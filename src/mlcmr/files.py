"""Files that are never half-written, and that one process has at a time."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import IO

from mlcmr.errors import UserError, reason

_TRIES = 10  # to open what others remove

_held: dict[Path, object] = {}  # what this process has locked, and who in it


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Says of what the system refuses that `path` cannot be written.

    Raises:
        UserError: the system refuses something.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {reason(error)}") from error


@contextmanager
def locked(path: str | os.PathLike[str], refusal: str) -> Iterator[IO[bytes]]:
    """Opens a file, made if it is not there, that one process, and one thread in it, may have open so.

    Whoever comes second is refused. A process that ends, however it does, lets go. If something fails before
    a folder that was made for the file holds anything else, both go, and the folders that were made for that.

    Args:
        path: The file.
        refusal: What to say to who comes second.

    Raises:
        UserError: somebody else has it, or it cannot be written or locked.
    """
    target, me = Path(path).resolve(), object()
    # The system's lock is the process's: it neither refuses a second thread nor outlives the closing of any
    # other handle. flock would do both, but workers inherit it, and outlive a killed process for a moment.
    if _held.setdefault(target, me) is not me:
        raise UserError(refusal)
    try:
        with writing(path):
            made = list(takewhile(lambda folder: not folder.exists(), target.parents))
            file = _open(target)
        try:
            _lock(file, Path(path).parent, refusal)
            _require_there(file, target, refusal)
            try:
                yield file
            except BaseException:
                if made:
                    _remove_alone(target, made)
                raise
        finally:
            with writing(path):
                file.close()  # which writes what could not be written before
    finally:
        del _held[target]


def _open(target: Path, tries: int = _TRIES) -> IO[bytes]:
    """Opens a file, with its folder; again where somebody who fails removes that meanwhile."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("a+b")
    except (FileNotFoundError, FileExistsError):
        if tries == 1:
            raise
        return _open(target, tries - 1)


def _lock(file: IO[bytes], folder: Path, refusal: str) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # systems differ
        raise UserError(refusal) from error
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be locked: {reason(error)}; choose a folder on another file system"
        ) from error


def _require_there(file: IO[bytes], target: Path, refusal: str) -> None:
    """Refuses a file that who had locked it before has removed: somebody else may lock one of its name."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), target.stat()):
            return
    raise UserError(refusal)


def _remove_alone(target: Path, made: Sequence[Path]) -> None:
    """Removes a file that is locked, and the folders made for it, innermost first, if nothing is left."""
    with suppress(OSError):
        if list(target.parent.iterdir()) == [target]:
            target.unlink()
            for folder in made:
                folder.rmdir()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes the name `path`, on failure it goes.

    A reader sees the old file or the new one, whole, also after a crash or a power cut.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    target = Path(path)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        with writing(target):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; on success it takes the name `path`, on failure it goes.

    Raises:
        UserError: `path` exists and is no empty folder, it cannot be written, or the disk is full.
    """
    target = Path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target}: exists already; remove it or name another folder")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        with writing(target):
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as written:
                        os.fsync(written.fileno())
            temporary.chmod(0o777 & ~_umask())
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
