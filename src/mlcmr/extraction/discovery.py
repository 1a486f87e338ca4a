"""Videos in a folder: finding the files, giving them ids, and recognising moved and deleted files."""

import errno
import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mlcmr.data.ids import split_ending, video_id
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError
from mlcmr.extraction.records import VideoRecord, is_utf8

_UNITS = (100, 1000, 10**6, 10**7, 10**9, 2 * 10**9)
"""The units to which file systems and archives round times, in nanoseconds."""
_FLOAT_ERROR = 1000  # nanoseconds that a time loses as a floating-point number of seconds
_ZONE_STEP = 15 * 60 * 10**9
_ZONES = 26 * 3600 * 10**9  # between the two most distant time zones
_BLOCK = 2**16


class FoundFiles(NamedTuple):
    """The files in a folder.

    Attributes:
        files: Videos and images by file extension, in order, with their status.
        others: The number of other files by extension, without hidden files.
        closed: Folders and files that cannot be accessed, with the reason.
    """

    files: dict[Path, os.stat_result]
    others: Counter[str]
    closed: dict[Path, str]


def find_files(videos: Path, collection: Path) -> FoundFiles:
    """Find the videos and images in a folder, by their file extensions.

    Args:
        videos: A folder, searched with all its subfolders; or a file.
        collection: The collection's folder, which is skipped. If it is `videos` itself, its thumbnails and
            features are skipped.

    Raises:
        NotFoundError: If there is no such folder or file.
        InvalidValueError: If the extension of the file is not that of a video or an image.
        MlcmrError: If the folder cannot be accessed.
    """
    require_source(videos)
    if os.path.isfile(videos):
        return FoundFiles({videos: videos.stat()}, Counter(), {})
    skipped = {collection, collection / "thumbnails", collection / "FeatureData"}
    found = []
    others: Counter[str] = Counter()
    closed: dict[Path, str] = {}

    def note(error: OSError) -> None:
        # These are broken links, and files deleted meanwhile. Other files must not count as deleted.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            closed[Path(error.filename)] = f"cannot be accessed: {error.strerror}"

    for path in _walk(videos, skipped, note):
        if split_ending(path.name)[1]:
            found.append(path)
        else:
            others[path.suffix.lower()] += 1
    if videos in closed:
        raise MlcmrError(f"{videos}: {closed[videos]}", path=videos)
    files = {}
    for path in sorted(found):
        try:
            files[path] = path.stat()
        except OSError as error:
            note(error)
    return FoundFiles(
        {path: status for path, status in files.items() if stat.S_ISREG(status.st_mode)}, others, closed
    )


def require_source(videos: Path) -> None:
    """Check that a folder exists, or a file with the extension of a video or an image; see `find_files`."""
    if os.path.isfile(videos):
        if not split_ending(videos.name)[1]:
            raise InvalidValueError(
                f"{videos}: unsupported file extension; rename it to that of its format, such as .mp4",
                path=videos,
            )
    elif not os.path.isdir(videos):
        raise NotFoundError(f"{videos}: no such folder or file, or no permission to read it", path=videos)


