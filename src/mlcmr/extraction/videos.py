"""The videos of a collection: `videos.jsonl`, the ids of files, and which files of a folder are videos."""

import errno
import json
import math
import os
import re
import reprlib
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from mlcmr.data.ids import IMAGE_ENDINGS, split_ending, video_id
from mlcmr.errors import UserError, reason
from mlcmr.files import replacing

Kind = Literal["video", "image"]

VIDEOS = "videos.jsonl"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a video.

    Attributes:
        start: Seconds from the beginning of the video.
        end: Seconds from the beginning of the video.
        frames: First and past-last row of the video's frame features.
        thumbnail: A JPEG file, relative to the collection's folder.
    """

    start: float
    end: float
    frames: tuple[int, int]
    thumbnail: str


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """A video as it was when its features were extracted.

    Attributes:
        video: Its id, which caption ids and frame ids begin with.
        path: The file, absolute.
        bytes: The file's size.
        modified_ns: When the file was last changed, nanoseconds since 1970.
        kind: `video`, or `image` for a photograph, which is a video of one frame.
        duration: Seconds; 0 for an image.
        width: Of a frame, in pixels, as it is shown (after rotation).
        height: Of a frame, in pixels, as it is shown.
        times: For each row of its features, when that frame is shown, in seconds.
        segments: Stretches that cover the video, in order; each has at least one row.
    """

    video: str
    path: str
    bytes: int
    modified_ns: int
    kind: Kind
    duration: float
    width: int
    height: int
    times: tuple[float, ...]
    segments: tuple[Segment, ...]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "VideoRecord":
        """What `dataclasses.asdict` made of a record, which may since have been in other hands.

        Raises:
            ValueError, TypeError, OverflowError: something in it cannot be.
            KeyError: something is missing.
        """
        return cls(
            video=_checked(content, "video", str, _is_word),
            path=_checked(content, "path", str, lambda path: path[:1] == "/" and _is_name(path)),
            bytes=_checked(content, "bytes", int, _is_amount),
            modified_ns=_checked(content, "modified_ns", int, _is_number),
            kind=_checked(content, "kind", str, lambda kind: kind in get_args(Kind)),
            duration=_checked(content, "duration", (int, float), _is_number),
            width=_checked(content, "width", int, _is_amount),
            height=_checked(content, "height", int, _is_amount),
            times=tuple(_checked(content, "times", list, _are_numbers)),
            segments=tuple(map(_segment, _checked(content, "segments", list, len))),
        )


def _segment(content: Mapping[str, Any]) -> Segment:
    start = _checked(content, "start", (int, float), _is_number)
    return Segment(
        start=start,
        end=_checked(content, "end", (int, float), lambda end: _is_number(end) and start <= end),
        frames=tuple(_checked(content, "frames", list, _are_rows)),
        thumbnail=_checked(content, "thumbnail", str, _is_below),
    )


def _checked(
    content: Mapping[str, Any], name: str, kind: type | tuple[type, ...], holds: Callable[[Any], object]
) -> Any:
    """What `content` says under a name, if it is of a kind and something holds of it."""
    value = content[name]
    if not isinstance(value, kind) or not holds(value):
        raise ValueError(f"{name} cannot be {reprlib.repr(value)}")
    return value


def _is_number(value: object) -> bool:
    """Whether it is a number that 64 bits hold."""
    return type(value) in (int, float) and -(2**63) <= value < 2**63  # type: ignore[operator]


def _are_numbers(values: Sequence[Any]) -> bool:
    """The same of many, quickly: a long video has many frames."""
    return set(map(type, values)) <= {int, float} and all(map(math.isfinite, values))


def _is_amount(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are_rows(frames: Sequence[object]) -> bool:
    """Whether it is a first and a past-last row, and one at least between them."""
    return len(frames) == 2 and all(map(_is_amount, frames)) and frames[0] < frames[1]  # type: ignore[operator]


def _is_word(video: str) -> bool:
    """Whether ids of captions and frames, and names of files, may begin so."""
    return video.split() == [video] and "/" not in video and video not in (".", "..") and _is_name(video)


def _is_name(path: str) -> bool:
    """Whether something can be called so: JSON can say what is no text, and what no file is called."""
    return is_utf8(path) and "\0" not in path


def _is_below(path: str) -> bool:
    """Whether a path does not lead out of the folder that it is relative to."""
    return _is_name(path) and path[:1] != "/" and ".." not in path.split("/")


def read_videos(collection: str | os.PathLike[str], feature: str | None = None) -> list[VideoRecord]:
    """Reads what is known of a collection's videos.

    Args:
        collection: The collection's folder.
        feature: The feature whose rows the records speak of; by default the one that was extracted last.

    Raises:
        UserError: there is no `videos.jsonl`, or it is damaged.
    """
    path = videos_file(Path(collection), feature)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read; `mlcmr extract` makes it: {error}") from error
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(VideoRecord.from_dict(json.loads(line)))
        except KeyError as error:
            raise UserError(f"{path}:{number}: not the record of a video: {error} is missing") from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path}:{number}: not the record of a video: {reason(error)}") from error
    video, times = next(iter(Counter(record.video for record in records).most_common(1)), ("", 0))
    if times > 1:
        raise UserError(f"{path}: video '{video}' is there {times} times")
    return records


def write_videos(
    collection: str | os.PathLike[str], records: Iterable[VideoRecord], feature: str | None = None
) -> None:
    """Writes `videos.jsonl`, whole or not at all, in order of path."""
    ordered = sorted(records, key=lambda record: record.path)
    with replacing(videos_file(Path(collection), feature)) as temporary, temporary.open("w") as file:
        file.writelines(json.dumps(asdict(record)) + "\n" for record in ordered)


def videos_file(collection: Path, feature: str | None = None) -> Path:
    """Where the records lie: of one feature in its folder; of the one extracted last, in the collection's."""
    return (collection if feature is None else collection / "FeatureData" / feature) / VIDEOS


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


def is_image(path: Path) -> bool:
    """Whether a file is a still image, by its ending."""
    return path.suffix.lower() in IMAGE_ENDINGS


def is_utf8(path: str | Path) -> bool:
    """Whether a path can be written down: file names are bytes, and need not be text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


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
