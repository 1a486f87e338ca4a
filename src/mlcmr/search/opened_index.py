"""An index that is opened for search, and opened again when it has changed."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlcmr.data.ids import spellings
from mlcmr.errors import InUseError, NotFoundError, require_list
from mlcmr.paths import user_path
from mlcmr.search.indexing.manifest import INFO, IndexInfo
from mlcmr.search.indexing.payload import segment_id
from mlcmr.search.indexing.storage import Stores, open_published
from mlcmr.search.record import Record
from mlcmr.search.stores.base import Point, VectorStore
from mlcmr.trust import roots_of_index


class UnknownVideo(NotFoundError):  # noqa: N818 – users' programs catch it by this name
    """The index has no such video or segment."""


class IndexState(NamedTuple):
    """The vectors of an index between two changes.

    Attributes:
        info: The description of the index.
        stores: The stores.
        size: The number of segments.
        exact: Whether a search compares all segments.
        version: The time of the last change of `index.json`.
        roots: Folders whose files are handed out.
    """

    info: IndexInfo
    stores: Stores
    size: int
    exact: bool
    version: int
    roots: tuple[str, ...]


class OpenedIndex:
    """An index that several threads read, while other processes may change it.

    Args:
        folder: The index.
        url: A Qdrant server that may be used, besides those that this user has named.
        store: A vector store of another package that may be used.
        media_roots: Folders whose files may be handed out, besides the folders that this user has indexed.

    Raises:
        MlcmrError: If there is no index, or it names a server or a store that this user has not named.
    """

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        store: str | type[VectorStore] | None = None,
        media_roots: Sequence[str | Path] = (),
    ) -> None:
        self.folder = folder
        self._url = url
        self._store = store
        require_list(media_roots, "media_roots")
        self._media_roots = tuple(os.path.realpath(user_path(root)) for root in media_roots)
        self._lock = threading.Lock()
        self._state = self._open(self._last_change(0))

    @property
    def state(self) -> IndexState:
        """The vectors, opened again if the index has changed."""
        if self._has_changed():
            with self._lock:
                if self._has_changed():
                    self._reopen()
        guard = self._state.stores.guard
        if guard is not None:
            guard.check()  # the engine reads the files at each search
            if guard.was_damaged:
                with self._lock:
                    if self._state.stores.guard is guard:
                        self._reopen()
        return self._state

    @property
    def last_state(self) -> IndexState:
        """The vectors as they were opened last, without a look at the folder."""
        return self._state

    def segment(self, video: str, number: int) -> Point:
        """Return a segment of a video.

        Raises:
            UnknownVideo: If there is no such segment.
        """
        points = self._points(video, [number])
        if not points:
            raise UnknownVideo(
                f"video '{video}', segment {number}: not in the index; `mlcmr search` shows ids"
            )
        return points[0]

    def segments(self, video: str) -> list[Point]:
        """Return the segments of a video, in order.

        Raises:
            UnknownVideo: If there is no such video.
        """
        points = self._points(video, [0])
        if not points:
            raise UnknownVideo(f"video '{video}': not in the index; `mlcmr search` shows ids")
        count = points[0].payload.get("segments")
        rest = range(1, min(count if isinstance(count, int) else 1, self.state.size))
        points += self._points(video, rest)
        return sorted(points, key=lambda point: Record(self.folder, point.payload).number("segment"))

    def close(self) -> None:
        """Close the stores."""
        self._state.stores.close()

    def _points(self, video: str, segments: Sequence[int]) -> list[Point]:
        """Return segments of a video, for each spelling of the accents in its id."""
        store = self.state.stores.segments
        for name in spellings(video):
            if points := store.get([segment_id(name, number) for number in segments]):
                return points
        return []

    def _open(self, version: int) -> IndexState:
        info, stores = open_published(self.folder, url=self._url, store=self._store)
        roots = (os.path.realpath(self.folder), *roots_of_index(self.folder, info.id), *self._media_roots)
        return IndexState(info, stores, stores.segments.count(), stores.segments.exact, version, roots)

    def _reopen(self) -> None:
        old = self._state
        new = self._open(self._last_change(old.version))
        if new.info.model.fingerprint != old.info.model.fingerprint:
            new.stores.close()
            raise InUseError(f"{self.folder}: has been replaced by another index; open it again")
        # The old vectors close by themselves when the last thread has finished its search in them.
        self._state = new

    def _has_changed(self) -> bool:
        return self._state.version != self._last_change(self._state.version)

    def _last_change(self, otherwise: int) -> int:
        """Return the time of the last change of `index.json`; `otherwise` if it cannot be read."""
        try:
            return (self.folder / INFO).stat().st_mtime_ns
        except OSError:
            return otherwise
