"""The videos of a collection: `videos.jsonl`."""

import json
import math
import os
import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mlcmr.data.ids import IMAGE_ENDINGS
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
