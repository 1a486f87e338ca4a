"""What an index stores of a segment and of a caption."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict

from mlcmr.extraction.videos import VideoRecord
from mlcmr.search.filters import NUMBERS
from mlcmr.search.source import Caption
from mlcmr.search.store import PayloadType, Point, Vector

SEGMENT_FIELDS: dict[str, PayloadType] = {
    "video": "keyword",
    "kind": "keyword",
    "path": "keyword",
    "duration": "float",
}
"""What filters are mostly put on, and what the engine therefore indexes; the other fields take it longer."""
FILTER_FIELDS: dict[str, PayloadType] = {**SEGMENT_FIELDS, **dict.fromkeys(NUMBERS, "float")}
"""All that filters are put on: a server may refuse a field that it does not index, as Qdrant's cloud does."""
CAPTION_FIELDS: dict[str, PayloadType] = {"video": "keyword", "language": "keyword"}

_NAMES = uuid.UUID("6f1d3f0e-54a1-4c0b-9d57-9f3d3f2a7c11")  # ours alone, so that ids are those of nobody else


def segment_id(video: str, segment: int) -> str:
    """The id of a segment's vector."""
    # Whatever is asked for: bytes of an argument that are not UTF-8 name no video.
    known = video.encode(errors="backslashreplace").decode()
    return str(uuid.uuid5(_NAMES, f"segment {segment} {known}"))


def caption_point_id(caption_id: str) -> str:
    """The id of a caption's vector."""
    return str(uuid.uuid5(_NAMES, f"caption {caption_id}"))


def segment_point(
    record: VideoRecord,
    number: int,
    vector: Vector,
    *,
    captions: Mapping[str, str],
    source: str,
    stamp: str,
    features: str,
) -> Point:
    """A segment with its vector.

    Args:
        record: The video.
        number: Which of its segments.
        vector: (D,) float32.
        captions: The video's first caption in each of its languages, by language, the first language first.
        source: The collection that the video is from.
        stamp: What changes when the video may have to be embedded or described anew.
        features: What changes when the segment's frame features do.
    """
    segment = record.segments[number]
    payload = {
        "video": record.video,
        "segment": number,
        "segments": len(record.segments),
        "start": float(segment.start),
        "end": float(segment.end),
        "kind": record.kind,
        "duration": float(record.duration),
        "width": float(record.width),
        "height": float(record.height),
        "path": record.path,
        "thumbnail": segment.thumbnail,
        "caption": next(iter(captions.values()), ""),  # engines do not keep the order of a dictionary
        "captions": dict(captions),
        "source": source,
        "stamp": stamp,
        "features": features,
    }
    return Point(segment_id(record.video, number), vector, payload)


def caption_point(caption: Caption, vector: Vector, *, source: str) -> Point:
    """A caption with its vector (D,) float32, and the collection that it is from."""
    return Point(caption_point_id(caption.caption_id), vector, {**asdict(caption), "source": source})
