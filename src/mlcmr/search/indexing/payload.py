"""The points that an index stores for segments and captions."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict

from mlcmr.extraction.records import VideoRecord
from mlcmr.search.filters import NUMBERS
from mlcmr.search.indexing.index_source import IndexedCaption
from mlcmr.search.stores.base import PayloadType, Point, Vector

SEGMENT_FIELDS: dict[str, PayloadType] = {
    "video": "keyword",
    "kind": "keyword",
    "path": "keyword",
    "duration": "float",
}
"""The fields that filters mostly use, which Qdrant Edge therefore indexes; other fields are slower."""
FILTER_FIELDS: dict[str, PayloadType] = {**SEGMENT_FIELDS, **dict.fromkeys(NUMBERS, "float")}
"""All fields that filters use. A server may refuse a field without an index, as Qdrant's cloud does."""
CAPTION_FIELDS: dict[str, PayloadType] = {"video": "keyword", "language": "keyword"}

_NAMES = uuid.UUID("6f1d3f0e-54a1-4c0b-9d57-9f3d3f2a7c11")  # random


def segment_id(video: str, segment: int) -> str:
    """Return the id of a segment's point."""
    # An argument may hold bytes that are not UTF-8; then there is no such video.
    name = video.encode(errors="backslashreplace").decode()
    return str(uuid.uuid5(_NAMES, f"segment {segment} {name}"))


def caption_point_id(caption_id: str) -> str:
    """Return the id of a caption's point."""
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
    """Return the point of a segment.

    Args:
        record: The video.
        number: The number of the segment, from 0.
        vector: (D,) float32.
        captions: The first caption of the video in each language, by language; the first language first.
        source: The collection of the video.
        stamp: A digest of the description of the video; if it changes, the video is updated.
        features: A digest of the frame features of the segment; if it changes, the segment is embedded again.
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


def caption_point(caption: IndexedCaption, vector: Vector, *, source: str) -> Point:
    """Return the point of a caption.

    Args:
        caption: The caption.
        vector: (D,) float32.
        source: The collection of the caption.
    """
    return Point(caption_point_id(caption.caption_id), vector, {**asdict(caption), "source": source})
