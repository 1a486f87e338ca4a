"""The schemas of the API's responses, as its OpenAPI description documents them."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, Field

from mlcmr.search.hits import CaptionHit, Hit
from mlcmr.search.http.media import media_type


class Error(BaseModel):
    """The response to a request that failed."""

    error: Annotated[
        str, Field(description="What is wrong, in one line.", examples=["k: must be at most 100"])
    ]


class SegmentAnswer(BaseModel):
    """A stretch of a video."""

    segment: Annotated[
        int, Field(description="The number of the segment in the video, from 0.", examples=[2])
    ]
    start: Annotated[float, Field(description="The start, in seconds.", examples=[20.0])]
    end: Annotated[float, Field(description="The end, in seconds.", examples=[30.0])]
    thumbnail: Annotated[
        str | None, Field(description="The address of the thumbnail.", examples=["/thumbnails/cat01/2"])
    ]


class _MediaAnswer(BaseModel):
    video: Annotated[str, Field(description="The video's id in the index.", examples=["cat01"])]
    kind: Annotated[str, Field(description="`video` or `image`.", examples=["video"])]
    path: Annotated[
        str, Field(description="The path of the file when it was indexed.", examples=["/videos/cat01.mp4"])
    ]
    media: Annotated[str | None, Field(description="The address of the file.", examples=["/media/cat01"])]
    media_type: Annotated[
        str | None,
        Field(
            description="The media type by the file extension; `/media` sends the media type of the content.",
            examples=["video/mp4"],
        ),
    ]
    duration: Annotated[
        float, Field(description="The duration of the whole video, in seconds.", examples=[42.5])
    ]
    width: Annotated[int, Field(examples=[1280])]
    height: Annotated[int, Field(examples=[720])]


class HitAnswer(_MediaAnswer, SegmentAnswer):
    """A hit: a segment with its score."""

    score: Annotated[float, Field(description="The cosine of query and segment.", examples=[0.61])]
    caption: Annotated[
        str,
        Field(
            description="A caption of the video, in the language of the query if there is one.",
            examples=["A cat sleeps."],
        ),
    ]


class SearchAnswer(BaseModel):
    """The hits of a search, the best first."""

    hits: list[HitAnswer]
    milliseconds: Annotated[float, Field(description="The time that the server took.", examples=[12.5])]


class CaptionAnswer(BaseModel):
    """A caption that fits a video."""

    video: Annotated[str, Field(description="The video that it was written for.", examples=["cat01"])]
    caption: Annotated[str, Field(description="The id of the caption.", examples=["cat01#enc#0"])]
    language: Annotated[str, Field(examples=["en"])]
    text: Annotated[str, Field(examples=["A cat sleeps on a sofa."])]
    score: Annotated[float, Field(description="Cosine with the video.", examples=[0.58])]


class VideoAnswer(_MediaAnswer):
    """One indexed video."""

    segments: list[SegmentAnswer]
    captions: Annotated[
        list[CaptionAnswer], Field(description="The captions nearest to the video, the best first.")
    ]


class Example(BaseModel):
    """An example of a query."""

    language: Annotated[str, Field(examples=["zh"])]
    text: Annotated[str, Field(examples=["一只猫在沙发上睡觉"])]


class IndexAnswer(BaseModel):
    """A description of the index."""

    size: Annotated[int, Field(description="The number of segments.", examples=[1200])]
    model: Annotated[str, Field(examples=["runs/vatex-parallel"])]
    languages: Annotated[list[str], Field(examples=[["en", "zh"]])]
    search: Annotated[Literal["exact", "HNSW"], Field(description="How the nearest segments are found.")]
    examples: list[Example]
    largest_upload: Annotated[int, Field(description="The largest upload, in bytes.", examples=[200_000_000])]


class HealthAnswer(BaseModel):
    """The response of a server that works."""

    status: Literal["ok"] = "ok"


def search_answer(hits: Iterable[Hit], seconds: float) -> SearchAnswer:
    """Return the response to a search."""
    answers = [
        HitAnswer(
            **_media(hit),
            **_segment(hit).model_dump(),
            score=hit.score,
            caption=hit.caption,
        )
        for hit in hits
    ]
    return SearchAnswer(hits=answers, milliseconds=round(1000 * seconds, 1))


def video_answer(segments: Sequence[Hit], captions: Iterable[CaptionHit]) -> VideoAnswer:
    """Return the response for a video.

    Args:
        segments: All segments of the video.
        captions: The captions nearest to the video.
    """
    return VideoAnswer(
        **_media(segments[0]),
        segments=[_segment(hit) for hit in segments],
        captions=[
            CaptionAnswer(
                video=caption.video,
                caption=caption.caption_id,
                language=caption.language,
                text=caption.text,
                score=caption.score,
            )
            for caption in captions
        ],
    )


def _media(hit: Hit) -> dict[str, Any]:
    return {
        "video": hit.video,
        "kind": hit.kind,
        "path": hit.path,
        "media": f"/media/{quote(hit.video)}" if hit.path else None,
        "media_type": media_type(hit.path) if hit.path else None,
        "duration": hit.duration,
        "width": hit.width,
        "height": hit.height,
    }


def _segment(hit: Hit) -> SegmentAnswer:
    address = f"/thumbnails/{quote(hit.video)}/{hit.segment}" if hit.thumbnail else None
    return SegmentAnswer(segment=hit.segment, start=hit.start, end=hit.end, thumbnail=address)
