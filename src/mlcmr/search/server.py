"""A vector store on a Qdrant server or cluster."""

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from mlcmr.errors import UserError, reason
from mlcmr.search.filters import Condition, Filters
from mlcmr.search.store import EXACT_NUMBERS, Found, Payload, PayloadType, Point, Query

try:
    from qdrant_client import QdrantClient, models
except ImportError as error:
    raise UserError("--url needs Qdrant's client: pip install 'mlcmr[search]'") from error

_BLOCK = 2000
_EF = 128
_TIMEOUT = 60  # seconds


def connect(url: str) -> QdrantClient:
    """A client of the server at `url`; the environment's QDRANT_API_KEY, if there is one, is its key.

    Raises:
        UserError: the address cannot be one.
    """
    try:
        return QdrantClient(
            url=url,
            api_key=os.environ.get("QDRANT_API_KEY"),
            timeout=_TIMEOUT,
            check_compatibility=False,
        )
    except ValueError as error:
        raise UserError(f"--url {url}: not the address of a Qdrant server: {reason(error)}") from error


def require_free(url: str, names: Sequence[str]) -> None:
    """Sees to it that a new index takes nobody's collections.

    Raises:
        UserError: a collection of such a name is there, or the server cannot be reached.
    """
    with closing(connect(url)) as client:
        for name in names:
            with _talking(name):
                there = client.collection_exists(name)
            if there:
                raise UserError(
                    f"collection '{name}' on the server is another index's; choose another --name"
                )


class ServerStore:
    """A collection on a server; see `VectorStore`.

    Args:
        client: The client.
        name: The name of the collection.
        size: The size of a vector.
        fields: The payload fields that conditions are put on.
        index: The id of the index that the collection belongs to.
        writing: Whether the collection is made when there is none.

    Raises:
        UserError: the server cannot be reached, or the collection is not there, or belongs to another index.
    """

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        size: int,
        fields: Mapping[str, PayloadType],
        index: str,
        *,
        writing: bool = False,
    ) -> None:
        self.name = name
        self.size = size
        self._client = client
        # Also where nobody closes it: when the last thread that searches in an older index is done.
        self._close = weakref.finalize(self, client.close)
        with _talking(self.name):
            there = client.collection_exists(name)
            if not there and writing:
                client.create_collection(
                    name,
                    vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE),
                    metadata={"index": index},
                )
            elif not there:
                raise UserError(f"collection '{name}' is not on the server; run `mlcmr index` (again)")
            about = client.get_collection(name)
            if (about.config.metadata or {}).get("index") != index:
                raise UserError(
                    f"collection '{name}' on the server is another index's; index into another folder (--to) "
                    "under another --name"
                )
            if writing:
                # Also where the collection was there: whoever made it may have been killed before this.
                for field in fields.keys() - about.payload_schema.keys():
                    client.create_payload_index(
                        name, field, models.PayloadSchemaType(fields[field]), wait=True
                    )
            self._known = client.count(name).count

    def upsert(self, points: Sequence[Point]) -> None:
        """Stores points and waits until the server has them."""
        made = [
            models.PointStruct(id=one.id, vector=one.vector.tolist(), payload=one.payload) for one in points
        ]
        with _talking(self.name):
            self._client.upsert(self.name, made, wait=True)
            self._known = self._client.count(self.name).count

    def delete(self, ids: Sequence[str]) -> None:
        """Removes points and waits until they are gone."""
        if ids:
            with _talking(self.name):
                self._client.delete(self.name, models.PointIdsList(points=list(ids)), wait=True)

    def search(self, queries: Sequence[Query]) -> list[list[Found]]:
        """The nearest points of each query, in one request."""
        params = models.SearchParams(exact=True) if self.exact else models.SearchParams(hnsw_ef=_EF)
        requests = [
            models.QueryRequest(
                query=query.vector.tolist(),
                limit=query.limit,
                filter=_filter(query.filters),
                with_payload=True,
                params=params,
            )
            for query in queries
        ]
        with _talking(self.name):
            answers = self._client.query_batch_points(self.name, requests)
        return [
            [Found(str(one.id), one.score, one.payload or {}) for one in answer.points] for answer in answers
        ]

    def get(self, ids: Sequence[str]) -> list[Point]:
        """The points with these ids."""
        with _talking(self.name):
            records = self._client.retrieve(self.name, list(ids), with_payload=True, with_vectors=True)
        return [Point(str(one.id), np.asarray(one.vector, np.float32), one.payload or {}) for one in records]

    def scan(self, fields: Sequence[str]) -> Iterator[tuple[str, Payload]]:
        """Every point, block by block."""
        offset = None
        while True:
            with _talking(self.name):
                records, offset = self._client.scroll(
                    self.name, limit=_BLOCK, offset=offset, with_payload=list(fields)
                )
            for record in records:
                yield str(record.id), record.payload or {}
            if offset is None:
                return

    def count(self) -> int:
        """How many points there are."""
        with _talking(self.name):
            return self._client.count(self.name, exact=True).count

    @property
    def exact(self) -> bool:
        """Whether all vectors are compared."""
        return self._known * self.size <= EXACT_NUMBERS  # a search must not ask twice

    def optimize(self) -> None:
        """Nothing: a server does it by itself."""

    def close(self) -> None:
        """Closes the connection."""
        self._close()


@contextmanager
def _talking(name: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the client raises those of four libraries
        raise UserError(f"Qdrant server, collection '{name}': {reason(error)}") from error


def _filter(filters: Filters) -> models.Filter | None:
    if not filters.conditions:
        return None
    return models.Filter(
        must=list(map(_condition, filters.must)), must_not=list(map(_condition, filters.must_not))
    )


def _condition(condition: Condition) -> models.FieldCondition:
    value = condition.value
    if isinstance(value, str):
        part = condition.operator == "~"
        match: Any = models.MatchSubstring(substring=value) if part else models.MatchValue(value=value)
        return models.FieldCondition(key=condition.field, match=match)
    return models.FieldCondition(key=condition.field, range=models.Range(**condition.limits))
