"""A vector store inside this process, in a folder: Qdrant Edge.

What was tried with it, and what follows from that:

- A process that was killed while it wrote (40 times over, optimizing included) had lost nothing that `update`
  had returned from when there was a write-ahead log. Without one, points that were being replaced got lost,
  although they had been flushed before. So a store that is written has the log; and `flush` (5 ms) is
  called before a write counts as done, for what a process's end does not lose but a power cut would.
- A store with a log can be open in one process only, even for reading. One without can be open in any number
  that read. Whether there is a log is fixed in the store's own configuration, which can be derived anew from
  its segments; so `seal` takes the configuration away, and the log aside, once all is flushed. The log cannot
  go for good: operations are numbered in it, and numbers begun anew would be older than what is stored.
- A store that is open can be read on after its folder has been removed.
- It writes to files that are mapped into memory. Where the disk is full, the process is not told but killed
  (SIGBUS): so there must be room before anything is written. Files begin with 32 MB, which may be holes.
- Conditions on fields without an index of their own take 100 ms per 100,000 points; with one, 0 to 20 ms.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlcmr.errors import UserError, reason
from mlcmr.search.filters import Condition, Filters
from mlcmr.search.store import EXACT_NUMBERS, Found, Payload, PayloadType, Point, Query, Vector

try:
    import qdrant_edge as edge
except ImportError as error:
    raise UserError("an index needs Qdrant Edge: pip install 'mlcmr[search]'") from error

_BLOCK = 10_000
_ROOM = 128 * 2**20  # bytes, for the next points in each of a store's files
_EF = 128  # candidates that the search of a graph keeps
_NEVER = 10**9  # KB: no graph is built below this
_ALWAYS = 1000


def require_room(place: Path, more: int = 0) -> None:
    """Sees to it that a store can be written.

    Args:
        place: A folder on the disk in question.
        more: Bytes that are needed besides those for a few more points.

    Raises:
        UserError: the disk is nearly full.
    """
    free, wanted = shutil.disk_usage(place).free, _ROOM + more
    if free < wanted:
        raise UserError(
            f"{place}: the disk is nearly full: {free >> 20:,} MB are free, {wanted >> 20:,} MB needed; "
            "make room, then run the same command again"
        )


class EdgeStore:
    """A store in a folder; see `VectorStore`.

    Args:
        folder: The folder, which is made when there is none.
        size: The size of a vector.
        fields: The payload fields that conditions are put on.
        writing: Open for writing, which no other process may do at the same time.

    Raises:
        UserError: the folder does not hold a store of this size, or is damaged.
    """

    def __init__(
        self, folder: Path, size: int, fields: Mapping[str, PayloadType], *, writing: bool = False
    ) -> None:
        self.folder = folder
        self.size = size
        self._writing = writing
        try:
            if writing and self._log_aside.exists():
                (folder / "edge_config.json").unlink(missing_ok=True)
                self._log_aside.rename(folder / "wal")
            if writing and not (folder / "segments").is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                self._shard = edge.EdgeShard.create(str(folder), self._config())
            else:
                self._shard = edge.EdgeShard.load(str(folder), self._config())
            if writing:
                self._index_fields(fields)
        except Exception as error:  # the bindings raise nothing more special
            raise UserError(f"{folder}: cannot be opened: {reason(error)}") from error
        self._count = self._shard.count(edge.CountRequest())

    def upsert(self, points: Sequence[Point]) -> None:
        """Stores points and flushes."""
        made = [edge.Point(point.id, point.vector.tolist(), point.payload) for point in points]
        self._update(edge.UpdateOperation.upsert_points(made))

    def delete(self, ids: Sequence[str]) -> None:
        """Removes points and flushes."""
        if ids:
            self._update(edge.UpdateOperation.delete_points(list(ids)))

    def search(self, queries: Sequence[Query]) -> list[list[Found]]:
        """The nearest points of each query, planned as one batch."""
        params = edge.SearchParams(exact=True) if self.exact else edge.SearchParams(hnsw_ef=_EF)
        requests = [
            edge.QueryRequest(
                limit=min(query.limit, self.count()),  # the engine's numbers end
                query=edge.Query.Nearest(query.vector.tolist()),
                filter=_filter(query.filters),
                with_payload=True,
                params=params,
            )
            for query in queries
        ]
        answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [[Found(str(one.id), one.score, one.payload or {}) for one in answer] for answer in answers]

    def get(self, ids: Sequence[str]) -> list[Point]:
        """The points with these ids."""
        records = self._shard.retrieve(list(ids), with_payload=True, with_vector=True)
        return [Point(str(one.id), _vector(one.vector), one.payload or {}) for one in records]

    def scan(self, fields: Sequence[str]) -> Iterator[tuple[str, Payload]]:
        """Every point, block by block."""
        offset = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=_BLOCK, with_payload=list(fields))
            records, offset = self._shard.scroll(request)
            for record in records:
                yield str(record.id), record.payload or {}
            if offset is None:
                return

    def count(self) -> int:
        """How many points there are."""
        return self._shard.count(edge.CountRequest()) if self._writing else self._count

    @property
    def exact(self) -> bool:
        """Whether all vectors are compared."""
        return self.count() * self.size <= EXACT_NUMBERS

    def optimize(self) -> None:
        """Merges segments; builds the HNSW graph where it will be searched."""
        require_room(self.folder, sum(path.stat().st_blocks * 512 for path in self.folder.rglob("*")))
        if not self.exact:
            # The engine decides by segment, we by store: so it is told when, and by that alone.
            self._shard.close()
            self._shard = edge.EdgeShard.load(str(self.folder), self._config(_ALWAYS))
        self._shard.optimize()

    def close(self) -> None:
        """Flushes and closes."""
        if self._writing:
            self._shard.flush()
        self._shard.close()

    def seal(self) -> None:
        """Closes a store that was written, and makes it one that any number of processes can read."""
        self.close()
        (self.folder / "wal").rename(self._log_aside)
        (self.folder / "edge_config.json").unlink(missing_ok=True)

    @property
    def _log_aside(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    def _update(self, operation: edge.UpdateOperation) -> None:
        require_room(self.folder)
        try:
            self._shard.update(operation)
            self._shard.flush()
        except Exception as error:
            raise UserError(f"{self.folder}: cannot be written: {reason(error)}") from error

    def _index_fields(self, fields: Mapping[str, PayloadType]) -> None:
        there = self._shard.info().payload_schema
        kinds = {"keyword": edge.PayloadSchemaType.Keyword, "float": edge.PayloadSchemaType.Float}
        for name, kind in fields.items():
            if name not in there:
                self._shard.update(edge.UpdateOperation.create_field_index(name, kinds[kind]))

    def _config(self, graph_from: int = _NEVER) -> edge.EdgeConfig:
        return edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=self.size, distance=edge.Distance.Cosine),
            wal_enabled=self._writing,
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=graph_from),
        )


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


def _vector(vector: Any) -> Vector:
    return np.asarray(vector, np.float32)
