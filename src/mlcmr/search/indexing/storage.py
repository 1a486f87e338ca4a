"""The folder of an index, its readers and its only writer.

index.json           the model, the feature and the number of the valid vectors
lock                 held by the writer
vectors-<n>/         segments/ and captions/: one store each, unless a server keeps the vectors;
                     checksums.json: the checksums of their files
collection/          the extracted features, if videos were indexed rather than a collection

A writer changes a copy, `vectors-<n + 1>`; when the copy is complete, `index.json` names it. So searches
continue in the old vectors until the new vectors are complete. If a writer is killed, its stored vectors
count: the next writer continues them, and the next reader publishes them.
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

from mlcmr.errors import (
    CorruptFileError,
    InvalidValueError,
    MlcmrError,
    NotFoundError,
    OutOfResourcesError,
    is_out_of_space,
    reason,
)
from mlcmr.files import locked, remove_unfinished, writing
from mlcmr.search.indexing.checksums import CHECKSUMS, Guard, write_checksums
from mlcmr.search.indexing.manifest import INFO, IndexInfo, read_info, write_info
from mlcmr.search.indexing.payload import CAPTION_FIELDS, FILTER_FIELDS, SEGMENT_FIELDS
from mlcmr.search.stores.base import StoreConfig, VectorStore, on_server, require_disk_space
from mlcmr.search.stores.registry import store_class, store_name
from mlcmr.trust import is_named_server

LOCK, COLLECTION = "lock", "collection"
_UNFINISHED = ".vectors.unfinished"
_INDEX_AGAIN = "index into another folder (`to`)"
_CHUNK = 1024 * 1024  # bytes
_READERS = "readers"  # each process that reads the vectors holds a shared lock on this file


class ReadLock:
    """A lock that keeps vectors from being removed while a process reads them, until it is closed or deleted.

    Args:
        vectors: The folder of the vectors.

    Raises:
        FileNotFoundError: If the vectors were removed.
    """

    def __init__(self, vectors: Path) -> None:
        self._handle = -1
        self._handle = os.open(vectors / _READERS, os.O_RDONLY)
        fcntl.flock(self._handle, fcntl.LOCK_SH)
        (vectors / _READERS).stat()  # a writer may have removed the folder before the lock

    def close(self) -> None:
        """Release the vectors."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        self.close()


class Stores(NamedTuple):
    """The two stores of an index, with the lock and the checksums of their files if they are only read."""

    segments: VectorStore
    captions: VectorStore
    read_lock: ReadLock | None = None
    guard: Guard | None = None

    def close(self) -> None:
        """Close both stores, and release their files."""
        self.segments.close()
        self.captions.close()
        if self.read_lock is not None:
            self.read_lock.close()


def open_published(
    folder: Path,
    *,
    url: str | None = None,
    store: str | type[VectorStore] | None = None,
    repair: bool = True,
) -> tuple[IndexInfo, Stores]:
    """Open an index for reading, in any number of processes, also while another process writes.

    Args:
        folder: The index.
        url: A server that may be used, besides those that this user has named before.
        store: A vector store of another package that may be imported (see `mlcmr.registry`), or its class.
        repair: Whether the vectors of a killed writer are published first.

    Raises:
        MlcmrError: If there is no index, or the index is empty, or names a server or a store that this user
            has not named.
    """
    if repair:
        _publish_leftover(folder, store)
    while True:
        info = read_info(folder)
        opened = store_of(folder, info, store)
        if opened.on_server:
            return info, _open_on_server(folder, info, opened, url, writing=False)
        if not info.generation:
            raise NotFoundError(f"{folder}: the index is empty; wait for `mlcmr index`, or run it again")
        vectors = _vectors(folder, info.generation)
        try:
            return info, _open_for_reading(vectors, info, opened)
        except _GoneError:
            if read_info(folder).generation == info.generation:
                raise


