"""A vector store on a Qdrant server or cluster."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

import numpy as np

from mlcmr.errors import InvalidValueError, MissingDependencyError, MlcmrError, NotFoundError, reason
from mlcmr.search.filters import Condition, Filters
from mlcmr.search.stores.base import (
    EF,
    EXACT_NUMBERS,
    Payload,
    PayloadType,
    Point,
    ScoredPoint,
    StoreConfig,
    VectorQuery,
    ordered,
)

try:
    from qdrant_client import QdrantClient, models
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
except ImportError as error:
    raise MissingDependencyError(
        "a Qdrant server needs Qdrant's client: pip install 'mlcmr[search]'"
    ) from error

Item = TypeVar("Item")
_PORT = 6333
_OLDEST = (1, 20)  # the first version with the filter for path~PART
_NOT_IN_NAMES = '<>:"/\\|?*\0\x1f'  # a server stores a collection in a folder of the same name
_BLOCK = 1000  # points in a request
_NUMBERS = 2**19  # in the vectors of a request: up to 12 MB of JSON; servers refuse more than 32 MB
_MOST = 2**31 - 1  # hits; a server takes no larger integers
_TIMEOUT = 60  # seconds
_INDEXES: dict[PayloadType, models.KeywordIndexParams | models.PayloadSchemaType] = {
    # With `prefix`, the index also serves searches for a part of a value.
    "keyword": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=True),
    "float": models.PayloadSchemaType.FLOAT,
}


def whole_address(url: str) -> str:
    """Return the address of a server, with its port.

    Raises:
        InvalidValueError: If `url` is not the address of a server.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.username is None:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{parts.scheme}://{host}:{parts.port or _PORT}{parts.path.rstrip('/')}"
    raise InvalidValueError(
        f"`url` is {url}, which is not the address of a Qdrant server; expected http://HOST:{_PORT} or "
        f"https://HOST:{_PORT}",
        parameter="url",
    )


def connect(address: str) -> QdrantClient:
    """Return a client of a server; the environment variable QDRANT_API_KEY holds the API key."""
    key = os.environ.get("QDRANT_API_KEY", "").strip()
    return QdrantClient(
        url=address,
        # With `api_key`, the client warns of each address without https, also of this machine.
        headers={"api-key": key} if key else None,
        timeout=_TIMEOUT,
        check_compatibility=False,
    )


def require_free(address: str, names: Sequence[str]) -> None:
    """Check that a new index can create its Qdrant collections, one for each of `names`.

    Raises:
        InvalidValueError: If a Qdrant collection has one of the names, or a name contains a forbidden letter.
        MlcmrError: If the server is too old or cannot be reached.
    """
    for name in names:
        if wrong := [letter for letter in name if letter in _NOT_IN_NAMES]:
            raise InvalidValueError(
                f"the name of a collection cannot contain {wrong[0]!r}: '{name}'; choose another `name`",
                parameter="name",
            )
    with _requesting(address), closing(connect(address)) as client:
        version = client.info().version
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST:
            raise MlcmrError(
                f"Qdrant server {address}: has version '{version}', but must have "
                f"{'.'.join(map(str, _OLDEST))} or newer; update the server, or check its address"
            )
        for name in names:
            if client.collection_exists(name):
                raise InvalidValueError(
                    f"Qdrant server {address}: the collection '{name}' belongs to another index; "
                    "choose another `name`",
                    parameter="name",
                )


