"""Search in an index: videos by texts, files and videos, and captions by videos."""

import math
import os
import reprlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from mlcmr.data.features.finite import require_normalisable
from mlcmr.data.ids import spellings
from mlcmr.data.language_detection import guess_language
from mlcmr.data.languages import language_among
from mlcmr.errors import CorruptFileError, InUseError, InvalidValueError, MlcmrError, NotFoundError, reason
from mlcmr.model.protocol import SearchModel
from mlcmr.paths import user_path
from mlcmr.search.file_access import MediaFile, open_media_file, open_thumbnail, require_below
from mlcmr.search.filters import Condition, Filters
from mlcmr.search.indexing.manifest import INFO, IndexInfo
from mlcmr.search.indexing.payload import segment_id
from mlcmr.search.indexing.storage import Stores, open_published
from mlcmr.search.models import open_again, open_named_encoder
from mlcmr.search.stores.base import Payload, Point, Vector, VectorQuery, VectorStore
from mlcmr.text import plural
from mlcmr.trust import is_below, roots_of_index

if TYPE_CHECKING:
    from mlcmr.extraction.encoders.base import FrameEncoder
    from mlcmr.extraction.media.sampling import Sampling

__all__ = ["CaptionHit", "Filters", "Hit", "Searcher", "UnknownVideo", "UnreadableQuery"]

_BROKEN = "check the model with `mlcmr evaluate`, and index again"
_MOST_FRAMES = 20_000  # in a query file; forged time stamps could ask for any number


@dataclass(frozen=True, slots=True)
class Hit:
    """A segment of a video that was found.

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


@dataclass(frozen=True, slots=True)
class CaptionHit:
    """A caption that was found for a video.

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


class UnknownVideo(NotFoundError):  # noqa: N818 – users' programs catch it by this name
    """The index has no such video or segment."""


class UnreadableQuery(InvalidValueError):  # noqa: N818 – users' programs catch it by this name
    """A query holds nothing that the model can read."""


class _SharedEncoder:
    """A frame encoder for several threads, which prepare pictures in parallel and encode one at a time."""

    def __init__(self, encoder: "FrameEncoder") -> None:
        self._encoder = encoder
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_prepared(self, prepared: Sequence[Any]) -> Any:
        """Return features of prepared pictures; see `FrameEncoder`."""
        with self._turn:
            return self._encoder.encode_prepared(prepared)


class _Opened(NamedTuple):
    """The opened vectors of an index."""

    info: IndexInfo
    stores: Stores
    size: int
    exact: bool
    seen: int  # the time of the last change of index.json
    roots: tuple[str, ...]  # folders whose files are handed out


