"""What an index asks of the engine that keeps its vectors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mlcmr.search.filters import Filters

Vector = NDArray[np.float32]
Payload = dict[str, Any]
"""What is stored with a vector: a dictionary that JSON can hold."""

PayloadType = Literal["keyword", "float"]

EXACT_NUMBERS = 2**26
"""Up to so many numbers (vectors × their size), every vector is compared; above, the HNSW graph is searched.

On two cores, exact search takes 17 ms for 100,000 vectors of 512 numbers (5 ms each where queries come
together), and building their graph over a minute, again and again while an index grows.
"""

NO_FILTERS = Filters()


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A vector to store: its id (a UUID), (D,) float32, and what belongs to it."""

    id: str
    vector: Vector
    payload: Payload


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What to look for: the nearest `limit` vectors to `vector` (D,) that meet the filters."""

    vector: Vector
    limit: int
    filters: Filters = NO_FILTERS


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A stored vector that was found; `score` is the cosine."""

    id: str
    score: float
    payload: Payload


class VectorStore(Protocol):
    """A set of points with one vector each. Reading is safe from several threads at once."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Stores points, in place of those with the same ids. On return they are safe on disk."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Removes points; ids that are not there are fine. On return they are gone for good."""
        ...

    def search(self, queries: Sequence[Query]) -> list[list[Found]]:
        """The nearest points of each query, the best first, all in one pass."""
        ...

    def get(self, ids: Sequence[str]) -> list[Point]:
        """The points with these ids, L2-normalised vectors included; in no order, without those not there."""
        ...

    def scan(self, fields: Sequence[str]) -> Iterator[tuple[str, Payload]]:
        """Every point's id and these fields of its payload, in no order."""
        ...

    def count(self) -> int:
        """How many points there are."""
        ...

    @property
    def exact(self) -> bool:
        """Whether `search` compares all vectors (see `EXACT_NUMBERS`)."""
        ...

    def optimize(self) -> None:
        """Makes searching faster after many changes."""
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...
