"""The store in a folder: who writes, who reads, who is killed."""

import random
import time
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge

from mlcmr.errors import CorruptFileError
from mlcmr.search.indexing.payload import SEGMENT_FIELDS
from mlcmr.search.stores import qdrant_edge as edge
from mlcmr.search.stores.base import Point, VectorQuery
from mlcmr.search.stores.qdrant_edge import EdgeStore
from tests.helpers.indexes import SIZE, identity, vectors
from tests.helpers.processes import start_function, wait_for_bytes


def test_one_process_writes_a_store(tmp_path):
    one = EdgeStore(tmp_path / "store", SIZE, SEGMENT_FIELDS, writing=True)
    with pytest.raises(CorruptFileError, match="cannot be opened"):
        EdgeStore(tmp_path / "store", SIZE, SEGMENT_FIELDS, writing=True)
    one.close()


def test_a_sealed_store_is_read_by_many_and_written_again(tmp_path):
    path, rows = tmp_path / "store", vectors(50)
    for turn in range(4):
        one = EdgeStore(path, SIZE, SEGMENT_FIELDS, writing=True)
        # Known points are replaced and removed, new points are added.
        one.upsert([Point(identity(n), rows[n], {"turn": turn}) for n in range(10 * turn + 10)])
        one.delete([identity(turn)])
        one.optimize()
        one.seal()
        readers = [EdgeStore(path, SIZE, SEGMENT_FIELDS) for _ in range(3)]
        for reader in readers:
            seen = dict(reader.scan(["turn"]))
            assert seen == {identity(n): {"turn": turn} for n in range(10 * turn + 10) if n != turn}
            reader.close()


def test_a_store_of_another_size(tmp_path):
    EdgeStore(tmp_path / "store", SIZE, SEGMENT_FIELDS, writing=True).seal()
    with pytest.raises(CorruptFileError, match="cannot be opened"):
        EdgeStore(tmp_path / "store", SIZE + 1, SEGMENT_FIELDS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"Cosine"', '"Cosinf"'),
        ('"Cosine"', '"Manhattan"'),
        (f'"size":{SIZE}', f'"size":{SIZE + 1}'),
        ('"wal_enabled"', '"wal_enabmed"'),
        ("}", ""),
    ],
)
def test_a_damaged_configuration_is_made_again(tmp_path, before, after):
    store = EdgeStore(tmp_path / "store", SIZE, SEGMENT_FIELDS, writing=True)
    rows = vectors(3)
    store.upsert([Point(identity(number), row, {}) for number, row in enumerate(rows)])
    store.seal()
    config = tmp_path / "store" / "edge_config.json"
    content = config.read_text()
    config.write_text(content.replace(before, after))
    (hits,) = EdgeStore(tmp_path / "store", SIZE, SEGMENT_FIELDS).search([VectorQuery(rows[0], 3)])
    cosines = rows @ rows[0] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[0])
    assert [hit.score for hit in hits] == pytest.approx(sorted(cosines, reverse=True), abs=1e-6)
    assert config.read_text() == content


