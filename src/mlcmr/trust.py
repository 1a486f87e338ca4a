"""The names that this user has given in commands: servers, models of the hub, code, folders of videos.

Collections, indexes and models name files, servers, models and code too, and may come from a stranger. Such a
name is used only if this user has given the same name. The record of given names lies in the user's own state
folder (`$XDG_STATE_HOME/mlcmr`, else `~/.local/state/mlcmr`), never in a collection or an index.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError, reason
from mlcmr.files import replacing
from mlcmr.paths import user_path
from mlcmr.reading import Count, Many, Name, parse_json, read_json

_RECORD, _LOCK = "named.json", "lock"
_MOST = 1000  # names of a kind; older names are dropped
_MOST_ROOTS = 20  # folders of one collection or index


class NotRecordedError(MlcmrError):
    """The names that this user has given cannot be recorded."""


@dataclass(frozen=True)
class _Indexed:
    """An index that this user has made.

    Attributes:
        identity: The id that the index carries. A copy carries the same id.
        roots: The folders whose files are in the index.
        place: Device and inode of the index's folder. A moved folder keeps both, a copy has others.
    """

    identity: Name
    roots: Many[Name]
    place: Many[Count] = ()


@dataclass
class _GivenNames:
    """The names that the record holds; see `remember`."""

    urls: Many[Name] = ()
    models: Many[Name] = ()
    code: Many[Name] = ()
    collections: dict[str, Many[Name]] = field(default_factory=dict)
    indexes: dict[str, _Indexed] = field(default_factory=dict)


def is_named_server(url: str) -> bool:
    """Return whether this user has named a Qdrant server."""
    return url in _known().urls


def is_named_model(name: str) -> bool:
    """Return whether this user has named a model of the hub."""
    return name in _known().models


def is_named_code(name: str) -> bool:
    """Return whether this user has named code of another package, as `package.module:Name`."""
    record = _known()
    return name in record.code or name in record.models  # older versions recorded encoders among the models


def roots_of_collection(folder: Path) -> tuple[str, ...]:
    """Return the folders from which this user has extracted videos into a collection."""
    return tuple(_known().collections.get(os.path.realpath(folder), ()))


def roots_of_index(folder: Path, identity: str) -> tuple[str, ...]:
    """Return the folders whose files this user has indexed in an index.

    An index that was moved on its disk keeps its folders. A copy does not: a stranger may have changed it.
    """
    same = {path: one for path, one in _known().indexes.items() if one.identity == identity}
    place = _place(folder)
    moved = (one for one in same.values() if place and one.place == place)
    known = same.get(os.path.realpath(folder)) or next(moved, None)
    return known.roots if known else ()


def remember(
    *,
    url: str | None = None,
    models: Iterable[str] = (),
    code: Iterable[str] = (),
    collection: Path | None = None,
    index: tuple[Path, str] | None = None,
    roots: Sequence[str] = (),
) -> None:
    """Record names that this user has given.

    Args:
        url: A Qdrant server.
        models: Models of the hub.
        code: Code of other packages, as `package.module:Name`.
        collection: A collection whose videos lie in `roots`.
        index: The folder and the id of an index whose videos lie in `roots`.
        roots: Folders whose files may be read and handed out.

    Raises:
        NotRecordedError: If there is no home folder, a name is not UTF-8, or the record cannot be written.
    """
    folder = _state_folder()
    if folder is None:
        raise NotRecordedError("there is no home folder; XDG_STATE_HOME can name one")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            record = _read()
            before = _json(record)
            record.urls = _joined(record.urls, [url] if url else [])
            record.models = _joined(record.models, models)
            record.code = _joined(record.code, code)
            if collection is not None:
                path = os.path.realpath(collection)
                record.collections[path] = _outermost(record.collections.pop(path, ()), roots)
            if index is not None:
                path, identity = os.path.realpath(index[0]), index[1]
                known = roots_of_index(*index)
                record.indexes.pop(path, None)
                record.indexes[path] = _Indexed(identity, _outermost(known, roots), _place(index[0]))
            after = _json(record)
            if after != before:
                # A name that cannot be read back, as one that is not UTF-8, would make all names forgotten.
                parse_json(after, _GivenNames, "the names", "choose other names")
                with replacing(folder / _RECORD, mode=0o600) as temporary:
                    temporary.write_bytes(after)
        finally:
            os.close(lock)
    except MlcmrError as error:
        raise NotRecordedError(str(error)) from error
    except OSError as error:
        raise NotRecordedError(f"{folder}: {reason(error)}") from error


def is_below(path: str | os.PathLike[str], roots: Iterable[str]) -> bool:
    """Return whether the real path of a file lies in one of some folders, given by their real paths."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(root) for root in roots)


def _place(folder: Path) -> tuple[int, ...]:
    """Return device and inode of a folder; nothing if there is no folder."""
    try:
        status = folder.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino


def _state_folder() -> Path | None:
    """Return the folder of this user's state; None if there is no home folder."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():
        try:
            base = user_path("~/.local/state")
        except MlcmrError:
            return None
    return base / "mlcmr" if base.is_absolute() else None


def _known() -> _GivenNames:
    """Return the record; an empty one if it cannot be read."""
    with suppress(MlcmrError):
        return _read()
    return _GivenNames()


def _read() -> _GivenNames:
    """Read the record. A missing or damaged record counts as empty, and `remember` replaces it.

    Raises:
        MlcmrError: If the record is there but cannot be read now.
    """
    folder = _state_folder()
    if folder is not None:
        with suppress(NotFoundError, CorruptFileError):
            return read_json(folder / _RECORD, _GivenNames, "remove it")
    return _GivenNames()


def _json(record: _GivenNames) -> bytes:
    """Return the record as JSON, without the oldest entries of a kind that has too many."""
    for kind in (record.collections, record.indexes):
        for old in list(kind)[:-_MOST]:
            del kind[old]
    return (json.dumps(asdict(record), indent=1) + "\n").encode()


def _joined(known: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    """Return known and new names, each name once, without the oldest names beyond the limit."""
    return tuple(dict.fromkeys([*known, *new]))[-_MOST:]


def _outermost(known: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    """Return folders, without folders inside other folders and names that are not UTF-8."""
    folders = [one for one in _joined(known, new) if one == one.encode(errors="replace").decode()]
    return tuple(
        one
        for one in folders
        if not any(one != other and Path(one).is_relative_to(other) for other in folders)
    )[-_MOST_ROOTS:]
