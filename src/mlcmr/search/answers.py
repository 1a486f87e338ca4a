"""What the API answers, as documented in its OpenAPI description."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, Field

from mlcmr.search.media import media_type
from mlcmr.search.searcher import CaptionHit, Hit


class Error(BaseModel):
    """Every answer that is not the one asked for."""

    error: Annotated[str, Field(description="One line: what is wrong.", examples=["k: must be at most 100"])]


class Segment(BaseModel):
    """A stretch of a video."""

    segment: Annotated[int, Field(description="Its number in the video, from 0.", examples=[2])]
    start: Annotated[float, Field(description="In seconds.", examples=[20.0])]
    end: Annotated[float, Field(description="In seconds.", examples=[30.0])]
    thumbnail: Annotated[str | None, Field(description="Address.", examples=["/thumbnails/cat01/2"])]


class _Media(BaseModel):
    video: Annotated[str, Field(description="The video's id in the index.", examples=["cat01"])]
    kind: Annotated[str, Field(description="`video` or `image`.", examples=["video"])]
    path: Annotated[str, Field(description="Of the file, as it was indexed.", examples=["/videos/cat01.mp4"])]
    media: Annotated[str | None, Field(description="Address of the file.", examples=["/media/cat01"])]
    media_type: Annotated[
        str | None,
        Field(description="Of the file: `image/…` where `<img>` shows it.", examples=["video/mp4"]),
    ]
    duration: Annotated[float, Field(description="Of the whole video, in seconds.", examples=[42.5])]
    width: Annotated[int, Field(examples=[1280])]
    height: Annotated[int, Field(examples=[720])]


class HitAnswer(_Media, Segment):
    """A segment that was found."""

    score: Annotated[float, Field(description="Cosine with the query.", examples=[0.61])]
    caption: Annotated[
        str,
        Field(
            description="One of the video, in the sentence's language where there is one.",
            examples=["A cat sleeps."],
        ),
    ]


class SearchAnswer(BaseModel):
    """Hits, the best first."""

    hits: list[HitAnswer]
    milliseconds: Annotated[float, Field(description="That the server took.", examples=[12.5])]


class CaptionAnswer(BaseModel):
    """A caption that fits a video."""

    video: Annotated[str, Field(description="The video that it was written for.", examples=["cat01"])]
    caption: Annotated[str, Field(description="Its id.", examples=["cat01#enc#0"])]
    language: Annotated[str, Field(examples=["en"])]
    text: Annotated[str, Field(examples=["A cat sleeps on a sofa."])]
    score: Annotated[float, Field(description="Cosine with the video.", examples=[0.58])]


class VideoAnswer(_Media):
    """One indexed video."""

    segments: list[Segment]
    captions: Annotated[list[CaptionAnswer], Field(description="Those nearest to it, the best first.")]


class Example(BaseModel):
    """A query that finds something."""

    language: Annotated[str, Field(examples=["zh"])]
    text: Annotated[str, Field(examples=["一只猫在沙发上睡觉"])]


class IndexAnswer(BaseModel):
    """The index that is served."""

    size: Annotated[int, Field(description="Segments.", examples=[1200])]
    model: Annotated[str, Field(examples=["runs/vatex-parallel"])]
    languages: Annotated[list[str], Field(examples=[["en", "zh"]])]
    search: Annotated[Literal["exact", "HNSW"], Field(description="How the nearest are found.")]
    examples: list[Example]
    largest_upload: Annotated[int, Field(description="In bytes.", examples=[200_000_000])]


class HealthAnswer(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


def search_answer(hits: Iterable[Hit], seconds: float) -> SearchAnswer:
    """Hits as the API says them."""
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
    """A video, from all its segments."""
    return VideoAnswer(
        **_media(segments[0]),
        segments=[_segment(hit) for hit in segments],
        captions=[
            CaptionAnswer(
                video=one.video,
                caption=one.caption_id,
                language=one.language,
                text=one.text,
                score=one.score,
            )
            for one in captions
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


def _segment(hit: Hit) -> Segment:
    address = f"/thumbnails/{quote(hit.video)}/{hit.segment}" if hit.thumbnail else None
    return Segment(segment=hit.segment, start=hit.start, end=hit.end, thumbnail=address)
