"""Finding videos in an index."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlcmr.data.languages import language_code
from mlcmr.display import many
from mlcmr.errors import UserError
from mlcmr.search.filters import Condition, Filters
from mlcmr.search.folder import Stores, open_published
from mlcmr.search.info import INFO, IndexInfo
from mlcmr.search.language import guess_language
from mlcmr.search.models import open_again
from mlcmr.search.points import segment_id
from mlcmr.search.store import Payload, Point, Query, Vector

__all__ = ["CaptionHit", "Filters", "Hit", "Searcher", "UnknownVideo", "UnreadableQuery"]

_MOST_FRAMES = 20_000  # of a file to search by; forged time stamps could ask for any number


@dataclass(frozen=True, slots=True)
class Hit:
    """A segment of a video that was found.

    Attributes:
        video: The video's id.
        segment: Which segment of it, from 0.
        score: The cosine of query and segment, -1 … 1.
        path: The file, absolute; empty where the collection has none.
        start: Where the segment begins, in seconds.
        end: Where it ends, in seconds.
        duration: Of the whole video, in seconds; 0 where that is not known, and for an image.
        width: Of the video, in pixels; 0 where that is not known.
        height: Of the video, in pixels.
        kind: `video` or `image`.
        thumbnail: A JPEG file, absolute; empty where there is none.
        caption: The video's first caption in the language of the query, where it has one; else its first of
            all; empty where it has none.
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


@dataclass(frozen=True, slots=True)
class CaptionHit:
    """A caption that was found for a video.

    Attributes:
        video: The video that it was written for.
        caption_id: Its id.
        language: Its language.
        text: The caption.
        score: The cosine of video and caption, -1 … 1.
    """

    video: str
    caption_id: str
    language: str
    text: str
    score: float


class UnknownVideo(UserError):  # noqa: N818 – it is the user who does not know
    """There is no such video in the index."""


class UnreadableQuery(UserError):  # noqa: N818 – as above
    """There is nothing in a query that the model can read."""


