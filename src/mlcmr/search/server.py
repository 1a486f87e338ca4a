"""A vector store on a Qdrant server or cluster."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from mlcmr.errors import UserError, reason
from mlcmr.search.filters import Condition, Filters
from mlcmr.search.store import EXACT_NUMBERS, Found, Payload, PayloadType, Point, Query

try:
    from qdrant_client import QdrantClient, models
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
except ImportError as error:
    raise UserError("--url needs Qdrant's client: pip install 'mlcmr[search]'") from error

One = TypeVar("One")
_PORT = 6333
_OLDEST = (1, 20)  # the first that has the filter behind path~PART
_NOT_IN_NAMES = '<>:"/\\|?*\0\x1f'  # of collections, which are folders on servers
_BLOCK = 1000  # points in a request
_NUMBERS = 2**19  # of a request's vectors, which makes up to 12 MB of JSON; servers refuse more than 32 MB
_MOST = 2**31 - 1  # hits; a server's numbers end
_EF = 128
_TIMEOUT = 60  # seconds
_INDEXES: dict[PayloadType, models.KeywordIndexParams | models.PayloadSchemaType] = {
    # Its list of values is also what a part of one is looked for in.
    "keyword": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=True),
    "float": models.PayloadSchemaType.FLOAT,
}


def whole_address(url: str) -> str:
    """A server's address with the port that is asked.

    Raises:
        UserError: it cannot be one.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.username is None:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{parts.scheme}://{host}:{parts.port or _PORT}{parts.path.rstrip('/')}"
    raise UserError(
        f"--url {url}: not the address of a Qdrant server; expected http://HOST:{_PORT} or https://HOST:{_PORT}"
    )


def connect(address: str) -> QdrantClient:
    """A client of a server; the environment's QDRANT_API_KEY, if there is one, is its key."""
    key = os.environ.get("QDRANT_API_KEY", "").strip()
    return QdrantClient(
        url=address,
        # As `api_key`, it would be warned of wherever the address is not https, on this machine too.
        headers={"api-key": key} if key else None,
        timeout=_TIMEOUT,
        check_compatibility=False,
    )


def require_free(address: str, names: Sequence[str]) -> None:
    """Sees to it that a new index takes nobody's collections.

    Raises:
        UserError: a collection of such a name is there, or cannot be; or the server is too old, or cannot be
            reached.
    """
    for name in names:
        if wrong := [one for one in name if one in _NOT_IN_NAMES]:
            raise UserError(
                f"a collection cannot be called '{name}', with {wrong[0]!r}; choose another --name"
            )
    with _talking(address), closing(connect(address)) as client:
        version = client.info().version
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST:
            raise UserError(
                f"Qdrant server {address}: is of version '{version}', but must be of "
                f"{'.'.join(map(str, _OLDEST))} or newer; update it, or see that this is its address"
            )
        for name in names:
            if client.collection_exists(name):
                raise UserError(
                    f"Qdrant server {address}: its collection '{name}' is another index's; "
                    "choose another --name"
                )


class ServerStore:
    """A collection on a server; see `VectorStore`.

    Args:
        address: The server.
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
        # Closed by nobody, it closes when the last thread that searches in an older index is done.
        self._client = client = connect(address)
        with self._talking():
            there = client.collection_exists(name)
            if not there and writing:
                client.create_collection(
                    name,
                    vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE),
                    metadata={"index": index},
                )
            elif not there:
                raise UserError(
                    f"Qdrant server {address}: has no collection '{name}'; run `mlcmr index` (again)"
                )
            about = client.get_collection(name)
            if (about.config.metadata or {}).get("index") != index:
                raise UserError(
                    f"Qdrant server {address}: its collection '{name}' is another index's; "
                    "index into another folder (--to) under another --name"
                )
            if writing:
                # Also where the collection was there: whoever made it may have been killed before this.
                for field, kind in fields.items():
                    if field not in about.payload_schema:
                        client.create_payload_index(name, field, _INDEXES[kind], wait=True)
            self._known = client.count(name).count

    def upsert(self, points: Sequence[Point]) -> None:
        """Stores points and waits until the server has them."""
        with self._talking():
            for block in self._blocks(points):
                made = [
                    models.PointStruct(id=one.id, vector=one.vector.tolist(), payload=one.payload)
                    for one in block
                ]
                self._client.upsert(self.name, made, wait=True)
            self._known = self._client.count(self.name).count

    def delete(self, ids: Sequence[str]) -> None:
        """Removes points and waits until they are gone."""
        with self._talking():
            for block in self._blocks(ids):
                self._client.delete(self.name, models.PointIdsList(points=list(block)), wait=True)

    def search(self, queries: Sequence[Query]) -> list[list[Found]]:
        """The nearest points of each query, in as few requests as may be."""
        params = models.SearchParams(exact=True) if self.exact else models.SearchParams(hnsw_ef=_EF)
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
        with self._talking():
            return [
                [Found(str(one.id), one.score, one.payload or {}) for one in answer.points]
                for block in self._blocks(requests)
                for answer in self._client.query_batch_points(self.name, block)
            ]

    def get(self, ids: Sequence[str]) -> list[Point]:
        """The points with these ids."""
        with self._talking():
            return [
                Point(str(one.id), np.asarray(one.vector, np.float32), one.payload or {})
                for block in self._blocks(ids)
                for one in self._client.retrieve(self.name, block, with_payload=True, with_vectors=True)
            ]

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

    def _talking(self) -> AbstractContextManager[None]:
        return _talking(self._address, self.name)

    def _blocks(self, many: Sequence[One]) -> Iterator[Sequence[One]]:
        """Points, or what is asked of them: so many at a time as a request may hold, vectors included."""
        step = max(1, min(_BLOCK, _NUMBERS // self.size))
        return (many[start : start + step] for start in range(0, len(many), step))


@contextmanager
def _talking(address: str, name: str = "") -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the client raises those of four libraries
        where = f", collection '{name}'" if name else ""
        raise UserError(f"Qdrant server {address}{where}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """What went wrong, in one line, and what to look at."""
    address = "see that it runs, and that this is its address"
    if not isinstance(error, UnexpectedResponse):
        source = error.source if isinstance(error, ResponseHandlingException) else error
        return f"{reason(source)}; {address}"
    # Qdrant's answers are JSON, but for keys that it refuses; another server's may be anything.
    words, advice = error.content.decode(errors="replace"), f"; {address}"
    with suppress(ValueError, LookupError, TypeError):
        words, advice = error.structured()["status"]["error"], ""
    if error.status_code in (401, 403):
        advice = "; its key belongs in the environment's QDRANT_API_KEY"
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
