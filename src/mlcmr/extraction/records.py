"""The records of a collection's videos: `videos.jsonl`."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Len, Lt
from pydantic import AfterValidator

from mlcmr.arguments import check_arguments
from mlcmr.data.ids import IMAGE_ENDINGS
from mlcmr.errors import CorruptFileError
from mlcmr.files import replacing
from mlcmr.paths import user_path
from mlcmr.reading import Count, Many, Name, Number, Text, read_json_lines

Kind = Literal["video", "image"]

VIDEOS = "videos.jsonl"


def _require_word(video: str) -> str:
    """Refuse an id that cannot be the beginning of caption ids, frame ids and file names."""
    if video.split() != [video] or "/" in video or video in (".", ".."):
        raise ValueError("it must be one word without /")
    return video


def _require_absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("it must begin with /")
    return path


def _require_below(path: str) -> str:
    """Refuse a relative path that leads out of its folder."""
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise ValueError("it must lie below the collection's folder")
    return path


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a video.

    Attributes:
        start: Seconds from the beginning of the video.
        end: Seconds from the beginning of the video.
        frames: First and past-last row of the video's frame features.
        thumbnail: A JPEG file, relative to the collection's folder.
    """

    start: Number
    end: Number
    frames: tuple[Count, Count]
    thumbnail: Annotated[Text, AfterValidator(_require_below)]


def _require_forward(segment: Segment) -> Segment:
    if segment.start > segment.end:
        raise ValueError("it ends before it starts")
    if segment.frames[0] >= segment.frames[1]:
        raise ValueError("it has no rows")
    return segment


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """A video at the time when its features were extracted.

    Attributes:
        video: The video's id, with which caption ids and frame ids begin.
        path: The absolute path of the file.
        bytes: The size of the file.
        modified_ns: The time of the file's last change, in nanoseconds since 1970.
        kind: `video`, or `image` for a photograph, which is a video with one frame.
        duration: Seconds; 0 for an image.
        width: Of a displayed frame (after rotation), in pixels.
        height: Of a displayed frame (after rotation), in pixels.
        times: For each row of the features, when that frame is shown, in seconds.
        segments: Segments that cover the video, in order; each has at least one row.
        digest: A digest of some blocks of the file; empty in records of older versions.
    """

    video: Annotated[Name, AfterValidator(_require_word)]
    path: Annotated[Name, AfterValidator(_require_absolute)]
    bytes: Count
    modified_ns: Annotated[int, Ge(-(2**63)), Lt(2**63)]
    kind: Kind
    duration: Number
    width: Count
    height: Count
    times: Many[Number]
    segments: Annotated[Many[Annotated[Segment, AfterValidator(_require_forward)]], Len(1)]
    digest: Text = ""


@check_arguments
def read_videos(collection: str | os.PathLike[str], feature: str | None = None) -> list[VideoRecord]:
    """Read the records of a collection's videos.

    Args:
        collection: The collection's folder.
        feature: The feature to whose rows the records refer; by default the feature extracted last.

    Raises:
        NotFoundError: If there is no `videos.jsonl`.
        CorruptFileError: If `videos.jsonl` is damaged.
    """
    path = videos_file(user_path(collection), feature)
    hint = "remove it, and `mlcmr extract` makes it again"
    missing = f"{path}: no such file; `mlcmr extract` makes it"
    records = list(read_json_lines(path, VideoRecord, hint, missing=missing))
    video, times = next(iter(Counter(record.video for record in records).most_common(1)), ("", 0))
    if times > 1:
        raise CorruptFileError(f"{path}: video '{video}' occurs {times} times", path=path)
    return records


def write_videos(
    collection: str | os.PathLike[str], records: Iterable[VideoRecord], feature: str | None = None
) -> None:
    """Write `videos.jsonl` in order of path, in one step."""
    ordered = sorted(records, key=lambda record: record.path)
    with replacing(videos_file(user_path(collection), feature)) as temporary, temporary.open("w") as file:
        file.writelines(json.dumps(asdict(record)) + "\n" for record in ordered)


def videos_file(collection: Path, feature: str | None = None) -> Path:
    """Return the path of `videos.jsonl`: in a feature's folder; else in the collection's folder."""
    return (collection if feature is None else collection / "FeatureData" / feature) / VIDEOS


def is_image(path: Path) -> bool:
    """Return whether a file is a still image, by its extension."""
    return path.suffix.lower() in IMAGE_ENDINGS


def is_utf8(path: str | Path) -> bool:
    """Return whether a path is valid UTF-8: file names are bytes, and need not be text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
