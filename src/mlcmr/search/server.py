"""A vector store on a Qdrant server or cluster."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlcmr.errors import UserError
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
        raise UserError(f"--url {url}: not the address of a Qdrant server: {_reason(error)}") from error


class ServerStore:
    """A collection on a server; see `VectorStore`.

    Args:
        client: The client.
        name: The name of the collection, which is made when there is none.
        size: The size of a vector.
        fields: The payload fields that conditions are put on.
        fingerprint: Of the model that makes the vectors.

    Raises:
        UserError: the server cannot be reached, or has a collection of this name that holds other vectors.
    """

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        size: int,
        fields: Mapping[str, PayloadType],
        fingerprint: str = "",
    ) -> None:
        self.name = name
        self.size = size
        self._client = client
        with self._talking():
            if not client.collection_exists(name):
                client.create_collection(
                    name,
                    vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE),
                    metadata={"fingerprint": fingerprint},
                )
                for field, kind in fields.items():
                    client.create_payload_index(name, field, models.PayloadSchemaType(kind), wait=True)
            config = client.get_collection(name).config
            self._known = client.count(name).count
        there = config.params.vectors
        if not isinstance(there, models.VectorParams) or there.size != size:
            raise UserError(
                f"collection '{name}' on the server holds vectors of another size; choose another --name"
            )
        maker = (config.metadata or {}).get("fingerprint", fingerprint)
        if maker != fingerprint:
            raise UserError(
                f"collection '{name}' on the server holds another model's vectors; choose another --name"
            )

    def upsert(self, points: Sequence[Point]) -> None:
        """Stores points and waits until the server has them."""
        made = [
            models.PointStruct(id=one.id, vector=one.vector.tolist(), payload=one.payload) for one in points
        ]
        with self._talking():
            self._client.upsert(self.name, made, wait=True)
            self._known = self._client.count(self.name).count

    def delete(self, ids: Sequence[str]) -> None:
        """Removes points and waits until they are gone."""
        if ids:
            with self._talking():
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
        with self._talking():
            answers = self._client.query_batch_points(self.name, requests)
        return [
            [Found(str(one.id), one.score, one.payload or {}) for one in answer.points] for answer in answers
        ]

    def get(self, ids: Sequence[str]) -> list[Point]:
        """The points with these ids."""
        with self._talking():
            records = self._client.retrieve(self.name, list(ids), with_payload=True, with_vectors=True)
        return [Point(str(one.id), np.asarray(one.vector, np.float32), one.payload or {}) for one in records]

    def scan(self, fields: Sequence[str]) -> Iterator[tuple[str, Payload]]:
        """Every point, block by block."""
        offset = None
        while True:
            with self._talking():
                records, offset = self._client.scroll(
                    self.name, limit=_BLOCK, offset=offset, with_payload=list(fields)
                )
            for record in records:
                yield str(record.id), record.payload or {}
            if offset is None:
                return

    def count(self) -> int:
        """How many points there are."""
        with self._talking():
            return self._client.count(self.name, exact=True).count

    @property
    def exact(self) -> bool:
        """Whether all vectors are compared."""
        return self._known * self.size <= EXACT_NUMBERS  # a search must not ask twice

    def optimize(self) -> None:
        """Nothing: a server does it by itself."""

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    @contextmanager
    def _talking(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # the client raises those of four libraries
            raise UserError(f"Qdrant server, collection '{self.name}': {_reason(error)}") from error


def _filter(filters: Filters) -> models.Filter | None:
    if not filters.conditions:
        return None
    return models.Filter(
        must=[_condition(one) for one in filters.conditions if one.operator != "!="],
        must_not=[_condition(one) for one in filters.conditions if one.operator == "!="],
    )


def _condition(condition: Condition) -> models.FieldCondition:
    value = condition.value
    if isinstance(value, str):
        part = condition.operator == "~"
        match: Any = models.MatchSubstring(substring=value) if part else models.MatchValue(value=value)
        return models.FieldCondition(key=condition.field, match=match)
    limits = {"<": {"lt": value}, "<=": {"lte": value}, ">": {"gt": value}, ">=": {"gte": value}}
    within = limits.get(condition.operator, {"gte": value, "lte": value})
    return models.FieldCondition(key=condition.field, range=models.Range(**within))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
