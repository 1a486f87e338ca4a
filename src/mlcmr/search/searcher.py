"""Search in an index: videos by texts, files and videos, and captions by videos."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from mlcmr.arguments import check_arguments
from mlcmr.data.features.finite import require_normalisable
from mlcmr.data.language_detection import guess_language
from mlcmr.data.languages import language_among
from mlcmr.errors import CorruptFileError, InvalidValueError, require_list
from mlcmr.extraction.encoders.base import FrameEncoder
from mlcmr.extraction.encoders.registry import require_encoder
from mlcmr.model.protocol import SearchModel
from mlcmr.paths import user_path
from mlcmr.search.file_access import MediaFile, open_media_file, open_thumbnail
from mlcmr.search.filters import Condition, Filters
from mlcmr.search.hits import CaptionHit, Hit, read_caption_hit, read_files, read_hit
from mlcmr.search.media_types import is_named_as_media
from mlcmr.search.models import open_again
from mlcmr.search.opened_index import OpenedIndex, UnknownVideo
from mlcmr.search.query_encoder import QueryEncoder, UnreadableQuery
from mlcmr.search.record import Record
from mlcmr.search.stores.base import Point, ScoredPoint, Vector, VectorQuery, VectorStore
from mlcmr.text import plural
from mlcmr.trust import is_below

__all__ = ["CaptionHit", "Filters", "Hit", "Searcher", "UnknownVideo", "UnreadableQuery"]

_BROKEN = "check the model with `mlcmr evaluate`, and index again"


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
        encoder: The frame encoder of the index, for searches by files. By default, the index names it.

    Raises:
        MlcmrError: If there is no index, its model is gone or has changed, or it names a server or a model of
            the hub that this user has not named.
    """

    @check_arguments
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
        encoder: FrameEncoder | None = None,
    ) -> None:
        self.folder = user_path(index).absolute()
        require_list(models, "models")
        if encoder is not None:
            require_encoder(encoder)
        self._index = OpenedIndex(self.folder, url=url, store=store, media_roots=media_roots)
        info = self._index.last_state.info
        try:
            opened = open_again(info.model, model, device=device, models=models, parameter="models")
            self._queries = QueryEncoder(self.folder, opened, device=device, models=models, encoder=encoder)
        except BaseException:
            self.close()
            raise

    # ─── searching ───────────────────────────────────────────────────────────────────────────────────────

    @check_arguments
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

    @check_arguments
    def require_readable(self, text: str, language: str | None = None) -> None:
        """Check that the model can read anything in a text; many models cannot read an emoji.

        Raises:
            UnreadableQuery: If the model can read nothing.
            MlcmrError: If the language is unknown.
        """
        self._queries.require_readable(text, self.language_of(text, language))

    @check_arguments
    def language_of(self, text: str, language: str | None = None) -> str:
        """Return the code of the language of a query, given by its name or guessed.

        Raises:
            MlcmrError: If there is no language of this name.
        """
        trained = self.trained_languages
        return language_among(trained, language) if language else guess_language(text, trained)

    @check_arguments
    def search_many(
        self,
        texts: Sequence[str],
        *,
        languages: Sequence[str | None] | None = None,
        k: int | Sequence[int] = 10,
        filters: Filters | Sequence[Filters | None] | None = None,
    ) -> list[list[Hit]]:
        """Find the hits of several texts in one batch; see `search`.

        `k` and `filters` apply to all texts, or are lists with an entry for each text. `languages` has
        an entry for each text; if it is None, the language is guessed. A text that the model cannot read
        raises no error, but its hits mean nothing: see `require_readable`.

        Returns:
            For each text its hits, the best first.
        """
        given = languages or [None] * len(texts)
        if blank := [text for text in texts if not text.strip()]:
            raise InvalidValueError(f"query {blank[0]!r}: is blank; enter what to look for")
        found = [self.language_of(text, language) for text, language in zip(texts, given, strict=True)]
        limits = [k] * len(texts) if isinstance(k, int) else list(k)
        wanted = list(filters) if isinstance(filters, Sequence) else [filters] * len(texts)
        return self._find(self._queries.encode_texts(texts, found), limits, wanted, found)

    @check_arguments
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
        vectors = self._queries.encode_file(user_path(path), self._index.last_state.info, check_cancelled)
        return self._find(vectors, [k], [filters])[0]

    @check_arguments
    def similar(
        self, video: str, segment: int = 0, *, k: int = 10, filters: Filters | None = None
    ) -> list[Hit]:
        """Find the segments of other videos that resemble a segment of an indexed video.

        Raises:
            UnknownVideo: If there is no such segment.
        """
        vector = self._index.segment(video, segment).vector
        others = (filters or Filters()).also(Condition("video", "!=", video))
        return self._find(vector[None], [k], [others])[0]

    @check_arguments
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
        vector = np.mean([point.vector for point in self._index.segments(video)], axis=0)
        return self._find_captions(vector, k, language)

    @check_arguments
    def captions_of_file(
        self, path: str | Path, *, k: int = 10, language: str | None = None
    ) -> list[CaptionHit]:
        """Find the captions of the index that best describe a video or image file; see `captions`.

        Raises:
            UnreadableFileError: If the file cannot be read.
            MlcmrError: If the frame encoder of the index is not known, or as for `captions`.
        """
        vectors = self._queries.encode_file(user_path(path), self._index.last_state.info)
        return self._find_captions(vectors[0], k, language)

    @check_arguments
    def segment(self, video: str, segment: int = 0) -> Hit:
        """Return a segment of an indexed video, with score 1.

        Raises:
            UnknownVideo: If there is no such segment.
        """
        return read_hit(self._record(self._index.segment(video, segment)))

    @check_arguments
    def video(self, video: str) -> list[Hit]:
        """Return all segments of an indexed video, in order, with score 1.

        Raises:
            UnknownVideo: If there is no such video.
        """
        return [read_hit(self._record(point)) for point in self._index.segments(video)]

    # ─── files ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def roots(self) -> tuple[str, ...]:
        """Return the folders whose files are handed out: the index, indexed and allowed folders."""
        return self._index.state.roots

    def open_media(self, video: str) -> MediaFile:
        """Open the file of an indexed video, to send it to a client.

        Raises:
            UnknownVideo: If there is no such video.
            FileGone: If the file is gone, or the video has no file.
            NotHandedOut: If the file is outside of `roots`, or is neither a video nor an image.
        """
        return open_media_file(self.segment(video).path, self.roots)

    def open_thumbnail(self, video: str, segment: int) -> MediaFile:
        """Open the thumbnail of a segment; see `open_media`."""
        files = read_files(self._record(self._index.segment(video, segment)))
        return open_thumbnail(files.thumbnail, files.collection, self.roots)

    def folders_outside(self, most: int) -> list[str]:
        """Return folders outside of `roots` that the first segments name: one of videos, and one collection.

        Files without the name of a video or an image count for nothing, nor do damaged records: a stranger's
        index may name any file.

        Args:
            most: The number of segments that are read.
        """
        videos: dict[str, None] = {}
        collections: dict[str, None] = {}
        segments = self._index.state.stores.segments.scan(["path", "source", "thumbnail"])
        for _, payload in islice(segments, most):
            with suppress(CorruptFileError):
                files = read_files(Record(self.folder, payload))
                if files.video:
                    videos[os.path.realpath(files.video)] = None
                if files.thumbnail and is_named_as_media(files.thumbnail):
                    collections[os.path.realpath(files.collection)] = None
        roots = self.roots
        named = (Path(path) for path in videos if is_named_as_media(path) and not is_below(path, roots))
        video = next((str(path.parent) for path in named), None)
        outside = next((path for path in collections if not is_below(path, roots)), None)
        return [folder for folder in (video, outside) if folder is not None]

    # ─── description ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def version(self) -> int:
        """A number that changes with each change of the index."""
        return self._index.state.version

    @property
    def size(self) -> int:
        """The number of segments in the index."""
        return self._index.state.size

    @property
    def exact(self) -> bool:
        """True if a search compares all segments, False if it follows an HNSW graph."""
        return self._index.state.exact

    def describe_search(self, *, captions: bool = False) -> str:
        """Return the kind of search and the number of videos or captions, as a text."""
        opened = self._index.state
        store = opened.stores.captions if captions else opened.stores.segments
        kind = "exact" if store.exact else "approximate (HNSW)"
        return f"{kind} search in {plural(store.count(), 'caption' if captions else 'segment')}"

    @property
    def model_name(self) -> str:
        """The name of the run or the model of the index, without the folders above."""
        name = self._index.last_state.info.model.name
        return Path(name).name if Path(name).is_absolute() else name

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the captions in the index."""
        return self._index.state.info.languages

    @property
    def trained_languages(self) -> tuple[str, ...]:
        """The languages in which the model was trained; empty if they are not known."""
        return self._queries.trained_languages

    @property
    def known_languages(self) -> tuple[str, ...]:
        """The languages of the captions that the model was trained in; all if the training is not known."""
        trained = self.trained_languages
        return tuple(language for language in self.languages if not trained or language in trained)

    def close(self) -> None:
        """Close the index."""
        self._index.close()

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
        found = self._index.state.stores.segments.search(queries)
        return [
            [read_hit(self._record(point), point.score, language) for point in hits]
            for hits, language in zip(found, languages or [""] * len(queries), strict=True)
        ]

    def _record(self, point: Point | ScoredPoint) -> Record:
        return Record(self.folder, point.payload)

    def _find_captions(self, vector: Vector, k: int, language: str | None) -> list[CaptionHit]:
        _require_count(k)
        require_normalisable(vector[None], lambda _: "the query's embedding", _BROKEN)
        opened = self._index.state
        filters = Filters()
        if language:
            code = language_among(opened.info.languages, language)
            filters = Filters((Condition("language", "=", code),))
        (found,) = opened.stores.captions.search([VectorQuery(vector, k, filters)])
        return [read_caption_hit(self._record(point), point.score) for point in found]


def _require_count(k: int) -> None:
    if k < 1:
        raise InvalidValueError(f"k is {k}, but must be at least 1", parameter="k")
