"""Files that an index names, checked before they are handed out.

An index may come from a stranger, and a path in it can name any file. A file is opened only if its real
path lies below a folder that this user has indexed or allowed. It is handed out only if its content is a
picture or a video.
"""

import os
import shlex
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from io import FileIO
from typing import NamedTuple

from mlcmr.errors import MlcmrError, NotFoundError, unreadable
from mlcmr.search.media_types import is_named_as_media
from mlcmr.trust import is_below

_TO_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # a named pipe would block


class NotHandedOut(MlcmrError):  # noqa: N818 – as UnknownVideo
    """The index names a file that may not be handed out."""


class FileGone(NotFoundError):  # noqa: N818 – as UnknownVideo
    """The index names a file that is gone or cannot be read."""


class MediaFile(NamedTuple):
    """An open video or picture that may be handed out.

    Attributes:
        file: The file; the caller closes it.
        path: The path in the index.
        format: The format of the content; see `Media`.
    """

    file: FileIO
    path: str
    format: str


def open_media_file(path: str, roots: Iterable[str]) -> MediaFile:
    """Open a video or picture below one of some folders.

    Args:
        path: The file, absolute.
        roots: Real paths of folders.

    Raises:
        FileGone: If the file is gone, or cannot be read.
        NotHandedOut: If the file lies elsewhere, or is neither a video nor a picture.
    """
    from mlcmr.extraction.media.images import UnreadableFileError  # noqa: PLC0415 – needs Pillow

    file = open_below(path, roots)
    status = os.fstat(file.fileno())
    content = _FileState(
        status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, path_of_open(file, path)
    )
    try:
        return MediaFile(file, path, _format_of(content))
    except UnreadableFileError:
        file.close()
        raise NotHandedOut(f"{path}: is neither a video nor a picture") from None
    except BaseException:
        file.close()
        raise


def open_thumbnail(path: str, collection: str | os.PathLike[str], roots: Iterable[str]) -> MediaFile:
    """Open a JPEG file in a collection that lies below one of some folders; see `open_media_file`."""
    if not path:
        raise FileGone("the index names no file")
    real = os.path.realpath(collection)
    if not is_below(path, [real]):
        raise NotHandedOut(f"{path}: lies outside its collection, {real}")
    require_below(path, roots, real)
    thumbnail = open_media_file(path, [real])
    if thumbnail.format != "JPEG":
        thumbnail.file.close()
        raise NotHandedOut(f"{path}: is not a JPEG file, but thumbnails must be JPEG files")
    return thumbnail


def open_below(path: str, roots: Iterable[str]) -> FileIO:
    """Open a regular file below one of some folders; see `open_media_file`."""
    if not path:
        raise FileGone("the index names no file")
    real = os.path.realpath(path)
    require_below(path, roots)
    try:
        file = FileIO(real, opener=lambda name, _: os.open(name, _TO_READ))
    except OSError as error:
        raise FileGone(f"{path}: {unreadable(error)}") from error
    status = os.fstat(file.fileno())
    # A folder of the path may have been replaced by a link since `require_below`.
    if not stat.S_ISREG(status.st_mode) or os.path.realpath(real) != real or not _is_there(real, status):
        file.close()
        raise FileGone(f"{path}: is not a regular file")
    return file


def require_below(path: str, roots: Iterable[str], folder: str | None = None) -> None:
    """Refuse a file whose folder lies in none of some folders.

    Args:
        path: The file.
        roots: Real paths of folders.
        folder: The folder that must lie in one of them; by default that of the file, links followed.

    Raises:
        NotHandedOut: If the folder lies elsewhere. The message says how to allow it, if the file has the
            name of a video or an image: a stranger's index may name any file.
    """
    real = os.path.realpath(path)
    if path.startswith("/") and is_below(folder or real, roots):
        return
    allow = folder or os.path.dirname(real)  # noqa: PTH120 – `path` is a text
    advice = f"to hand the file out: `mlcmr serve --media-root {shlex.quote(allow)}`"
    if not is_named_as_media(real):
        advice = "its name is not that of a video or an image"
    raise NotHandedOut(f"{path}: lies outside the folders that were indexed here; {advice}")


def path_of_open(file: FileIO, path: str) -> str:
    """Return a path of an open file that stays valid when another file takes its name.

    On systems without `/dev/fd`, this is `path` itself.
    """
    opened = f"/dev/fd/{file.fileno()}"
    return opened if os.path.exists(opened) else path


def _is_there(real: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(real), status)
    except OSError:
        return False


@dataclass(frozen=True)
class _FileState:
    """The state of a file; while the state is the same, so is the content."""

    device: int
    inode: int
    size: int
    changed_ns: int
    path: str = field(compare=False)


@lru_cache(maxsize=10_000)
def _format_of(content: _FileState) -> str:
    """Return the format of a video or picture; each content is opened once.

    Raises:
        UnreadableFileError: If the content is neither a video nor a picture.
    """
    from mlcmr.extraction.media.decode import open_media  # noqa: PLC0415 – needs PyAV

    with open_media(content.path) as media:
        return media.format
