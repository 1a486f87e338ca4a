"""Hits: segments of videos and captions that a search has found, read from the payloads of an index."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mlcmr.search.record import Record
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


class NamedFiles(NamedTuple):
    """The files that the payload of a segment names. A stranger's index may name any file.

    Attributes:
        video: The absolute path of the video; empty if the collection has no file.
        collection: The folder of the collection.
        thumbnail: The absolute path of a JPEG file; empty if there is none.
    """

    video: str
    collection: Path
    thumbnail: str


def read_files(record: Record) -> NamedFiles:
    """Read the paths in the payload of a segment.

    Raises:
        CorruptFileError: If the payload is damaged.
    """
    video, source, thumbnail = map(record.path, ("path", "source", "thumbnail"))
    if video and not video.startswith("/"):
        raise record.damage("path")
    collection = record.folder / source
    return NamedFiles(video, collection, str(collection / thumbnail) if thumbnail else "")


def read_hit(record: Record, score: float = 1.0, language: str = "") -> Hit:
    """Read the payload of a segment.

    Args:
        record: The payload.
        score: The score of the hit.
        language: The language of the caption that is preferred.

    Raises:
        CorruptFileError: If the payload is damaged.
    """
    files = read_files(record)
    captions = record.payload.get("captions", {})  # an older index has the first caption only
    caption = captions.get(language) if isinstance(captions, dict) else None
    return Hit(
        video=record.text("video"),
        segment=int(record.number("segment")),
        score=min(max(score, -1.0), 1.0),
        path=files.video,
        start=record.number("start"),
        end=record.number("end"),
        duration=record.number("duration"),
        width=int(record.number("width")),
        height=int(record.number("height")),
        kind=record.text("kind"),
        thumbnail=files.thumbnail,
        caption=caption if isinstance(caption, str) else record.text("caption"),
    )


def read_caption_hit(record: Record, score: float) -> CaptionHit:
    """Read the payload of a caption.

    Raises:
        CorruptFileError: If the payload is damaged.
    """
    video, caption_id, language, text = map(record.text, ("video", "caption_id", "language", "text"))
    return CaptionHit(video, caption_id, language, text, score)


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
