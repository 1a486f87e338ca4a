"""The interface between an index and the engine that stores its vectors."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import OutOfResourcesError
from mlcmr.search.filters import Filters

Vector = NDArray[np.float32]
Payload = dict[str, Any]
"""The fields stored with a vector: a dictionary that JSON can hold."""

PayloadType = Literal["keyword", "float"]

EXACT_NUMBERS = 2**26
"""The largest store (number of vectors × size) in which every vector is compared; larger ones use HNSW.

On two cores, exact search in 100,000 vectors of 512 numbers takes 17 ms, or 5 ms per query in a batch. To
build their graph takes over a minute, and it is built again and again while an index grows.
"""

EF = 128
"""Number of candidates that a search of an HNSW graph keeps, unless more hits are wanted."""

NO_FILTERS = Filters()

_FREE_BYTES = 128 * 2**20  # for the next points in each file of a store


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A vector to store.

    Attributes:
        id: A UUID.
        vector: (D,) float32.
        payload: The fields that are stored with the vector.
    """

    id: str
    vector: Vector
    payload: Payload


@dataclass(frozen=True, slots=True, eq=False)
class VectorQuery:
    """A search for the nearest vectors.

    Attributes:
        vector: (D,) float32.
        limit: The largest number of hits.
        filters: The conditions that every hit meets.
    """

    vector: Vector
    limit: int
    filters: Filters = NO_FILTERS


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPoint:
    """A stored point that a search found.

    Attributes:
        id: The id of the point.
        score: The cosine of the query and the stored vector.
        payload: The fields that are stored with the vector.
    """

    id: str
    score: float
    payload: Payload


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """The settings with which a store is opened.

    Attributes:
        name: The name of the store; on a server, the name of its collection.
        size: The size of a vector.
        fields: The payload fields that filters use, with their types.
        index: The id of the index that the store belongs to.
        folder: The folder for the files of the store; None for a store on a server.
        url: The address of the server; None for a store in a folder.
        writing: Whether the store is opened for writing, and made if there is none.
    """

    name: str
    size: int
    fields: Mapping[str, PayloadType]
    index: str
    folder: Path | None = None
    url: str | None = None
    writing: bool = False


class VectorStore(Protocol):
    """A set of points with one vector each. Reading is safe from several threads at once.

    An index has two stores, one for segments and one for captions. If the files of a store lie in a folder,
    the index copies the folder, writes to the copy, and then replaces the old folder by the copy. So a store
    is either written by one process or read by any number of processes.

    Attributes:
        on_server: Whether a server keeps the vectors; otherwise they are files in `StoreConfig.folder`.
    """

    on_server: ClassVar[bool]

    @classmethod
    def open(cls, config: StoreConfig) -> Self:
        """Open a store.

        Raises:
            MlcmrError: If the store cannot be opened, or is missing and not opened for writing.
        """
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points, and replace points with the same ids. On return they are safe on disk."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; missing ids are ignored. On return the removal is safe on disk."""
        ...

    def search(self, queries: Sequence[VectorQuery]) -> list[list[ScoredPoint]]:
        """Return the nearest points of each query, the best first; see `ordered` for equal scores."""
        ...

    def get(self, ids: Sequence[str]) -> list[Point]:
        """Return the points with these ids, vectors L2-normalised, in any order; missing ids are ignored."""
        ...

    def scan(self, fields: Sequence[str]) -> Iterator[tuple[str, Payload]]:
        """Yield the id of every point and these fields of its payload, in any order."""
        ...

    def count(self) -> int:
        """Return the number of points."""
        ...

    @property
    def exact(self) -> bool:
        """Return whether `search` compares all vectors (see `EXACT_NUMBERS`)."""
        ...

    def publish(self) -> None:
        """Prepare for fast search and close the store after the last change; then others may read it."""
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...


class ServerVectorStore(VectorStore, Protocol):
    """A store on a server: `on_server` is true."""

    @classmethod
    def whole_address(cls, url: str) -> str:
        """Return the address of a server in the form that an index records.

        Raises:
            InvalidValueError: If `url` is not the address of a server.
        """
        ...

    @classmethod
    def require_free(cls, url: str, names: Sequence[str]) -> None:
        """Check that a new index can make its stores on a server.

        Raises:
            MlcmrError: If a store with one of these names exists, or the server cannot be used.
        """
        ...


def on_server(store: type[VectorStore]) -> type[ServerVectorStore] | None:
    """Return the class of a store if a server keeps the vectors; None if a folder does."""
    return cast("type[ServerVectorStore]", store) if store.on_server else None


def require_disk_space(place: Path, more: int = 0) -> None:
    """Check that the disk has enough free space to write a store.

    Args:
        place: A folder on the disk.
        more: The number of bytes that are needed in addition to those for a few more points.

    Raises:
        OutOfResourcesError: If the disk is nearly full.
    """
    free, wanted = shutil.disk_usage(place).free, _FREE_BYTES + more
    if free < wanted:
        raise OutOfResourcesError(
            f"{place}: the disk is nearly full: {free >> 20:,} MB are free, {wanted >> 20:,} MB needed; "
            "free some space, then run the same command again",
            path=place,
        )


def ordered(
    fetch: Callable[[Sequence[VectorQuery]], list[list[ScoredPoint]]],
    queries: Sequence[VectorQuery],
    *,
    exact: bool,
) -> list[list[ScoredPoint]]:
    """Return the nearest points of each query so that a larger limit only appends hits.

    Engines return any of equally near points, in any order. So this function asks for one point more than
    wanted and drops the points that are as near as the last. If too few points remain, it asks for more.

    In a graph, a search for more than `EF` points takes other paths than a search for fewer, and may find
    points that the latter misses. So such a search goes in steps, which do not depend on the limit. Each step
    adds only points that are farther than those of the steps before. All steps together keep at most 1 1/3
    times as many candidates as the last step. The last step keeps at most 4 times as many as there are hits.

    Args:
        fetch: Queries the engine.
        queries: The queries.
        exact: Whether the engine compares all vectors, so that more points never change the first points.
    """
    answers: list[list[ScoredPoint]] = [[] for _ in queries]
    waiting = {
        number: query.limit + 1 if exact else min(query.limit + 1, EF) for number, query in enumerate(queries)
    }
    while waiting:
        found = fetch([replace(queries[number], limit=limit) for number, limit in waiting.items()])
        for (number, asked), points in zip(list(waiting.items()), found, strict=True):
            limit, answer = queries[number].limit, answers[number]
            is_all = len(points) < asked
            certain = [point for point in points if is_all or point.score > points[-1].score]
            answer += sorted(
                (point for point in certain if not answer or point.score < answer[-1].score), key=_order
            )
            if is_all or len(answer) >= limit:
                del answer[limit:], waiting[number]
            else:
                waiting[number] = EF if asked < EF and not exact else 4 * asked
    return answers


def _order(point: ScoredPoint) -> tuple[float, str, float, str, str]:
    """Return the sort key of a hit: score, video, segment, caption, id."""
    video, caption, segment = (point.payload.get(name) for name in ("video", "caption_id", "segment"))
    number = float(segment) if isinstance(segment, (int, float)) else 0.0
    return -point.score, str(video), number, str(caption), point.id