class Searcher:
    """Search an index for videos by texts, videos and images, and for captions by videos.

    Several threads may use a searcher at the same time; the model serves one at a time, the index all. After
    `mlcmr index` has changed the index, the next search uses the new content.

    Example:
        >>> from mlcmr.search import Searcher
        >>> searcher = Searcher("index")
        >>> searcher.search("a red circle moves left", k=3)

    Args:
        index: The folder that `mlcmr index` wrote.
        device: `cpu`, `cuda` or `auto`.
        url: The Qdrant server of an index that another user made. By default, only servers that this user has
            named are used.
        models: A model of the hub that may be downloaded for an index that another user made. May be given
            several times.
        media_roots: A folder whose videos may be handed out, besides the folders that this user has indexed.
            May be given several times.
        store: The vector store of another package that the index uses, as `package.module:Name` or its class.
        model: The model of the index: an opened model, which stays on its device, or its folder or hub id. By
            default, the index names it.

    Raises:
        MlcmrError: If there is no index, its model is gone or has changed, or it names a server or a model of
            the hub that this user has not named.
    """

    def __init__(
        self,
        index: str | os.PathLike[str],
        *,
        device: str = "auto",
        url: str | None = None,
        models: Sequence[str] = (),
        media_roots: Sequence[str | Path] = (),
        store: str | type[VectorStore] | None = None,
        model: str | os.PathLike[str] | SearchModel | None = None,
    ) -> None:
        self.folder = user_path(index).absolute()
        self._device = device
        self._url = url
        self._store = store
        self._models = tuple(models)
        self._media_roots = tuple(os.path.realpath(user_path(one)) for one in media_roots)
        self._model_lock = threading.Lock()
        self._encoder_lock = (
            threading.Lock()
        )  # a separate lock, so that texts do not wait while a file is read
        self._open_lock = threading.Lock()
        self._encoder: tuple[FrameEncoder, Sampling] | None = None
        self._opened = self._open()
        try:
            opened = open_again(
                self._opened.info.model, model, device=device, models=self._models, parameter="models"
            )
            self._model, self._trained = opened.model, opened.description.languages
        except BaseException:
            self.close()
            raise

    # ─── searching ───────────────────────────────────────────────────────────────────────────────────────

    def search(
        self, text: str, *, language: str | None = None, k: int = 10, filters: Filters | None = None
    ) -> list[Hit]:
        """Find the videos that a text describes, the best first.

        Args:
            text: A text in any language that the model knows.
            language: The language of the text, as `en`, `English` or `en-US`; by default guessed among the
                languages of the training.
            k: The number of hits.
            filters: The conditions that every hit meets.

        Raises:
            UnreadableQuery: If the model can read nothing in the text.
            InvalidValueError: If the text is blank, the language is unknown, or `k` is less than 1.
        """
        if text.strip():
            self.require_readable(text, language)
        return self.search_many([text], languages=[language], k=k, filters=filters)[0]

    def require_readable(self, text: str, language: str | None = None) -> None:
        """Check that the model can read anything in a text; many models cannot read an emoji.

        Raises:
            UnreadableQuery: If the model can read nothing.
            MlcmrError: If the language is unknown.
        """
        code = self.language_of(text, language)
        with self._model_lock:
            if not self._model.can_encode(text, code):
                raise UnreadableQuery(
                    f"query {text!r}: contains nothing that the model can read; enter other words"
                )

    def language_of(self, text: str, language: str | None = None) -> str:
        """Return the code of the language of a query, given by its name or guessed.

        Raises:
            MlcmrError: If there is no language of this name.
        """
        return language_among(self._trained, language) if language else guess_language(text, self._trained)

    def search_many(
        self,
        texts: Sequence[str],
        *,
        languages: Sequence[str | None] | None = None,
        k: int | Sequence[int] = 10,
        filters: Filters | Sequence[Filters | None] | None = None,
    ) -> list[list[Hit]]:
        """Find the hits of several texts in one batch; see `search`.

        `k` and `filters` apply to all texts, or are lists with an entry for each text. A text that the model
        cannot read is no error here, but its hits mean nothing: see `require_readable`.
        """
        given = languages or [None] * len(texts)
        if blank := [text for text in texts if not text.strip()]:
            raise InvalidValueError(f"query {blank[0]!r}: is blank; enter what to look for")
        found = [self.language_of(text, language) for text, language in zip(texts, given, strict=True)]
        limits = [k] * len(texts) if isinstance(k, int) else list(k)
        wanted = list(filters) if isinstance(filters, Sequence) else [filters] * len(texts)
        return self._find(self._embed_texts(texts, found), limits, wanted, found)

    def search_file(
        self,
        path: str | Path,
        *,
        k: int = 10,
        filters: Filters | None = None,
        check_cancelled: Callable[[], object] = lambda: None,
    ) -> list[Hit]:
        """Find the videos that resemble a video or image file, the best first.

        Args:
            path: The file.
            k: The number of hits.
            filters: The conditions that every hit meets.
            check_cancelled: Called often while the file is decoded. Raises an exception to cancel the search.

        Raises:
            UnreadableFileError: If the file cannot be read.
            MlcmrError: If the frame encoder of the index is not known.
        """
        return self._find(self._embed_file(user_path(path), check_cancelled), [k], [filters])[0]

    def similar(
        self, video: str, segment: int = 0, *, k: int = 10, filters: Filters | None = None
    ) -> list[Hit]:
        """Find the segments of other videos that resemble a segment of an indexed video.

        Raises:
            UnknownVideo: If there is no such segment.
        """
        vector = self._segment(video, segment).vector
        others = (filters or Filters()).also(Condition("video", "!=", video))
        return self._find(vector[None], [k], [others])[0]

    def captions(self, video: str, *, k: int = 10, language: str | None = None) -> list[CaptionHit]:
        """Find the captions of the index that best describe an indexed video as a whole.

        Args:
            video: The id of the video.
            k: The number of captions.
            language: The language of the captions; by default any.

        Raises:
            UnknownVideo: If there is no such video.
            MlcmrError: If the language is unknown, or `k` is less than 1.
        """
        # The mean stands for the whole video.
        vector = np.mean([point.vector for point in self._segments(video)], axis=0)
        return self._find_captions(vector, k, language)

    def captions_of_file(
        self, path: str | Path, *, k: int = 10, language: str | None = None
    ) -> list[CaptionHit]:
        """Find the captions of the index that best describe a video or image file; see `captions`.

        Raises:
            UnreadableFileError: If the file cannot be read.
            MlcmrError: If the frame encoder of the index is not known, or as for `captions`.
        """
        return self._find_captions(self._embed_file(user_path(path))[0], k, language)

    def segment(self, video: str, segment: int = 0) -> Hit:
        """Return a segment of an indexed video, with score 1.

        Raises:
            UnknownVideo: If there is no such segment.
        """
        return self._hit(self._segment(video, segment).payload)

    def video(self, video: str) -> list[Hit]:
        """Return all segments of an indexed video, in order, with score 1.

        Raises:
            UnknownVideo: If there is no such video.
        """
        return [self._hit(point.payload) for point in self._segments(video)]

    # ─── files ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def roots(self) -> tuple[str, ...]:
        """Return the folders whose files are handed out: the index, indexed and allowed folders."""
        return self._current().roots

    def open_media(self, video: str) -> MediaFile:
        """Open the file of an indexed video to hand it out.

        Raises:
            UnknownVideo: If there is no such video.
            FileGone: If the file is gone, or the video has no file.
            NotHandedOut: If the file may not be handed out.
        """
        return open_media_file(self.segment(video).path, self.roots)

    def open_thumbnail(self, video: str, segment: int) -> MediaFile:
        """Open the thumbnail of a segment; see `open_media`."""
        payload = self._segment(video, segment).payload
        path, collection = self._hit(payload).thumbnail, self.folder / payload["source"]
        # A thumbnail lies in its own collection, which must be one that was indexed here.
        require_below(str(collection), self.roots, folder=True)
        return open_thumbnail(path, [os.path.realpath(collection)])

    def folders_outside(self, most: int) -> list[str]:
        """Return folders outside of `roots` that the first segments name: one of videos, and one collection.

        Args:
            most: The number of segments that are read.
        """
        videos: dict[str, None] = {}
        collections: dict[str, None] = {}
        for _, one in islice(self._current().stores.segments.scan(["path", "source"]), most):
            if path := one.get("path"):
                videos[os.path.realpath(str(path))] = None
            collections[os.path.realpath(self.folder / str(one.get("source")))] = None
        roots = self.roots
        video = next((str(Path(path).parent) for path in videos if not is_below(path, roots)), None)
        collection = next((path for path in collections if not is_below(path, roots)), None)
        return [one for one in (video, collection) if one is not None]

    # ─── description ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def version(self) -> int:
        """A number that changes with each change of the index."""
        return self._current().seen

    @property
    def size(self) -> int:
        """The number of segments in the index."""
        return self._current().size

    @property
    def exact(self) -> bool:
        """Whether a search compares all segments, rather than following an HNSW graph."""
        return self._current().exact

    def describe_search(self, *, captions: bool = False) -> str:
        """Return the kind of search and the number of videos or captions, as a text."""
        opened = self._current()
        store = opened.stores.captions if captions else opened.stores.segments
        kind = "exact" if store.exact else "approximate (HNSW)"
        return f"{kind} search in {plural(store.count(), 'caption' if captions else 'segment')}"

    @property
    def model_name(self) -> str:
        """The name of the run or the model of the index, without the folders above."""
        name = self._opened.info.model.name
        return Path(name).name if Path(name).is_absolute() else name

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the captions in the index."""
        return self._current().info.languages

    @property
    def trained_languages(self) -> tuple[str, ...]:
        """The languages in which the model was trained; empty if they are not known."""
        return self._trained

    @property
    def known_languages(self) -> tuple[str, ...]:
        """The languages of the captions that the model was trained in; all if the training is not known."""
        return tuple(one for one in self.languages if not self._trained or one in self._trained)

    def close(self) -> None:
        """Close the index."""
        self._opened.stores.close()

    # ─── implementation ──────────────────────────────────────────────────────────────────────────────────

    def _find(
        self,
        vectors: Vector,
        limits: Sequence[int],
        filters: Sequence[Filters | None],
        languages: Sequence[str] | None = None,
    ) -> list[list[Hit]]:
        for limit in limits:
            _require_count(limit)
        require_normalisable(vectors, lambda row: f"query {row + 1}: its embedding", _BROKEN)
        queries = [
            VectorQuery(vector, limit, wanted or Filters())
            for vector, limit, wanted in zip(vectors, limits, filters, strict=True)
        ]
        found = self._current().stores.segments.search(queries)
        return [
            [self._hit(one.payload, one.score, language) for one in hits]
            for hits, language in zip(found, languages or [""] * len(queries), strict=True)
        ]

    def _find_captions(self, vector: Vector, k: int, language: str | None) -> list[CaptionHit]:
        _require_count(k)
        require_normalisable(vector[None], lambda _: "the query's embedding", _BROKEN)
        opened = self._current()
        filters = Filters()
        if language:
            code = language_among(opened.info.languages, language)
            filters = Filters((Condition("language", "=", code),))
        (found,) = opened.stores.captions.search([VectorQuery(vector, k, filters)])
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

    def _embed_file(self, path: Path, check_cancelled: Callable[[], object] = lambda: None) -> Vector:
        from mlcmr.extraction.extract_collection import sample_file  # noqa: PLC0415 – texts need no PyAV
        from mlcmr.extraction.media.images import UnreadableFileError  # noqa: PLC0415

        encoder, sampling = self._open_encoder()
        _, features = sample_file(
            path, encoder, sampling, most_frames=_MOST_FRAMES, check_cancelled=check_cancelled
        )
        with self._model_lock:
            vectors: Vector = self._model.encode_videos([features]).numpy()
        try:
            require_normalisable(vectors, lambda _: f"{path}: its embedding", "search by another file")
        except MlcmrError as error:
            raise UnreadableFileError(str(error)) from error
        return vectors

    def _open_encoder(self) -> "tuple[FrameEncoder, Sampling]":
        """Open the frame encoder of the index, with its sampling."""
        from mlcmr.extraction.encoders.histogram import HISTOGRAM  # noqa: PLC0415
        from mlcmr.extraction.media.sampling import Sampling  # noqa: PLC0415

        info = self._opened.info
        name = info.encoder or (HISTOGRAM if info.feature == HISTOGRAM else None)
        if name is None:
            raise InvalidValueError(
                f"{self.folder}: the frame encoder of the feature '{info.feature}' is not known; to search "
                "by files, index again and give the `encoder`"
            )
        with self._encoder_lock:
            if self._encoder is None:
                encoder = open_named_encoder(
                    name, device=self._device, models=self._models, parameter="models"
                )
                if encoder.dimension != info.model.feature_size:
                    raise InvalidValueError(
                        f"encoder {name}: makes features of {encoder.dimension:,} numbers, but the model "
                        f"takes {info.model.feature_size:,}; index again with the encoder of the training "
                        "(`encoder`)"
                    )
                fps = encoder.fps if info.rate is None and info.count is None else info.rate
                self._encoder = cast("FrameEncoder", _SharedEncoder(encoder)), Sampling(fps, info.count)
            return self._encoder

    def _segment(self, video: str, segment: int) -> Point:
        points = self._points(video, [segment])
        if not points:
            raise UnknownVideo(
                f"video '{video}', segment {segment}: not in the index; `mlcmr search` shows ids"
            )
        return points[0]

    def _segments(self, video: str) -> list[Point]:
        """Return the segments of a video, in order."""
        points = self._points(video, [0])
        if not points:
            raise UnknownVideo(f"video '{video}': not in the index; `mlcmr search` shows ids")
        segments = points[0].payload.get("segments")
        rest = range(1, min(segments if isinstance(segments, int) else 1, self.size))
        points += self._points(video, rest)
        return sorted(points, key=lambda point: int(point.payload["segment"]))

    def _points(self, video: str, segments: Sequence[int]) -> list[Point]:
        """Return segments of a video, for each spelling of the accents in its id."""
        store = self._current().stores.segments
        for name in spellings(video):
            if points := store.get([segment_id(name, number) for number in segments]):
                return points
        return []

    def _hit(self, payload: Payload, score: float = 1.0, language: str = "") -> Hit:
        try:
            return self._checked_hit(payload, score, language)
        except (
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
        ) as error:  # a stranger may have made the index
            raise CorruptFileError(
                f"{self.folder}: the record of a segment is damaged: {reason(error)}; index into another "
                "folder (`to`)"
            ) from error

    def _checked_hit(self, payload: Payload, score: float, language: str) -> Hit:
        path, thumbnail = _field(payload, "path", str), _field(payload, "thumbnail", str)
        if path and (not path.startswith("/") or "\0" in path + thumbnail):
            raise ValueError(f"path is {reprlib.repr(path)}")
        start, end, duration, width, height = (
            float(_field(payload, name, (int, float)))
            for name in ("start", "end", "duration", "width", "height")
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
            thumbnail=str(self.folder / _field(payload, "source", str) / thumbnail) if thumbnail else "",
            caption=caption if isinstance(caption, str) else _field(payload, "caption", str),
        )

    def _open(self) -> _Opened:
        seen = self._written()
        info, stores = open_published(self.folder, url=self._url, store=self._store)
        roots = (os.path.realpath(self.folder), *roots_of_index(self.folder, info.id), *self._media_roots)
        return _Opened(info, stores, stores.segments.count(), stores.segments.exact, seen, roots)

    def _current(self) -> _Opened:
        """Return the valid vectors, opened again if the index has changed."""
        if self._opened.seen != self._written():
            with self._open_lock:
                if self._opened.seen != self._written():
                    self._reopen()
        guard = self._opened.stores.guard
        if guard is not None:
            guard.check()  # the engine reads the files at each search
            if guard.was_damaged:
                with self._open_lock:
                    if self._opened.stores.guard is guard:
                        self._reopen()
        return self._opened

    def _reopen(self) -> None:
        new = self._open()
        old = self._opened
        if new.info.model.fingerprint != old.info.model.fingerprint:
            new.stores.close()
            raise InUseError(f"{self.folder}: has been replaced by another index; open it again")
        # The old vectors close by themselves when the last thread has finished its search in them.
        self._opened = new

    def _written(self) -> int:
        try:
            return (self.folder / INFO).stat().st_mtime_ns
        except OSError:
            return self._opened.seen if hasattr(self, "_opened") else 0


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


def _require_count(k: int) -> None:
    if k < 1:
        raise InvalidValueError(f"k is {k}, but must be at least 1", parameter="k")
