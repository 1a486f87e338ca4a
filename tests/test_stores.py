"""What an index asks of an engine, in a folder and on a server."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexes import SIZE, identity, points, vectors
from mlcmr.search import Filters
from mlcmr.search.edge import EdgeStore
from mlcmr.search.filters import Condition
from mlcmr.search.points import FILTER_FIELDS, SEGMENT_FIELDS
from mlcmr.search.server import ServerStore
from mlcmr.search.store import Point, Query, VectorStore
from qdrant_server import shared_server


def make_store(kind: str, folder: Path) -> VectorStore:
    if kind == "edge":
        return EdgeStore(folder / "store", SIZE, SEGMENT_FIELDS, writing=True)
    name = f"store-{uuid.uuid4()}"
    return ServerStore(shared_server().url, name, SIZE, FILTER_FIELDS, "abc", writing=True)


@pytest.fixture(params=["edge", "server"])
def made(request, tmp_path) -> Iterator[VectorStore]:
    """The same tests for both."""
    one = make_store(request.param, tmp_path)
    yield one
    one.close()


@pytest.fixture(scope="module", params=["edge", "server"])
def thirty(request, tmp_path_factory) -> Iterator[VectorStore]:
    """A store of thirty points, only read."""
    one = make_store(request.param, tmp_path_factory.mktemp("thirty"))
    one.upsert(points(vectors(30)))
    yield one
    one.close()


def test_a_store_finds_what_numpy_finds(made):
    rows, asked = vectors(200), vectors(7, seed=1)
    made.upsert(points(rows))
    for k, found, query in zip(
        range(1, 8), made.search([Query(q, k) for k, q in enumerate(asked, 1)]), asked, strict=True
    ):
        scores = rows @ query
        best = np.argsort(-scores)[:k]
        assert [one.id for one in found] == [identity(n) for n in best]
        np.testing.assert_allclose([one.score for one in found], scores[best], atol=1e-5)
        assert [one.payload["video"] for one in found] == [f"v{n}" for n in best]
    assert made.exact
    assert made.count() == 200


@pytest.mark.parametrize("k", [21, 2**31, 2**63, 2**64, 10**30])
def test_more_hits_wanted_than_there_are(made, k):
    assert made.search([Query(vectors(1)[0], k)]) == [[]]
    made.upsert(points(vectors(20)))
    (found,) = made.search([Query(vectors(1)[0], k)])
    assert len(found) == 20


def test_a_store_replaces_and_removes(made):
    rows = vectors(20)
    made.upsert(points(rows))
    made.upsert([Point(identity(3), -rows[3], {"video": "other"})])
    made.delete([identity(4), identity(400)])
    made.delete([])
    assert made.count() == 19
    assert {one.id for one in made.get([identity(3), identity(4)])} == {identity(3)}
    (three,) = made.get([identity(3)])
    np.testing.assert_allclose(three.vector, -rows[3], atol=1e-6)
    assert three.payload == {"video": "other"}
    (found,) = made.search([Query(-rows[3], 1)])
    assert found[0].payload == {"video": "other"}
    seen = dict(made.scan(["video"]))
    assert len(seen) == 19
    assert seen[identity(5)] == {"video": "v5"}


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ("duration<5", lambda n: n < 5),
        ("duration <= 5", lambda n: n <= 5),
        ("duration>5", lambda n: n > 5),
        ("duration>=5", lambda n: n >= 5),
        ("duration=5", lambda n: n == 5),
        ("kind=image", lambda n: n % 3 == 0),
        ("kind!=image", lambda n: n % 3),
        ("path~holiday/1", lambda n: n % 2 and str(n).startswith("1")),
        ("path=/films/garden/4.mp4", lambda n: n == 4),
        ("video=v7", lambda n: n == 7),
        ("video!=v7", lambda n: n != 7),
    ],
)
def test_a_store_filters(thirty, written, holds):
    (found,) = thirty.search([Query(vectors(1)[0], 30, Filters.parse([written]))])
    assert {one.id for one in found} == {identity(n) for n in range(30) if holds(n)}


@pytest.mark.parametrize(
    ("written", "count"), [("path~\udcff", 0), ("video=\udcff", 0), ("video!=\udcff", 30)]
)
def test_filters_that_are_not_utf_8(thirty, written, count):
    (found,) = thirty.search([Query(vectors(1)[0], 30, Filters.parse([written]))])
    assert len(found) == count
    # As a server would be sent it.
    for one in Filters.parse([written]).conditions:
        str(one.value).encode()


@pytest.mark.parametrize("written", ["path~/caf\u00e9", "path~/cafe\u0301/"])
def test_a_path_is_found_however_its_accents_are_written(made, written):
    paths = ["/films/caf\u00e9/1.mp4", "/films/cafe\u0301/1.mp4", "/films/cafe/1.mp4"]
    rows = vectors(len(paths))
    made.upsert([Point(identity(n), rows[n], {"path": path}) for n, path in enumerate(paths)])
    (found,) = made.search([Query(rows[0], 30, Filters.parse([written]))])
    assert {one.payload["path"] for one in found} == set(paths[:2])  # each as the file system has it
    (found,) = made.search([Query(rows[0], 30, Filters.parse([f"path={paths[1]}"]))])
    assert len(found) == 2


def test_filters_are_all_met(thirty):
    (found,) = thirty.search(
        [Query(vectors(1)[0], 30, Filters.parse(["duration<9", "kind=image", "video!=v0"]))]
    )
    assert {one.id for one in found} == {identity(3), identity(6)}


def test_a_number_that_is_left_out(thirty):
    (found,) = thirty.search([Query(vectors(1)[0], 30, Filters((Condition("duration", "!=", 7.0),)))])
    assert {one.id for one in found} == {identity(n) for n in range(30) if n != 7}


def test_filters_of_one_batch_do_not_mix(thirty):
    query = vectors(1)[0]
    wanted = [Filters.parse([f"video=v{n}"]) for n in range(5)]
    found = thirty.search([Query(query, 3, one) for one in wanted])
    assert [[one.payload["video"] for one in hits] for hits in found] == [[f"v{n}"] for n in range(5)]