class IndexWriter:
    """The only writer of an index.

    Args:
        folder: The index.
        url: A server that may be used; see `open_published`.
        store: A vector store that may be used; see `open_published`.
    """

    def __init__(
        self, folder: Path, *, url: str | None = None, store: str | type[VectorStore] | None = None
    ) -> None:
        self.folder = folder
        self._url = url
        self._store = store
        self._stores: Stores | None = None
        self._writable = False
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        busy = f"{self.folder}: another process writes this index; wait until it has finished"
        self._lock.enter_context(locked(self.folder / LOCK, busy))
        # Killed writers may have left unfinished files.
        shutil.rmtree(self.folder / _UNFINISHED, ignore_errors=True)
        remove_unfinished(self.folder / INFO)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also after an error or Ctrl-C: searches find all vectors that were stored.
        try:
            with writing(self.folder):
                if self._writable:
                    self._publish()
                elif self._stores is not None:
                    self._stores.close()
                    write_info(self.folder, read_info(self.folder))  # so that searchers open the stores again
        finally:
            self._lock.__exit__(kind, raised, trace)

    def open_stores(self) -> Stores:
        """Open the stores as they are, to read them before any change, or return the open stores."""
        info = read_info(self.folder)
        if self._stores is None:
            store = store_of(self.folder, info, self._store)
            if store.on_server:
                self._stores = _open_on_server(self.folder, info, store, self._url, writing=True)
            elif info.generation == 0 or _vectors(self.folder, info.generation + 1).exists():
                self.open_for_writing()
            else:
                self._stores = _open_for_reading(_vectors(self.folder, info.generation), info, store)
        assert self._stores is not None
        return self._stores

    def open_for_writing(self) -> Stores:
        """Open the stores for writing, in a copy of the folder, or return the open stores."""
        if self._writable:
            assert self._stores is not None
            return self._stores
        info = read_info(self.folder)
        store = store_of(self.folder, info, self._store)
        if store.on_server:
            return self.open_stores()
        if self._stores is not None:
            self._stores.close()
            self._stores = None
        require_disk_space(self.folder)
        new = _vectors(self.folder, info.generation + 1)
        if new.exists():
            # If the folder is damaged, the user decides: its vectors were reported as stored.
            (new / CHECKSUMS).unlink(missing_ok=True)
            advice = f"remove {new}, which an interrupted writer left, to continue from the vectors before it"
        else:
            advice = _INDEX_AGAIN
            _copy_vectors(self.folder, info, new, store)
        self._stores = Stores(*open_stores(info, store, new, advice, writing=True))
        self._writable = True
        return self._stores

    def _publish(self) -> None:
        assert self._stores is not None
        self._stores.segments.publish()
        self._stores.captions.publish()
        info = read_info(self.folder)
        new = _vectors(self.folder, info.generation + 1)
        write_checksums(new)
        _sync(_all_in(new))
        write_info(self.folder, replace(info, generation=info.generation + 1))
        _sync([self.folder])  # before the old vectors are removed
        remove_unread(self.folder, info.generation + 1)


def remove_unread(folder: Path, current: int) -> None:
    """Remove vectors older than the current vectors, unless a process reads them."""
    for path in folder.glob("vectors-*"):
        number = path.name.removeprefix("vectors-")
        if number.isdigit() and int(number) < current:
            with suppress(OSError), (path / _READERS).open("rb") as hold:
                fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)


class _GoneError(MlcmrError):
    """The vectors of an index are missing: a writer has replaced them, or they were lost."""


def _vectors(folder: Path, generation: int) -> Path:
    return folder / f"vectors-{generation}"


def _copy_vectors(folder: Path, info: IndexInfo, new: Path, store: type[VectorStore]) -> None:
    """Make the folder of the next generation: a copy of the current folder, or empty stores."""
    unfinished = folder / _UNFINISHED
    try:
        with writing(folder):
            if info.generation:
                # A damaged file must not get a new checksum.
                Guard(_vectors(folder, info.generation))
                shutil.copytree(
                    _vectors(folder, info.generation),
                    unfinished,
                    ignore=shutil.ignore_patterns(CHECKSUMS),
                    copy_function=_copy,
                )
            else:
                unfinished.mkdir()
                (unfinished / _READERS).touch()
                for empty in open_stores(info, store, unfinished, writing=True):
                    empty.close()
            # A folder with the final name holds complete stores, also after a power cut.
            _sync(_all_in(unfinished))
            unfinished.rename(new)
            _sync([folder])
    except MlcmrError:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _publish_leftover(folder: Path, store: str | type[VectorStore] | None) -> None:
    info = read_info(folder)
    if info.url is None and _vectors(folder, info.generation + 1).exists():
        # The vectors stay unpublished while another process writes, or if this process may not write.
        with suppress(MlcmrError), IndexWriter(folder, store=store) as writer:
            if _vectors(folder, read_info(folder).generation + 1).exists():
                writer.open_for_writing()


