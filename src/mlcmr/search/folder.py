"""An index on disk, and who may write it.

index.json           which model, which features, which vectors are valid now
lock                 held by whoever writes
vectors-<n>/         segments/ and captions/: one Qdrant Edge store each (not where a server keeps them)
collection/          what was extracted, where videos were indexed and not a collection

Whoever writes does so in a copy, `vectors-<n + 1>`; when it is complete, `index.json` names it. So searching
goes on while an index is written, and sees the old vectors until the new ones are there. What a killed writer
has left, the next writer goes on with, and the next reader publishes: it was acknowledged.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from mlcmr.errors import UserError, reason
from mlcmr.files import locked
from mlcmr.search.info import INFO, IndexInfo, read_info, write_info
from mlcmr.search.points import CAPTION_FIELDS, FILTER_FIELDS, SEGMENT_FIELDS
from mlcmr.search.store import VectorStore

LOCK, COLLECTION = "lock", "collection"
_UNFINISHED = ".vectors.unfinished"
_MAKE_ANEW = "index into another folder (--to)"
_PIECE = 1024 * 1024
_READERS = "readers"  # locked, shared, by whoever has the vectors open


class Hold:
    """Keeps vectors from being removed while they are read, until it is closed or forgotten.

    Args:
        vectors: Their folder.

    Raises:
        FileNotFoundError: they were removed.
    """

    def __init__(self, vectors: Path) -> None:
        self._handle = -1
        self._handle = os.open(vectors / _READERS, os.O_RDONLY)
        fcntl.flock(self._handle, fcntl.LOCK_SH)
        (vectors / _READERS).stat()  # they may have been removed before they were locked

    def close(self) -> None:
        """Lets go."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        self.close()


class Stores(NamedTuple):
    """The two stores of an index, and what keeps their files while they are read."""

    segments: VectorStore
    captions: VectorStore
    hold: Hold | None = None

    def close(self) -> None:
        """Lets go of both."""
        self.segments.close()
        self.captions.close()
        if self.hold is not None:
            self.hold.close()


def open_published(folder: Path) -> tuple[IndexInfo, Stores]:
    """Opens an index for reading; any number of processes may, also while another writes.

    Raises:
        UserError: there is no index, or nothing in it yet.
    """
    _publish_leftover(folder)
    while True:
        info = read_info(folder)
        if info.url is not None:
            return info, _on_server(info, writing=False)
        if not info.generation:
            raise UserError(f"{folder}: nothing in this index yet; wait for `mlcmr index`, or run it (again)")
        vectors = _vectors(folder, info.generation)
        try:
            return info, _open_for_reading(vectors, info)
        except _GoneError:
            if read_info(folder).generation == info.generation:
                raise


class IndexWriter:
    """The one who may write an index.

    Args:
        folder: The index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stores: Stores | None = None
        self._begun = False
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        busy = f"{self.folder}: another process writes this index; wait until it is done"
        self._lock.enter_context(locked(self.folder / LOCK, busy))
        # What killed writers had not finished.
        shutil.rmtree(self.folder / _UNFINISHED, ignore_errors=True)
        for path in self.folder.glob(f".{INFO}.*.tmp"):
            path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also after an error or Ctrl-C: what was acknowledged is to be found.
        try:
            if self._begun:
                self._publish()
            elif self._stores is not None:
                self._stores.close()
                write_info(self.folder, read_info(self.folder))  # searchers look at a server's vectors anew
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {reason(error)}") from error
        finally:
            self._lock.__exit__(kind, raised, trace)

    @property
    def stores(self) -> Stores:
        """The stores as they are, to look at before anything is changed."""
        info = read_info(self.folder)
        if self._stores is None:
            if info.url is not None:
                self._stores = _on_server(info, writing=True)
            elif info.generation == 0 or _vectors(self.folder, info.generation + 1).exists():
                self.begin()
            else:
                self._stores = _open_for_reading(_vectors(self.folder, info.generation), info)
        assert self._stores is not None
        return self._stores

    def begin(self) -> Stores:
        """The stores to write to."""
        if self._begun:
            assert self._stores is not None
            return self._stores
        info = read_info(self.folder)
        if info.url is not None:
            return self.stores
        if self._stores is not None:
            self._stores.close()
            self._stores = None
        from mlcmr.search.edge import require_room  # noqa: PLC0415

        require_room(self.folder)
        new = _vectors(self.folder, info.generation + 1)
        if new.exists():
            # Not for us to take away if it is damaged: what it holds was acknowledged.
            advice = f"remove {new}, which an interrupted writer left, to go on with what was before it"
        else:
            advice = _MAKE_ANEW
            _copy_vectors(self.folder, info, new)
        self._stores = Stores(*_edge_stores(new, info, advice, writing=True))
        self._begun = True
        return self._stores

    def _publish(self) -> None:
        from mlcmr.search.edge import EdgeStore  # noqa: PLC0415

        assert self._stores is not None
        for store in self._stores[:2]:
            assert isinstance(store, EdgeStore)
            store.optimize()
            store.seal()
        info = read_info(self.folder)
        new = _vectors(self.folder, info.generation + 1)
        _sync(_all_in(new))
        write_info(self.folder, replace(info, generation=info.generation + 1))
        _sync([self.folder])  # before the old ones go
        remove_unread(self.folder, info.generation + 1)


def remove_unread(folder: Path, current: int) -> None:
    """Removes vectors older than the current ones, but for those that somebody reads."""
    for path in folder.glob("vectors-*"):
        number = path.name.removeprefix("vectors-")
        if number.isdigit() and int(number) < current:
            with suppress(OSError), (path / _READERS).open("rb") as hold:
                fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)


class _GoneError(UserError):
    """The vectors are not there: newer ones are, or they were lost."""


def _vectors(folder: Path, generation: int) -> Path:
    return folder / f"vectors-{generation}"


def _copy_vectors(folder: Path, info: IndexInfo, new: Path) -> None:
    """Makes the next generation's folder: a copy of the current one, or empty stores."""
    unfinished = folder / _UNFINISHED
    try:
        if info.generation:
            shutil.copytree(_vectors(folder, info.generation), unfinished, copy_function=_copy)
        else:
            unfinished.mkdir()
            (unfinished / _READERS).touch()
            for store in _edge_stores(unfinished, info, _MAKE_ANEW, writing=True):
                store.close()
        # Whoever finds it under its name, also after a power cut, finds whole stores in it.
        _sync(_all_in(unfinished))
        unfinished.rename(new)
        _sync([folder])
    except (OSError, shutil.Error) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise UserError(f"{folder}: cannot be written: {reason(error)}") from error


