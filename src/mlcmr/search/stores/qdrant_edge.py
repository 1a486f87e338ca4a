"""A vector store inside this process, in a folder: Qdrant Edge.

Results of experiments with the engine, and their consequences:

- With a write-ahead log, a process that was killed while it wrote (40 times, also while it optimized) lost
  nothing for which `update` had returned. Without a log, points that were being replaced got lost, although
  they had been flushed before. So a store that is written has the log. `flush` (5 ms) ends each write,
  because a power cut, unlike the end of a process, would lose unflushed writes.
- A store with a log can be open in one process only, even for reading. A store without a log can be open in
  any number of processes that read. The configuration file of a store says whether there is a log. The engine
  can derive this file again from the segments. So `seal` flushes, removes the configuration and moves the log
  aside. The log must be kept: it numbers the operations, and numbers that began again would be older than
  those of the stored points.
- Each reader replaces the configuration of a sealed store, in one step. So the file has no checksum. The
  engine takes the distance and the size from the segments. A file that it cannot read is removed, and made
  again.
- An open store can still be read after its folder has been removed.
- The engine writes to files that are mapped into memory. If the disk is full, the system kills the process
  (SIGBUS). So each write first checks for free space. Files begin with 32 MB, which may be holes.
- A condition on a field without an index takes 100 ms per 100,000 points; with an index, 0 to 20 ms.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from mlcmr.errors import (
    CorruptFileError,
    MissingDependencyError,
    MlcmrError,
    no_panic,
    reason,
)
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
    require_disk_space,
)

try:
    import qdrant_edge as edge
except ImportError as error:
    raise MissingDependencyError("an index needs Qdrant Edge: pip install 'mlcmr[search]'") from error

_BLOCK = 10_000
_NEVER = 10**9  # KB: a smaller segment gets no graph
_ALWAYS = 1000


class EdgeStore:
    """A store in a folder; see `VectorStore`.

    Args:
        folder: The folder of the store.
        size: The size of a vector.
        fields: The payload fields that filters use, with their types.
        writing: Whether the store is opened for writing, and made if there is none. Only one process at a
            time may do so.

    Raises:
        CorruptFileError: If the folder does not hold a store of this size, or is damaged.
    """

    on_server: ClassVar[bool] = False

    def __init__(
        self, folder: Path, size: int, fields: Mapping[str, PayloadType], *, writing: bool = False
    ) -> None:
        self.folder = folder
        self.size = size
        self._writing = writing
        with _engine(folder, "opened"):
            if writing and self._log_aside.exists():
                (folder / "edge_config.json").unlink(missing_ok=True)
                self._log_aside.rename(folder / "wal")
            if writing and not (folder / "segments").is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                self._shard = edge.EdgeShard.create(str(folder), self._config())
            else:
                self._shard = self._load()
            if writing:
                self._index_fields(fields)
            self._count = self._shard.count(edge.CountRequest())

    @classmethod
    def open(cls, config: StoreConfig) -> Self:
        """Open a store."""
        assert config.folder is not None
        return cls(config.folder, config.size, config.fields, writing=config.writing)

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points and flush."""
        converted = [edge.Point(point.id, point.vector.tolist(), point.payload) for point in points]
        self._update(edge.UpdateOperation.upsert_points(converted))

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points and flush."""
        if ids:
            self._update(edge.UpdateOperation.delete_points(list(ids)))

    def search(self, queries: Sequence[VectorQuery]) -> list[list[ScoredPoint]]:
        """Return the nearest points of each query, searched as one batch."""
        return ordered(self._search, queries, exact=self.exact)

    def _search(self, queries: Sequence[VectorQuery]) -> list[list[ScoredPoint]]:
        params = edge.SearchParams(exact=True) if self.exact else edge.SearchParams(hnsw_ef=EF)
        requests = [
            edge.QueryRequest(
                limit=min(query.limit, self.count()),  # the engine takes no larger integers
                query=edge.Query.Nearest(query.vector.tolist()),
                filter=_filter(query.filters),
                with_payload=True,
                params=params,
            )
            for query in queries
        ]
        with _engine(self.folder, "searched"):
            answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [
            [ScoredPoint(str(point.id), point.score, point.payload or {}) for point in answer]
            for answer in answers
        ]

    def get(self, ids: Sequence[str]) -> list[Point]:
        """Return the points with these ids."""
        with _engine(self.folder, "read"):
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=True)
        return [
            Point(str(point.id), np.asarray(point.vector, np.float32), point.payload or {})
            for point in records
        ]

    def scan(self, fields: Sequence[str]) -> Iterator[tuple[str, Payload]]:
        """Yield every point, block by block."""
        offset = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=_BLOCK, with_payload=list(fields))
            with _engine(self.folder, "read"):
                records, offset = self._shard.scroll(request)
            for record in records:
                yield str(record.id), record.payload or {}
            if offset is None:
                return

    def count(self) -> int:
        """Return the number of points."""
        return self._shard.count(edge.CountRequest()) if self._writing else self._count

    @property
    def exact(self) -> bool:
        """Return whether all vectors are compared."""
        return self.count() * self.size <= EXACT_NUMBERS

    def optimize(self) -> None:
        """Merge segments, and build the HNSW graph if the store is large."""
        require_disk_space(self.folder, sum(path.stat().st_blocks * 512 for path in self.folder.rglob("*")))
        with _engine(self.folder, "written"):
            if not self.exact:
                # The engine decides for each segment by itself, this class for the whole store.
                self._shard.close()
                self._shard = edge.EdgeShard.load(str(self.folder), self._config(_ALWAYS))
            self._shard.optimize()

    def publish(self) -> None:
        """Optimize and seal the store."""
        self.optimize()
        self.seal()

    def close(self) -> None:
        """Flush and close."""
        with _engine(self.folder, "closed"):
            if self._writing:
                self._shard.flush()
            self._shard.close()

    def seal(self) -> None:
        """Close a written store so that any number of processes can read it."""
        self.close()
        (self.folder / "wal").rename(self._log_aside)
        (self.folder / "edge_config.json").unlink(missing_ok=True)
        # The first reader changes files: it removes journals, for example. Later readers change nothing.
        self._writing = False
        with _engine(self.folder, "opened"):
            edge.EdgeShard.load(str(self.folder), self._config()).close()

    @property
    def _log_aside(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    def _load(self) -> edge.EdgeShard:
        try:
            return edge.EdgeShard.load(str(self.folder), self._config())
        except Exception:
            if not self._log_aside.exists():  # the store is not sealed: another process may write it
                raise
            (self.folder / "edge_config.json").unlink(missing_ok=True)
            return edge.EdgeShard.load(str(self.folder), self._config())

    def _update(self, operation: edge.UpdateOperation) -> None:
        require_disk_space(self.folder)
        with _engine(self.folder, "written"):
            self._shard.update(operation)
            self._shard.flush()

    def _index_fields(self, fields: Mapping[str, PayloadType]) -> None:
        indexed = self._shard.info().payload_schema
        kinds = {"keyword": edge.PayloadSchemaType.Keyword, "float": edge.PayloadSchemaType.Float}
        for name, kind in fields.items():
            if name not in indexed:
                self._shard.update(edge.UpdateOperation.create_field_index(name, kinds[kind]))

    def _config(self, graph_from: int = _NEVER) -> edge.EdgeConfig:
        return edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=self.size, distance=edge.Distance.Cosine),
            wal_enabled=self._writing,
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=graph_from),
        )


@contextmanager
def _engine(folder: Path, action: str) -> Iterator[None]:
    """Turn an error of the engine into one line; `action` is a participle, such as `opened`."""
    failure = f"{folder}: cannot be {action}"
    try:
        with no_panic(failure):
            yield
    except MlcmrError:
        raise
    except Exception as error:
        raise CorruptFileError(f"{failure}: {reason(error)}", path=folder) from error


def _filter(filters: Filters) -> edge.Filter | None:
    if not filters.conditions:
        return None
    return edge.Filter(
        must=list(map(_condition, filters.must)), must_not=list(map(_condition, filters.must_not))
    )


def _condition(condition: Condition) -> edge.FieldCondition | edge.Filter:
    if isinstance(condition.value, str):
        match = edge.MatchSubstring if condition.operator == "~" else edge.MatchValue
        fields = [edge.FieldCondition(condition.field, match=match(text)) for text in condition.texts]
        return edge.Filter(should=list(fields)) if len(fields) > 1 else fields[0]
    return edge.FieldCondition(condition.field, range=edge.RangeFloat(**condition.limits))
