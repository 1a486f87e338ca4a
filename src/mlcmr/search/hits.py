"""Hits: segments of videos and captions that a search has found, read from the payloads of an index."""

import math
import reprlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlcmr.errors import CorruptFileError, reason
from mlcmr.search.stores.base import Payload, ScoredPoint
from mlcmr.text import printable


@dataclass(frozen=True, slots=True)
class Hit:
    """A segment of a video that was found; `str` gives one line: `cat01 0:12–0:20 0.613`.

    Attributes:
        video: The video's id.
        segment: The number of the segment in the video, from 0.
        score: The cosine of query and segment, -1 … 1.
        path: The absolute path of the file; empty if the collection has no file.
        start: The start of the segment, in seconds.
        end: The end of the segment, in seconds.
        duration: The duration of the whole video, in seconds; 0 if it is not known, and for an image.
        width: The width of the video, in pixels; 0 if it is not known.
        height: The height of the video, in pixels; 0 if it is not known.
        kind: `video` or `image`.
        thumbnail: The absolute path of a JPEG file; empty if there is none.
        caption: The first caption of the video in the language of the query; else the first caption of the
            video; empty if the video has no captions.
    """

    video: str
    segment: int
    score: float
    path: str
    start: float
    end: float
    duration: float
    width: int
    height: int
    kind: str
    thumbnail: str
    caption: str

    @property
    def time_range(self) -> str:
        """The start and the end as a text: `0:12–0:20`; empty for an image, or if the end is not known."""
        return f"{_clock(self.start)}–{_clock(self.end)}" if self.end else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as `mlcmr search --json` prints them."""
        return asdict(self)

    def __str__(self) -> str:
        return " ".join(filter(None, (printable(self.video), self.time_range, f"{self.score:.3f}")))


@dataclass(frozen=True, slots=True)
class CaptionHit:
    """A caption that was found for a video; `str` gives one line: `cat01 0.613 A cat sleeps.`.

    Attributes:
        video: The video that the caption was written for.
        caption_id: The id of the caption.
        language: The language of the caption.
        text: The caption.
        score: The cosine of video and caption, -1 … 1.
    """

    video: str
    caption_id: str
    language: str
    text: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as `mlcmr search --json` prints them."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{printable(self.video)} {self.score:.3f} {printable(self.text)}"


def read_hit(folder: Path, payload: Payload, score: float = 1.0, language: str = "") -> Hit:
    """Read the payload of a segment.

    Args:
        folder: The index.
        payload: The payload.
        score: The score of the hit.
        language: The language of the caption that is preferred.

    Raises:
        CorruptFileError: If the payload is damaged; a stranger may have made the index.
    """
    try:
        return _checked_hit(folder, payload, score, language)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptFileError(
            f"{folder}: the record of a segment is damaged: {reason(error)}; index into another folder (`to`)"
        ) from error


def read_caption_hit(point: ScoredPoint) -> CaptionHit:
    """Read the payload of a caption."""
    payload = point.payload
    return CaptionHit(
        payload["video"], payload["caption_id"], payload["language"], payload["text"], point.score
    )


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _checked_hit(folder: Path, payload: Payload, score: float, language: str) -> Hit:
    path, thumbnail = _field(payload, "path", str), _field(payload, "thumbnail", str)
    if path and (not path.startswith("/") or "\0" in path + thumbnail):
        raise ValueError(f"path is {reprlib.repr(path)}")
    start, end, duration, width, height = (
        float(_field(payload, name, (int, float))) for name in ("start", "end", "duration", "width", "height")
    )
    if not all(map(math.isfinite, (start, end, duration, width, height))):
        raise ValueError("a number is not finite")
    captions = payload.get("captions", {})  # an older index has the first caption only
    caption = captions.get(language) if isinstance(captions, dict) else None
    return Hit(
        video=_field(payload, "video", str),
        segment=int(_field(payload, "segment", (int, float))),
        score=min(max(score, -1.0), 1.0),
        path=path,
        start=start,
        end=end,
        duration=duration,
        width=int(width),
        height=int(height),
        kind=_field(payload, "kind", str),
        thumbnail=str(folder / _field(payload, "source", str) / thumbnail) if thumbnail else "",
        caption=caption if isinstance(caption, str) else _field(payload, "caption", str),
    )


def _field(payload: Payload, name: str, kind: type | tuple[type, ...]) -> Any:
    """Return a field of a payload.

    Raises:
        KeyError: If there is no such field.
        TypeError: If the field has another type.
    """
    value = payload[name]
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {reprlib.repr(value)}")
    return value