def _publish_leftover(folder: Path) -> None:
    info = read_info(folder)
    if info.url is None and _vectors(folder, info.generation + 1).exists():
        # While somebody writes there, or where this process may not write, it waits.
        with suppress(UserError), IndexWriter(folder) as writer:
            if _vectors(folder, read_info(folder).generation + 1).exists():
                writer.begin()


def _open_for_reading(vectors: Path, info: IndexInfo) -> Stores:
    try:
        hold = Hold(vectors)
    except FileNotFoundError as error:
        raise _GoneError(f"{vectors}: is missing or not whole; {_MAKE_ANEW}") from error
    if all(os.access(path, os.W_OK) for path in _all_in(vectors)):
        return Stores(*_edge_stores(vectors, info, _MAKE_ANEW, writing=False), hold)
    # The engine opens its files for writing, also to read them; what is open needs no name any more.
    try:
        with tempfile.TemporaryDirectory(prefix="mlcmr-", ignore_cleanup_errors=True) as copy:
            shutil.copytree(vectors, copy, copy_function=_copy, dirs_exist_ok=True)
            for path in _all_in(Path(copy)):
                path.chmod(0o700)
            return Stores(*_edge_stores(Path(copy), info, _MAKE_ANEW, writing=False), hold)
    except (OSError, shutil.Error) as error:
        raise UserError(
            f"{vectors}: is read-only, and cannot be copied to where it is not: {reason(error)}; name "
            "a folder with room in the environment's TMPDIR"
        ) from error


def _edge_stores(
    vectors: Path, info: IndexInfo, advice: str, *, writing: bool
) -> tuple[VectorStore, VectorStore]:
    from mlcmr.search.edge import EdgeStore  # noqa: PLC0415 – whoever uses a server need not have it

    size = info.model.embedding_size
    try:
        return (
            EdgeStore(vectors / "segments", size, SEGMENT_FIELDS, writing=writing),
            EdgeStore(vectors / "captions", size, CAPTION_FIELDS, writing=writing),
        )
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error


def require_free(url: str, name: str) -> None:
    """Sees to it that a new index takes no other's collections on a server.

    Raises:
        UserError: the name is taken, or the server cannot be reached.
    """
    from mlcmr.search import server  # noqa: PLC0415

    server.require_free(url, _collections(name))


def _collections(name: str) -> tuple[str, str]:
    return f"{name}-segments", f"{name}-captions"


def _on_server(info: IndexInfo, *, writing: bool) -> Stores:
    from mlcmr.search.server import ServerStore  # noqa: PLC0415

    assert info.url is not None
    assert info.name is not None
    stores = [
        ServerStore(info.url, name, info.model.embedding_size, fields, info.id, writing=writing)
        for name, fields in zip(_collections(info.name), (FILTER_FIELDS, CAPTION_FIELDS), strict=True)
    ]
    return Stores(stores[0], stores[1])


def _copy(source: str, target: str) -> None:
    """Copies a file, holes left out: the engine's files are mostly room for more."""
    with Path(source).open("rb") as file, Path(target).open("wb") as copy:
        size = os.fstat(file.fileno()).st_size
        copy.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                break
            stop = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            copy.seek(at)
            while part := file.read(min(stop - at, _PIECE)):
                copy.write(part)
                at += len(part)


def _all_in(folder: Path) -> list[Path]:
    return [*folder.rglob("*"), folder]


def _sync(paths: Iterable[Path]) -> None:
    """Sees to it that a power cut leaves files, and the names in folders, as they are now."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