def _open_for_reading(vectors: Path, info: IndexInfo, store: type[VectorStore]) -> Stores:
    try:
        read_lock = ReadLock(vectors)
    except FileNotFoundError as error:
        raise _GoneError(f"{vectors}: missing or incomplete; {_INDEX_AGAIN}", path=vectors) from error
    guard = Guard(vectors)
    if all(os.access(path, os.W_OK) for path in _all_in(vectors)):
        return Stores(*open_stores(info, store, vectors, writing=False), read_lock, guard)
    # Qdrant Edge opens its files for writing, also to read them. Open files stay readable without a name.
    try:
        with tempfile.TemporaryDirectory(prefix="mlcmr-", ignore_cleanup_errors=True) as copy:
            shutil.copytree(vectors, copy, copy_function=_copy, dirs_exist_ok=True)
            for path in _all_in(Path(copy)):
                path.chmod(0o700)
            return Stores(*open_stores(info, store, Path(copy), writing=False), read_lock)
    except MlcmrError:
        raise
    except OSError as error:
        kind = OutOfResourcesError if is_out_of_space(error) else MlcmrError
        raise kind(
            f"{vectors}: is read-only, and cannot be copied to a temporary folder: {reason(error)}; set the "
            "environment variable TMPDIR to a folder with enough free space",
            path=vectors,
        ) from error


def open_stores(
    info: IndexInfo,
    store: type[VectorStore],
    vectors: Path | None = None,
    advice: str = _INDEX_AGAIN,
    *,
    writing: bool,
) -> tuple[VectorStore, VectorStore]:
    """Open the two stores of an index.

    Args:
        info: The description of the index.
        store: The class of the stores.
        vectors: The folder that holds their files; None for stores on a server.
        advice: What the user can do if the files of a store are damaged.
        writing: Whether the stores are opened for writing.

    Returns:
        The stores for segments and for captions.

    Raises:
        CorruptFileError: If the files of a store are damaged.
        MlcmrError: If a store cannot be opened for another reason.
    """
    names = collection_names(info.name) if vectors is None else ("segments", "captions")
    fields = (FILTER_FIELDS if store.on_server else SEGMENT_FIELDS, CAPTION_FIELDS)
    opened: list[VectorStore] = []
    try:
        with ExitStack() as on_failure:
            for name, indexed in zip(names, fields, strict=True):
                folder = None if vectors is None else vectors / name
                size = info.model.embedding_size
                config = StoreConfig(name, size, indexed, info.id, folder, info.url, writing=writing)
                opened.append(store.open(config))
                on_failure.callback(opened[-1].close)
            on_failure.pop_all()
    except CorruptFileError as error:
        if vectors is None:
            raise
        raise CorruptFileError(f"{error}; {advice}", path=vectors) from error
    return opened[0], opened[1]


def collection_names(prefix: str | None) -> tuple[str, str]:
    """Return the names of the collections of an index on a server."""
    return f"{prefix}-segments", f"{prefix}-captions"


def store_of(
    folder: Path, info: IndexInfo, named: str | type[VectorStore] | None = None
) -> type[VectorStore]:
    """Return the class of the stores of an index.

    Args:
        folder: The index.
        info: Its description.
        named: A store that the user has given; code that only an index names is not imported.

    Raises:
        InvalidValueError: If there is no such store, or the user has not named its code.
        MissingDependencyError: If its engine is not installed.
    """
    if named is not None and store_name(named) == info.store_name:
        return store_class(named, source=None)
    return store_class(info.store_name, source=folder / INFO)


def _open_on_server(
    folder: Path, info: IndexInfo, store: type[VectorStore], named: str | None, *, writing: bool
) -> Stores:
    server = on_server(store)
    assert server is not None
    if info.url is None:
        raise CorruptFileError(f"{folder / INFO}: names no server; {_INDEX_AGAIN}", path=folder / INFO)
    try:
        url = server.whole_address(info.url)
    except InvalidValueError as error:
        fault = f"{folder / INFO}: 'url' is not the address of a server, which may hold no user or password"
        raise CorruptFileError(f"{fault}; {_INDEX_AGAIN}", path=folder / INFO) from error
    # A stranger's index may name any server: send no request and no key to a server that it chooses.
    if not is_named_server(url) and (named is None or server.whole_address(named) != url):
        raise MlcmrError(
            f"{folder}: the vectors are on a server that you have not named, {url}; to use it all the same, "
            f"give `url` {url}",
            path=folder,
            parameter="url",
        )
    return Stores(*open_stores(replace(info, url=url), store, writing=writing))


def _copy(source: str, target: str) -> None:
    """Copy a file without its holes, which make up most of the files of Qdrant Edge."""
    with Path(source).open("rb") as file, Path(target).open("wb") as copy:
        size = os.fstat(file.fileno()).st_size
        copy.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # only a hole is left
                break
            stop = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            copy.seek(at)
            while chunk := file.read(min(stop - at, _CHUNK)):
                copy.write(chunk)
                at += len(chunk)


def _all_in(folder: Path) -> list[Path]:
    return [*folder.rglob("*"), folder]


def _sync(paths: Iterable[Path]) -> None:
    """Flush files and the entries of folders to the disk, so that they survive a power cut."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