class ServerStore:
    """A collection on a server; see `VectorStore`.

    Args:
        address: The server.
        name: The name of the collection.
        size: The size of a vector.
        fields: The payload fields that filters use, with their types.
        index: The id of the index that the collection belongs to.
        writing: Whether the collection is made if there is none.

    Raises:
        MlcmrError: If the server cannot be reached, or the collection is missing or belongs to another index.
    """

    on_server: ClassVar[bool] = True

    def __init__(
        self,
        address: str,
        name: str,
        size: int,
        fields: Mapping[str, PayloadType],
        index: str,
        *,
        writing: bool = False,
    ) -> None:
        self.name = name
        self.size = size
        self._address = address
        # It closes with its last reference: a thread may still search in an older index.
        self._client = client = connect(address)
        with self._requesting():
            exists = client.collection_exists(name)
            if not exists and writing:
                client.create_collection(
                    name,
                    vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE),
                    metadata={"index": index},
                )
            elif not exists:
                raise NotFoundError(
                    f"Qdrant server {address}: has no collection '{name}'; run `mlcmr index` (again)"
                )
            description = client.get_collection(name)
            if (description.config.metadata or {}).get("index") != index:
                raise MlcmrError(
                    f"Qdrant server {address}: the collection '{name}' belongs to another index; "
                    "index into another folder (`to`) under another `name`"
                )
            if writing:
                # Also in an existing collection: its writer may have been killed before this step.
                for field, kind in fields.items():
                    if field not in description.payload_schema:
                        client.create_payload_index(name, field, _INDEXES[kind], wait=True)
            self._known = client.count(name).count

    @classmethod
    def open(cls, config: StoreConfig) -> Self:
        """Open a store."""
        assert config.url is not None
        return cls(config.url, config.name, config.size, config.fields, config.index, writing=config.writing)

    @classmethod
    def whole_address(cls, url: str) -> str:
        """Return the address of a server, with its port."""
        return whole_address(url)

    @classmethod
    def require_free(cls, url: str, names: Sequence[str]) -> None:
        """Check that a new index can make its collections."""
        require_free(url, names)

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points and wait until the server has them."""
        with self._requesting():
            for block in self._blocks(points):
                converted = [
                    models.PointStruct(id=point.id, vector=point.vector.tolist(), payload=point.payload)
                    for point in block
                ]
                self._client.upsert(self.name, converted, wait=True)
            self._known = self._client.count(self.name).count

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points and wait until they are gone."""
        with self._requesting():
            for block in self._blocks(ids):
                self._client.delete(self.name, models.PointIdsList(points=list(block)), wait=True)

    def search(self, queries: Sequence[VectorQuery]) -> list[list[ScoredPoint]]:
        """Return the nearest points of each query, in as few requests as possible."""
        return ordered(self._search, queries, exact=self.exact)

    def _search(self, queries: Sequence[VectorQuery]) -> list[list[ScoredPoint]]:
        params = models.SearchParams(exact=True) if self.exact else models.SearchParams(hnsw_ef=EF)
        requests = [
            models.QueryRequest(
                query=query.vector.tolist(),
                limit=min(query.limit, _MOST),
                filter=_filter(query.filters),
                with_payload=True,
                params=params,
            )
            for query in queries
        ]
        with self._requesting():
            return [
                [ScoredPoint(str(point.id), point.score, point.payload or {}) for point in answer.points]
                for block in self._blocks(requests)
                for answer in self._client.query_batch_points(self.name, block)
            ]

    def get(self, ids: Sequence[str]) -> list[Point]:
        """Return the points with these ids."""
        with self._requesting():
            return [
                Point(str(point.id), np.asarray(point.vector, np.float32), point.payload or {})
                for block in self._blocks(ids)
                for point in self._client.retrieve(self.name, block, with_payload=True, with_vectors=True)
            ]

    def scan(self, fields: Sequence[str]) -> Iterator[tuple[str, Payload]]:
        """Yield every point, block by block."""
        offset = None
        while True:
            with self._requesting():
                records, offset = self._client.scroll(
                    self.name, limit=_BLOCK, offset=offset, with_payload=list(fields)
                )
            for record in records:
                yield str(record.id), record.payload or {}
            if offset is None:
                return

    def count(self) -> int:
        """Return the number of points."""
        with self._requesting():
            return self._client.count(self.name, exact=True).count

    @property
    def exact(self) -> bool:
        """Return whether all vectors are compared."""
        return self._known * self.size <= EXACT_NUMBERS  # a search must not cost a second request

    def publish(self) -> None:
        """Close the connection: a server optimizes by itself."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _requesting(self) -> AbstractContextManager[None]:
        return _requesting(self._address, self.name)

    def _blocks(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        """Yield blocks of points or queries that are small enough for a request."""
        step = max(1, min(_BLOCK, _NUMBERS // self.size))
        return (items[start : start + step] for start in range(0, len(items), step))


@contextmanager
def _requesting(address: str, name: str = "") -> Iterator[None]:
    """Turn an error of the client into one line."""
    try:
        yield
    except MlcmrError:
        raise
    except Exception as error:  # the client raises the errors of four libraries
        where = f", collection '{name}'" if name else ""
        raise MlcmrError(f"Qdrant server {address}{where}: {_describe(error)}") from error


def _describe(error: Exception) -> str:
    """Return in one line what failed, and what to do."""
    address = "check that the server runs, and its address"
    if not isinstance(error, UnexpectedResponse):
        source = error.source if isinstance(error, ResponseHandlingException) else error
        return f"{reason(source)}; {address}"
    # Qdrant answers in JSON, except to a refused key. Another kind of server may answer anything.
    words, advice = error.content.decode(errors="replace"), f"; {address}"
    with suppress(ValueError, LookupError, TypeError):
        words, advice = error.structured()["status"]["error"], ""
    if error.status_code in (401, 403):
        advice = "; set the environment variable QDRANT_API_KEY to its API key"
    return f"answers {error.status_code}: {reason(Exception(words))}{advice}"


def _filter(filters: Filters) -> models.Filter | None:
    if not filters.conditions:
        return None
    return models.Filter(
        must=list(map(_condition, filters.must)), must_not=list(map(_condition, filters.must_not))
    )


def _condition(condition: Condition) -> models.FieldCondition | models.Filter:
    if isinstance(condition.value, str):
        part = condition.operator == "~"
        matches: list[Any] = [
            models.MatchSubstring(substring=text) if part else models.MatchValue(value=text)
            for text in condition.texts
        ]
        fields = [models.FieldCondition(key=condition.field, match=match) for match in matches]
        return models.Filter(should=list(fields)) if len(fields) > 1 else fields[0]
    return models.FieldCondition(key=condition.field, range=models.Range(**condition.limits))
