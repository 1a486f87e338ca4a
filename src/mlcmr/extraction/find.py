"""Which files of a folder are videos, what ids they get, and which of them were known before."""

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mlcmr.data.ids import split_ending, video_id
from mlcmr.errors import UserError
from mlcmr.extraction.videos import VideoRecord, is_utf8


class Found(NamedTuple):
    """What there is in a folder.

    Attributes:
        files: Those that may be videos or images, in order, as they are now.
        others: How many others there are of each ending, hidden ones left out.
        closed: Folders, and files in them, that cannot be looked into, and why.
    """

    files: dict[Path, os.stat_result]
    others: Counter[str]
    closed: dict[Path, str]


def find_files(videos: Path, collection: Path) -> Found:
    """The files of a folder that may be videos or images, by their endings.

    Args:
        videos: A folder, searched with all folders in it; or a file.
        collection: The collection's folder, which is not looked into; where it is `videos` itself, what is
            extracted there is not, as thumbnails.

    Raises:
        UserError: there is no such folder or file, the folder itself cannot be looked into, or the file is
            not called as a video or an image is.
    """
    if os.path.isfile(videos):
        return _found_file(videos)
    if not os.path.isdir(videos):
        raise UserError(f"{videos}: no such folder or file, or none that may be looked at")
    left_out = {collection, collection / "thumbnails", collection / "FeatureData"}
    found = []
    others: Counter[str] = Counter()
    closed: dict[Path, str] = {}

    def note(error: OSError) -> None:
        # A link to nothing, or gone since it was listed; what cannot be read would count as gone too.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            closed[Path(error.filename)] = f"cannot be looked into: {error.strerror}"

    for path in _walk(videos, left_out, note):
        if split_ending(path.name)[1]:
            found.append(path)
        else:
            others[path.suffix.lower()] += 1
    if videos in closed:
        raise UserError(f"{videos}: {closed[videos]}")
    files = {}
    for path in sorted(found):
        try:
            files[path] = path.stat()
        except OSError as error:
            note(error)
    return Found(
        {path: status for path, status in files.items() if stat.S_ISREG(status.st_mode)}, others, closed
    )


def _found_file(path: Path) -> Found:
    if not split_ending(path.name)[1]:
        raise UserError(f"{path}: not called as a video or an image is; rename it, as to .mp4")
    return Found({path: path.stat()}, Counter(), {})


def _walk(videos: Path, left_out: Collection[Path], note: Callable[[OSError], None]) -> Iterator[Path]:
    """The files of a folder and of all folders in it, hidden ones left out."""
    for folder, folders, names in os.walk(videos, onerror=note):
        folders[:] = [
            name for name in folders if not name.startswith(".") and Path(folder, name) not in left_out
        ]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def assign_ids(files: Iterable[Path], root: Path, taken: Mapping[str, str]) -> dict[Path, str]:
    """Gives each file the id of its video; a file keeps the one that it has.

    An id is the path below `root` without the ending, with `_` for what cannot stand in caption ids and frame
    ids. Where another file has that already, the ending is added.

    Args:
        files: The files, in an order that is the same each time.
        root: The folder that ids start from.
        taken: Video ids given before, by file.
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
    yield video_id(split_ending(path.as_posix())[0])
    long = video_id(path.as_posix())
    yield long
    number = 2
    while True:
        yield f"{long}-{number}"
        number += 1


def root_of(record: VideoRecord) -> Path:
    """The folder that a video was found in when it got its id; its file's own, where that does not tell."""
    path = Path(record.path)
    for root in path.parents:
        short, long = islice(_candidates(path.relative_to(root)), 2)
        if record.video in (short, long) or re.sub(r"-[0-9]+$", "", record.video) == long:
            return root
    return path.parent


def roots_of(records: Iterable[VideoRecord]) -> set[Path]:
    """The folders that videos were found in; see `root_of`."""
    # By how much an id is longer than the file's name says where ids began: one file of each will do.
    alike = {}
    for record in records:
        folder, name = os.path.split(record.path)
        alike[folder, len(record.video) - len(name)] = record
    return set(map(root_of, alike.values()))


def gone(
    records: Iterable[VideoRecord], root: Path, files: Collection[Path], closed: Collection[Path]
) -> set[str]:
    """The ids of videos whose files were in the folder `root` and are no longer there, as far as one sees."""
    there, real = set(map(str, files)), _RealPaths()
    return {
        record.video
        for record in records
        if record.path not in there
        and (path := real(record.path)).is_relative_to(root)
        and not any(path.is_relative_to(one) for one in closed)
    }


def moved(
    records: Collection[VideoRecord], root: Path, files: Mapping[Path, os.stat_result]
) -> dict[Path, VideoRecord]:
    """Files that were known below another folder, or the same one by another name, and are no longer there.

    A file is taken for one of before that is gone if it has the same path below `root` as that had below some
    folder, the same size, and the same time of change. Where two might be meant, neither is. One that was
    named through a linked folder is the same file whatever its size.

    Returns:
        The records as they are, by the file's new path.
    """
    known = {record.path for record in records}
    lost: dict[tuple[str, int, int], list[VideoRecord]] = {}
    found: dict[Path, VideoRecord] = {}
    real = _RealPaths()
    for record in records:
        if str(path := real(record.path)) not in known and path in files:
            found[path] = record
        else:
            key = (path.name, record.bytes, record.modified_ns)
            lost.setdefault(key, []).append(record)
    # The longest paths below the folder say most.
    for path in sorted(files, key=lambda path: -len(path.parts)):
        if str(path) in known or path in found or not is_utf8(path):
            continue
        status, below = files[path], f"{os.sep}{path.relative_to(root)}"
        candidates = lost.get((path.name, status.st_size, status.st_mtime_ns), [])
        same = [one for one in candidates if one.path.endswith(below) and not os.path.lexists(one.path)]
        if len(same) == 1:
            found[path] = same[0]
            candidates.remove(same[0])
    return found


class _RealPaths(dict[str, str]):
    """Paths with the real names of their folders; a file itself may be a link."""

    def __missing__(self, folder: str) -> str:
        self[folder] = os.path.realpath(folder)
        return self[folder]

    def __call__(self, path: str) -> Path:
        folder, name = os.path.split(path)
        return Path(self[folder], name)