def _walk(videos: Path, skipped: Collection[Path], note: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, without hidden ones."""
    for folder, folders, names in os.walk(videos, onerror=note):
        folders[:] = [
            name for name in folders if not name.startswith(".") and Path(folder, name) not in skipped
        ]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def assign_ids(files: Iterable[Path], root: Path, taken: Mapping[str, str]) -> dict[Path, str]:
    """Give each file a video id. A file that has an id keeps it.

    An id is the path below `root` without the file extension. Characters that ids of captions and frames
    cannot hold become `_`. If another file has the same id, the extension is added.

    Args:
        files: The files, always in the same order.
        root: The folder from which ids start.
        taken: The ids given before, by file.
    """
    used = set(taken.values())
    ids = {}
    for path in files:
        if (video := taken.get(str(path))) is None:
            video = next(name for name in _candidates(path.relative_to(root)) if name not in used)
            used.add(video)
        ids[path] = video
    return ids


def _candidates(path: Path) -> Iterator[str]:
    """Yield the possible ids of a file, the preferred id first."""
    yield video_id(split_ending(path.as_posix())[0])
    long = video_id(path.as_posix())
    yield long
    number = 2
    while True:
        yield f"{long}-{number}"
        number += 1


def root_of(record: VideoRecord) -> Path:
    """Return the folder in which a video was found when it got its id; else the folder of its file."""
    path = Path(record.path)
    for root in path.parents:
        short, long = islice(_candidates(path.relative_to(root)), 2)
        if record.video in (short, long) or re.sub(r"-[0-9]+$", "", record.video) == long:
            return root
    return path.parent


def roots_of(records: Iterable[VideoRecord]) -> set[Path]:
    """Return the folders in which videos were found; see `root_of`."""
    # The difference in length between id and file name tells the root: one record of each kind is enough.
    examples = {}
    for record in records:
        folder, name = os.path.split(record.path)
        examples[folder, len(record.video) - len(name)] = record
    return set(map(root_of, examples.values()))


def find_gone(
    records: Iterable[VideoRecord], root: Path, files: Collection[Path], closed: Collection[Path]
) -> set[str]:
    """Return the ids of videos whose files have been deleted.

    Below `root`, a file that was not found counts as deleted. Elsewhere, a missing file counts as deleted
    only if its folder still exists; see `count_away`.

    Args:
        records: The records of all videos.
        root: The folder that was searched.
        files: The files found below `root`.
        closed: Folders and files that cannot be accessed; their videos are not deleted.
    """
    existing, real = set(map(str, files)), _RealPaths()
    gone, elsewhere = set(), []
    for record in records:
        path = real(record.path)
        if record.path in existing or any(path.is_relative_to(folder) for folder in closed):
            continue
        if path.is_relative_to(root):
            gone.add(record.video)
        else:
            elsewhere.append(record)
    return gone | removed_files(elsewhere)


def removed_files(records: Iterable[VideoRecord]) -> set[str]:
    """Return the ids of videos whose files were deleted from folders that still exist."""
    folders = _Folders()
    return {record.video for record in records if _is_missing(record) and folders.has_lost(record)}


def count_away(records: Iterable[VideoRecord], root: Path) -> Counter[Path]:
    """Count the missing videos outside `root` whose folder does not exist or is empty, by that folder.

    They do not count as deleted: their disk may not be mounted.
    """
    real, folders = _RealPaths(), _Folders()
    return Counter(
        folders.nearest(record) or root_of(record)
        for record in records
        if not real(record.path).is_relative_to(root) and _is_missing(record) and not folders.has_lost(record)
    )


def was_in(record: VideoRecord, root: Path) -> bool:
    """Return whether a video's file lies, or lay before it was deleted, below a folder."""
    return _RealPaths()(record.path).is_relative_to(root)


def find_moved(
    records: Collection[VideoRecord], root: Path, files: Mapping[Path, os.stat_result]
) -> dict[Path, VideoRecord]:
    """Find files that were moved with their folder, or whose folder was named through a link before.

    A new file is the moved file of a record if the old file is gone, the path below `root` equals the end of
    the old path (in any Unicode normalisation), and `is_unchanged` holds. If several records match, none is
    chosen, unless exactly one has the same time of change. A file that was named through a linked folder is
    the same whatever its size.

    Args:
        records: The records of all videos.
        root: The folder that was searched.
        files: The files found below `root`, with their status.

    Returns:
        The unchanged records, by the new path of the file.
    """
    known = {record.path for record in records}
    lost: dict[tuple[str, int], list[VideoRecord]] = {}
    found: dict[Path, VideoRecord] = {}
    real = _RealPaths()
    for record in records:
        if str(path := real(record.path)) not in known and path in files:
            found[path] = record
        else:
            lost.setdefault((_normalised(path.name), record.bytes), []).append(record)
    # Long paths first: they are the most specific.
    for path in sorted(files, key=lambda path: -len(path.parts)):
        if str(path) in known or path in found or not is_utf8(path):
            continue
        status, below = files[path], _normalised(f"{os.sep}{path.relative_to(root)}")
        candidates = [
            record
            for record in lost.get((_normalised(path.name), status.st_size), [])
            if _normalised(record.path).endswith(below) and not os.path.lexists(record.path)
        ]
        same = [record for record in candidates if record.modified_ns == status.st_mtime_ns]
        if not same:
            same = [record for record in candidates if is_unchanged(record, path, status)]
        if len(same) == 1:
            found[path] = same[0]
            lost[_normalised(path.name), status.st_size].remove(same[0])
    return found


def find_left_behind(
    records: Iterable[VideoRecord], root: Path, found: Mapping[Path, VideoRecord]
) -> dict[Path, VideoRecord]:
    """Find the records of a moved folder whose files were deleted or changed during the move.

    A folder was moved to `root` if most of its missing videos were `found` there. A single video may also
    have been copied from a disk that is not mounted now.

    Args:
        records: The records of all videos.
        root: The folder that was searched.
        found: The result of `find_moved`.

    Returns:
        The unchanged records, by the path that the file would have below `root`.
    """
    before = Counter(
        Path(record.path).parents[len(path.relative_to(root).parts) - 1] for path, record in found.items()
    )
    taken = {record.video for record in found.values()}
    free = [record for record in records if record.video not in taken and _is_missing(record)]
    places = {*found, *(Path(record.path) for record in records)}
    left = {}
    for folder, count in before.items():
        rest = [record for record in free if Path(record.path).is_relative_to(folder)]
        if folder != root and len(rest) < count:
            for record in rest:
                if (path := root / Path(record.path).relative_to(folder)) not in places:
                    left[path] = record
    return left


def is_unchanged(record: VideoRecord, path: Path, status: os.stat_result) -> bool:
    """Return whether a file is unchanged since its record was written.

    Its size must be equal, and its time of change as a copy keeps it: tar and rsync may cut the time to
    seconds; exFAT, SMB and FAT round it to 10 ms, 100 ns and 2 s; FAT also shifts it with the time zone. If
    the times differ, some blocks of the file are compared too.

    Args:
        record: The record.
        path: The file.
        status: The status of the file.
    """
    before, now = record.modified_ns, status.st_mtime_ns
    if record.bytes != status.st_size or before == now:
        return record.bytes == status.st_size
    if not record.digest:  # an older version wrote the record: allow rounding only
        return any(now % unit == 0 and before % unit and abs(now - before) < unit for unit in _UNITS)
    shift = (now - before + _ZONE_STEP // 2) // _ZONE_STEP * _ZONE_STEP
    rest = abs(now - before - shift)
    rounded = rest <= _FLOAT_ERROR or any(
        rest < unit and not (now % unit and before % unit) for unit in _UNITS
    )
    return rounded and abs(shift) <= _ZONES and block_digest(path) == record.digest


def block_digest(path: Path) -> str:
    """Return a digest of a file's size and of blocks at its beginning, middle and end.

    The digest is empty if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.blake2b(str(size).encode(), digest_size=12)
            for start in (0, max(size - _BLOCK, 0) // 2, max(size - _BLOCK, 0)):
                file.seek(start)
                digest.update(file.read(_BLOCK))
    except OSError:
        return ""
    return digest.hexdigest()


def _normalised(name: str) -> str:
    """Return a name in the composed form of Unicode (NFC); macOS writes the decomposed form."""
    return unicodedata.normalize("NFC", name)


def _is_missing(record: VideoRecord) -> bool:
    """Return whether the file of a record does not exist; False if it cannot be accessed."""
    try:
        os.lstat(record.path)
    except OSError as error:
        return isinstance(error, (FileNotFoundError, NotADirectoryError))
    return False


class _Folders(dict[Path, bool]):
    """Remember whether each folder has content: the folder of a disk that is not mounted is empty."""

    def __missing__(self, folder: Path) -> bool:
        try:
            with os.scandir(folder) as entries:
                self[folder] = any(True for _ in entries)
        except OSError:
            self[folder] = False
        return self[folder]

    def has_lost(self, record: VideoRecord) -> bool:
        """Return whether a missing file was deleted from a folder that still exists."""
        nearest = self.nearest(record)
        return nearest is not None and self[nearest]

    def nearest(self, record: VideoRecord) -> Path | None:
        """Return the innermost existing folder of a missing file, not above the folder where it was found."""
        root = root_of(record)
        folders = [folder for folder in Path(record.path).parents if folder.is_relative_to(root)]
        # A broken link may lead to a disk that is not mounted.
        return next((folder for folder in folders if os.path.lexists(folder)), None)


class _RealPaths(dict[str, str]):
    """Real paths of folders; the file itself may remain a link."""

    def __missing__(self, folder: str) -> str:
        self[folder] = os.path.realpath(folder)
        return self[folder]

    def __call__(self, path: str) -> Path:
        folder, name = os.path.split(path)
        return Path(self[folder], name)