class _Shared:
    """A frame encoder of several threads: they decode and prepare at the same time, and encode in turn."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_prepared(self, prepared: Sequence[Any]) -> Any:
        """Features of prepared pictures; see `FrameEncoder`."""
        with self._turn:
            return self._encoder.encode_prepared(prepared)


class _Opened(NamedTuple):
    """The vectors of one generation."""

    info: IndexInfo
    stores: Stores
    size: int
    exact: bool
    seen: int  # when index.json was written


class Searcher:
    """Finds videos by texts, videos, images, and captions by videos.

    Several threads may use it at once: the model works for one at a time, the index for all. When
    `mlcmr index` has changed the index, the next search is in the new one.

    Example:
        >>> from mlcmr.search import Searcher
        >>> searcher = Searcher("index")
        >>> searcher.search("a red circle moves left", k=3)

    Args:
        index: The folder that `mlcmr index` wrote.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        UserError: there is no index, or its model is gone or has changed.
    """

    def __init__(self, index: str | Path, *, device: str = "auto") -> None:
        self.folder = Path(index).expanduser().absolute()
        self._device = device
        self._model_lock = threading.Lock()
        self._encoder_lock = threading.Lock()  # another, so that texts need not wait while a file is read
        self._open_lock = threading.Lock()
        self._encoder: Any = None
        self._opened = self._open()
        try:
            model = open_again(self._opened.info.model, device=device)
            self._model, self._trained = model.model, model.languages
        except BaseException:
            self.close()
            raise

    # ─── searching ───────────────────────────────────────────────────────────────────────────────────────

    def search(
        self, text: str, *, language: str | None = None, k: int = 10, filters: Filters | None = None
    ) -> list[Hit]:
        """The videos that a text describes, the best first.

        Args:
            text: In any language that the model knows.
            language: Its language, as `en`, `English` or `en-US`; by default guessed from its script.
            k: How many hits, at most.
            filters: What hits must meet.

        Raises:
            UnreadableQuery: the text is nothing that the model can read.
            UserError: the text is blank, the language is none, or `k` is no number of hits.
        """
        if text.strip():
            self.require_readable(text, language)
        return self.search_many([text], languages=[language], k=k, filters=filters)[0]

    def require_readable(self, text: str, language: str | None = None) -> None:
        """Sees to it that a text says anything to the model: to many, an emoji does not.

        Raises:
            UnreadableQuery: it does not.
            UserError: the language is none.
        """
        code = language_code(language) if language else guess_language(text)
        with self._model_lock:
            if not self._model.reads(text, code):
                raise UnreadableQuery(
                    f"query {text!r}: nothing in it that the model can read; say what to look for"
                )

    def search_many(
        self,
        texts: Sequence[str],
        *,
        languages: Sequence[str | None] | None = None,
        k: int | Sequence[int] = 10,
        filters: Filters | Sequence[Filters | None] | None = None,
    ) -> list[list[Hit]]:
        """The hits of several texts, embedded and searched for together; see `search`.

        `k` and `filters` are those of all texts, or one for each. A text that says nothing to the model fails
        no other, but finds what is nearest to nothing: see `require_readable`.
        """
        given = languages or [None] * len(texts)
        if blank := [text for text in texts if not text.strip()]:
            raise UserError(f"query {blank[0]!r}: blank; say what to look for")
        found = [
            language_code(language) if language else guess_language(text)
            for text, language in zip(texts, given, strict=True)
        ]
        limits = [k] * len(texts) if isinstance(k, int) else list(k)
        wanted = list(filters) if isinstance(filters, Sequence) else [filters] * len(texts)
        return self._find(self._embed_texts(texts, found), limits, wanted, found)

    def search_file(
        self,
        path: str | Path,
        *,
        k: int = 10,
        filters: Filters | None = None,
        check: Callable[[], object] = lambda: None,
    ) -> list[Hit]:
        """The videos that resemble a video or image file, the best first.

        Args:
            path: The file.
            k: How many hits, at most.
            filters: What hits must meet.
            check: Called again and again while the file is decoded; what it raises ends the search.

        Raises:
            UnreadableFileError: the file cannot be read.
            UserError: the index's features cannot be made from files.
        """
        return self._find(self._embed_file(Path(path), check), [k], [filters])[0]

    def similar(
        self, video: str, segment: int = 0, *, k: int = 10, filters: Filters | None = None
    ) -> list[Hit]:
        """The segments of other videos that resemble a segment of an indexed one.

        Raises:
            UnknownVideo: there is no such segment.
        """
        vector = self._segment(video, segment).vector
        others = (filters or Filters()).also(Condition("video", "!=", video))
        return self._find(vector[None], [k], [others])[0]

    def captions(self, video: str, *, k: int = 10, language: str | None = None) -> list[CaptionHit]:
        """The captions of the index that describe an indexed video best, as a whole.

        Args:
            video: Its id.
            k: How many, at most.
            language: In this language only.

        Raises:
            UnknownVideo: there is no such video.
            UserError: the language is none, or `k` is no number of captions.
        """
        # What its segments have in common.
        vector = np.mean([point.vector for point in self._segments(video)], axis=0)
        return self._find_captions(vector, k, language)

    def captions_of_file(
        self, path: str | Path, *, k: int = 10, language: str | None = None
    ) -> list[CaptionHit]:
        """The captions of the index that describe a video or image file best; see `captions`.

        Raises:
            UnreadableFileError: the file cannot be read.
            UserError: the index's features cannot be made from files, or as for `captions`.
        """
        return self._find_captions(self._embed_file(Path(path))[0], k, language)

    def segment(self, video: str, segment: int = 0) -> Hit:
        """A segment of an indexed video, score 1.

        Raises:
            UnknownVideo: there is no such segment.
        """
        return self._hit(self._segment(video, segment).payload)

    def video(self, video: str) -> list[Hit]:
        """All segments of an indexed video, in order, score 1.

        Raises:
            UnknownVideo: there is no such video.
        """
        return [self._hit(point.payload) for point in self._segments(video)]

    # ─── what it is ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def version(self) -> int:
        """Another number whenever the index has changed."""
        return self._current().seen

    @property
    def size(self) -> int:
        """How many segments the index holds."""
        return self._current().size

    @property
    def exact(self) -> bool:
        """Whether a search compares all segments, or follows an HNSW graph."""
        return self._current().exact

    def how(self, *, captions: bool = False) -> str:
        """How videos, or captions, are searched for, and in how many segments, or captions."""
        opened = self._current()
        store = opened.stores.captions if captions else opened.stores.segments
        kind = "exact" if store.exact else "approximate (HNSW)"
        return f"{kind} search in {many(store.count(), 'caption' if captions else 'segment')}"

    @property
    def model_name(self) -> str:
        """The run or model that the index was made with, without the folders that it lies in."""
        name = self._opened.info.model.name
        return Path(name).name if Path(name).is_absolute() else name

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the captions in the index."""
        return self._current().info.languages

    @property
    def trained_languages(self) -> tuple[str, ...]:
        """The languages that the model was trained in; none where it does not say."""
        return self._trained

    @property
    def known_languages(self) -> tuple[str, ...]:
        """Those of them that the model was trained in; all where it does not say."""
        return tuple(one for one in self.languages if not self._trained or one in self._trained)

    def close(self) -> None:
        """Lets go of the index."""
        self._opened.stores.close()

    # ─── how it is done ──────────────────────────────────────────────────────────────────────────────────

    def _find(
        self,
        vectors: Vector,
        limits: Sequence[int],
        filters: Sequence[Filters | None],
        languages: Sequence[str] | None = None,
    ) -> list[list[Hit]]:
        for limit in limits:
            _require_count(limit)
        queries = [
            Query(vector, limit, wanted or Filters())
            for vector, limit, wanted in zip(vectors, limits, filters, strict=True)
        ]
        found = self._current().stores.segments.search(queries)
        return [
            [self._hit(one.payload, one.score, language) for one in hits]
            for hits, language in zip(found, languages or [""] * len(queries), strict=True)
        ]

    def _find_captions(self, vector: Vector, k: int, language: str | None) -> list[CaptionHit]:
        _require_count(k)
        opened = self._current()
        filters = Filters()
        if language:
            # What the captions themselves are marked with is right, whatever it is.
            code = language if language in opened.info.languages else language_code(language)
            filters = Filters((Condition("language", "=", code),))
        (found,) = opened.stores.captions.search([Query(vector, k, filters)])
        return [
            CaptionHit(
                one.payload["video"],
                one.payload["caption_id"],
                one.payload["language"],
                one.payload["text"],
                one.score,
            )
            for one in found
        ]

    def _embed_texts(self, texts: Sequence[str], languages: Sequence[str]) -> Vector:
        vectors = np.empty((len(texts), self._opened.info.model.embedding_size), np.float32)
        with self._model_lock:
            for language in dict.fromkeys(languages):
                rows = [row for row, one in enumerate(languages) if one == language]
                vectors[rows] = self._model.encode_texts([texts[row] for row in rows], language).numpy()
        return vectors

    def _embed_file(self, path: Path, check: Callable[[], object] = lambda: None) -> Vector:
        from mlcmr.extraction.extract import sample_file  # noqa: PLC0415 – texts need no PyAV

        encoder, sampling = self._encoding()
        _, features = sample_file(path, encoder, sampling, most_frames=_MOST_FRAMES, check=check)
        with self._model_lock:
            vectors: Vector = self._model.encode_videos([features]).numpy()
        return vectors

    def _encoding(self) -> tuple[Any, Any]:
        """The encoder that makes the index's features from files, and which frames it is given."""
        from mlcmr.extraction.decode import Sampling  # noqa: PLC0415
        from mlcmr.extraction.encoders import LIGHT, load_encoder  # noqa: PLC0415

        info = self._opened.info
        name = info.encoder or (LIGHT if info.feature == LIGHT else None)
        if name is None:
            raise UserError(
                f"{self.folder}: what makes the feature '{info.feature}' from a file is not known; to search "
                "by files, index once more with --encoder"
            )
        with self._encoder_lock:
            if self._encoder is None:
                encoder = load_encoder(name, device=self._device)
                if encoder.dimension != info.model.feature_size:
                    raise UserError(
                        f"encoder {name}: makes features of {encoder.dimension:,} numbers, but the model "
                        f"takes {info.model.feature_size:,}; index once more with the one whose features it "
                        "was trained on (--encoder)"
                    )
                rate = encoder.rate if info.rate is None and info.count is None else info.rate
                self._encoder = _Shared(encoder), Sampling(rate, info.count)
            return self._encoder  # type: ignore[no-any-return]

    def _segment(self, video: str, segment: int) -> Point:
        points = self._current().stores.segments.get([segment_id(video, segment)])
        if not points:
            raise UnknownVideo(
                f"video '{video}', segment {segment}: not in the index; `mlcmr search` shows ids"
            )
        return points[0]

    def _segments(self, video: str) -> list[Point]:
        """The segments of a video, in order."""
        store = self._current().stores.segments
        points = store.get([segment_id(video, 0)])
        if not points:
            raise UnknownVideo(f"video '{video}': not in the index; `mlcmr search` shows ids")
        rest = range(1, int(points[0].payload["segments"]))
        points += store.get([segment_id(video, number) for number in rest])
        return sorted(points, key=lambda point: int(point.payload["segment"]))

    def _hit(self, payload: Payload, score: float = 1.0, language: str = "") -> Hit:
        thumbnail = payload["thumbnail"]
        return Hit(
            video=payload["video"],
            segment=int(payload["segment"]),
            score=min(max(score, -1.0), 1.0),
            path=payload["path"],
            start=payload["start"],
            end=payload["end"],
            duration=payload["duration"],
            width=int(payload["width"]),
            height=int(payload["height"]),
            kind=payload["kind"],
            thumbnail=str(self.folder / payload["source"] / thumbnail) if thumbnail else "",
            # An older index has the first caption only.
            caption=payload.get("captions", {}).get(language, payload["caption"]),
        )

    def _open(self) -> _Opened:
        seen = self._written()
        info, stores = open_published(self.folder)
        return _Opened(info, stores, stores.segments.count(), stores.segments.exact, seen)

    def _current(self) -> _Opened:
        """The vectors that are valid now."""
        if self._opened.seen != self._written():
            with self._open_lock:
                if self._opened.seen != self._written():
                    self._reopen()
        return self._opened

    def _reopen(self) -> None:
        new = self._open()
        old = self._opened
        if new.info.model.fingerprint != old.info.model.fingerprint:
            new.stores.close()
            raise UserError(f"{self.folder}: is another index now; open it anew")
        # The old vectors close by themselves when the last thread that searches in them is done.
        self._opened = new

    def _written(self) -> int:
        try:
            return (self.folder / INFO).stat().st_mtime_ns
        except OSError:
            return self._opened.seen if hasattr(self, "_opened") else 0


def _require_count(k: int) -> None:
    if k < 1:
        raise UserError(f"k is {k}, but must be at least 1")