def test_a_large_store_follows_a_graph(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    size, centres = 64, vectors(200, size=64)
    rows = centres[rng.integers(0, 200, 4000)] + 0.1 * rng.normal(size=(4000, size)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    one = EdgeStore(tmp_path / "store", size, {}, writing=True)
    one.upsert([Point(identity(n), row, {}) for n, row in enumerate(rows)])
    one.optimize()
    assert one.exact
    assert one._shard.info().indexed_vectors_count == 0
    monkeypatch.setattr(edge, "EXACT_NUMBERS", 4000 * size - 1)
    one.optimize()
    assert not one.exact
    assert one._shard.info().indexed_vectors_count == 4000
    asked = rows[::40]
    found = one.search([VectorQuery(query, 10) for query in asked])
    best = np.argsort(-(asked @ rows.T), axis=1)[:, :10]
    shared = [
        len({identity(n) for n in row} & {one.id for one in hits})
        for row, hits in zip(best, found, strict=True)
    ]
    assert np.mean(shared) > 9
    one.close()


def test_hits_of_a_graph_for_k_are_the_first_of_those_for_more(tmp_path, monkeypatch):
    """In a coarse graph, a search for more than 128 hits finds points that a search for fewer misses."""
    size, count = 128, 4000
    rows = vectors(count, size=size)
    rows[:200] = rows[0]  # a video that was copied
    coarse = qdrant_edge.HnswIndexConfig(m=4, ef_construct=8, full_scan_threshold=10)
    monkeypatch.setattr(edge.edge, "EdgeConfig", partial(qdrant_edge.EdgeConfig, hnsw_config=coarse))
    one = EdgeStore(tmp_path / "store", size, {}, writing=True)
    one.upsert([Point(identity(n), row, {"video": f"v{n:04}"}) for n, row in enumerate(rows)])
    monkeypatch.setattr(edge, "EXACT_NUMBERS", count * size - 1)
    one.optimize()
    assert not one.exact
    asked = [rows[0], *vectors(8, seed=3, size=size)]
    most = one.search([VectorQuery(query, 1500) for query in asked])
    for hits in most:
        assert len({hit.id for hit in hits}) == 1500
        keys = [(-hit.score, hit.payload["video"]) for hit in hits]
        assert keys == sorted(keys)
    for k in (1, 10, 126, 127, 128, 129, 200, 511, 513, 1000):
        for hits, whole in zip(one.search([VectorQuery(query, k) for query in asked]), most, strict=True):
            assert [hit.id for hit in hits] == [hit.id for hit in whole[:k]]
    one.close()


def _write_forever(path: str, log: str, start: str) -> None:
    one = EdgeStore(Path(path), SIZE, SEGMENT_FIELDS, writing=True)
    draw = random.Random(start)
    with Path(log).open("a") as acknowledged:
        for turn in range(int(start) + 1, 10**9):
            # Each turn brings ten that are new, replaces some that are old, and removes the first of the ten.
            old = {number for number in (draw.randrange(10 * turn) for _ in range(10)) if number % 10}
            numbers = [*range(10 * turn, 10 * turn + 10), *sorted(old)]
            made = zip(numbers, vectors(len(numbers), seed=turn), strict=True)
            one.upsert([Point(identity(n), row, {"video": f"v{n}", "turn": turn}) for n, row in made])
            acknowledged.writelines(f"{n} {turn}\n" for n in numbers[1:])
            acknowledged.flush()
            one.delete([identity(numbers[0])])
            acknowledged.write(f"{numbers[0]} 0\n")
            acknowledged.flush()
            if draw.random() < 0.1:
                one.optimize()


def test_a_killed_writer_has_kept_what_it_acknowledged(tmp_path):
    draw = random.Random(7)
    path, log = tmp_path / "store", tmp_path / "log"
    start = 0
    for _ in range(4):
        before = log.stat().st_size if log.exists() else 0
        writer = start_function(_write_forever, str(path), str(log), str(start))
        wait_for_bytes(log, before + draw.randrange(1, 1500), writer)
        assert writer.is_alive()
        time.sleep(draw.uniform(0, 0.02))
        writer.kill()
        writer.join()
        acknowledged: dict[int, int] = {}
        for line in log.read_text().splitlines():
            number, turn = map(int, line.split())
            acknowledged[number] = turn
        one = EdgeStore(path, SIZE, SEGMENT_FIELDS, writing=True)
        seen = {uuid.UUID(name).int - 1: payload for name, payload in one.scan(["video", "turn"])}
        one.close()
        start = max(acknowledged) // 10 + 2
        for number, turn in acknowledged.items():
            if number % 10:
                assert seen[number]["video"] == f"v{number}"
                assert seen[number]["turn"] >= turn
            else:
                assert number not in seen
