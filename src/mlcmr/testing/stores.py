"""The contract of a vector store."""

import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlcmr.search.filters import Condition, Filters
from mlcmr.search.stores.base import Point, ScoredPoint, StoreConfig, Vector, VectorQuery, VectorStore

SIZE = 16
_METHODS = ("upsert", "delete", "search", "get", "scan", "count", "publish", "close")
_FIELDS = {"video": "keyword", "kind": "keyword", "path": "keyword", "duration": "float"}


def check_vector_store(open_store: Callable[[StoreConfig], VectorStore]) -> None:
    """Check that a vector store stores, replaces, removes, finds and filters points as an index needs it.

    Args:
        open_store: Opens an empty store for writing, usually the `open` of its class. A store on a server may
            replace the `url` of the configuration.

    Raises:
        AssertionError: If a property of a vector store does not hold.
    """
    for check in (
        _check_nearest,
        _check_limits,
        _check_changes,
        _check_filters,
        _check_accents,
        _check_batches,
        _check_ties,
        _check_publish,
    ):
        with tempfile.TemporaryDirectory(prefix="mlcmr-store-") as folder:
            config = StoreConfig(
                name=f"store-{uuid.uuid4()}",
                size=SIZE,
                fields=_FIELDS,  # type: ignore[arg-type]
                index="check",
                folder=Path(folder) / "store",
                writing=True,
            )
            check(open_store, config)


_Open = Callable[[StoreConfig], VectorStore]


def _check_nearest(open_store: _Open, config: StoreConfig) -> None:
    store = open_store(config)
    for method in _METHODS:
        assert callable(getattr(store, method, None)), f"a store has the method `{method}`"
    rows, queries = _vectors(200), _vectors(7, seed=1)
    store.upsert(_points(rows))
    assert store.count() == 200, "`count` is the number of points"
    assert store.exact, "a small store compares all vectors"
    asked = [VectorQuery(query, limit) for limit, query in enumerate(queries, 1)]
    found = store.search(asked)
    assert isinstance(found, list), "`search` returns a list"
    assert len(found) == len(asked), "`search` returns the hits of each query"
    for hits in found:
        assert isinstance(hits, list), "the hits of a query are a list"
        assert all(isinstance(hit, ScoredPoint) for hit in hits), "a hit is a `ScoredPoint`"
    for query, hits in zip(asked, found, strict=True):
        scores = rows @ query.vector
        nearest = [_id(number) for number in np.argsort(-scores)[: query.limit]]
        assert [hit.id for hit in hits] == nearest, "`search` returns the nearest points, the best first"
        wanted = np.sort(scores)[::-1][: query.limit]
        assert np.allclose([hit.score for hit in hits], wanted, atol=1e-5), "a score is the cosine"
        assert all(hit.payload["video"].startswith("v") for hit in hits), "a hit has the payload of its point"
    (plain,), (scaled,) = store.search([VectorQuery(queries[0], 1), VectorQuery(2 * queries[0], 1)])
    assert np.isclose(plain.score, scaled.score, atol=1e-5), "a score does not depend on the query's length"
    store.upsert([Point(_id(0), 3 * rows[0], {})])
    (point,) = store.get([_id(0)])
    assert isinstance(point, Point), "`get` returns a `Point`"
    assert np.allclose(point.vector, rows[0], atol=1e-5), "`get` returns normalised vectors"
    store.close()


def _check_limits(open_store: _Open, config: StoreConfig) -> None:
    store = open_store(config)
    query = _vectors(1)[0]
    limits = (21, 2**31, 2**63, 2**64, 10**30)
    for limit in limits:
        assert store.search([VectorQuery(query, limit)]) == [[]], f"an empty store takes a limit of {limit}"
    assert store.search([]) == [], "`search` takes no queries"
    store.upsert(_points(_vectors(20)))
    for limit in limits:
        (hits,) = store.search([VectorQuery(query, limit)])
        assert len(hits) == 20, f"a limit of {limit} returns all points"
    store.close()


def _check_changes(open_store: _Open, config: StoreConfig) -> None:
    store = open_store(config)
    rows = _vectors(20)
    store.upsert(_points(rows))
    store.upsert([Point(_id(3), -rows[3], {"video": "other"})])
    store.delete([_id(4), _id(400)])
    store.delete([])
    store.upsert([])
    assert store.count() == 19, "`upsert` replaces points, `delete` removes them and ignores missing ids"
    assert {point.id for point in store.get([_id(3), _id(4)])} == {_id(3)}, "`get` ignores missing ids"
    (point,) = store.get([_id(3)])
    assert np.allclose(point.vector, -rows[3], atol=1e-6), "a replaced point has the new vector"
    assert point.payload == {"video": "other"}, "a replaced point has the new payload only"
    (hits,) = store.search([VectorQuery(-rows[3], 1)])
    assert hits[0].payload == {"video": "other"}, "`search` finds the new point"
    scanned = dict(store.scan(["video"]))
    assert len(scanned) == 19, "`scan` yields each point once"
    assert scanned[_id(5)] == {"video": "v5"}, "`scan` yields the wanted fields"
    store.close()


def _check_filters(open_store: _Open, config: StoreConfig) -> None:
    store = open_store(config)
    store.upsert(_points(_vectors(30)))
    conditions: dict[str, Callable[[int], bool]] = {
        "duration<5": lambda n: n < 5,
        "duration<=5": lambda n: n <= 5,
        "duration>5": lambda n: n > 5,
        "duration>=5": lambda n: n >= 5,
        "duration=5": lambda n: n == 5,
        "kind=image": lambda n: n % 3 == 0,
        "kind!=image": lambda n: n % 3 != 0,
        "path~holiday/1": lambda n: n % 2 == 1 and str(n).startswith("1"),
        "path=/films/garden/4.mp4": lambda n: n == 4,
        "video=v7": lambda n: n == 7,
        "video!=v7": lambda n: n != 7,
        "path~\udcff": lambda _: False,
        "video!=\udcff": lambda _: True,
    }
    query = _vectors(1)[0]
    for condition, holds in conditions.items():
        (hits,) = store.search([VectorQuery(query, 30, Filters.parse([condition]))])
        wanted = {_id(number) for number in range(30) if holds(number)}
        assert {hit.id for hit in hits} == wanted, f"every hit, and no other point, meets {condition!r}"
    several = Filters.parse(["duration<9", "kind=image", "video!=v0"])
    (hits,) = store.search([VectorQuery(query, 30, several)])
    assert {hit.id for hit in hits} == {_id(3), _id(6)}, "a hit meets all conditions"
    (hits,) = store.search([VectorQuery(query, 30, Filters((Condition("duration", "!=", 7.0),)))])
    assert {hit.id for hit in hits} == {_id(n) for n in range(30) if n != 7}, "`!=` takes a number"
    store.close()


def _check_accents(open_store: _Open, config: StoreConfig) -> None:
    store = open_store(config)
    paths = ["/films/caf\u00e9/1.mp4", "/films/cafe\u0301/1.mp4", "/films/cafe/1.mp4"]
    rows = _vectors(len(paths))
    store.upsert([Point(_id(n), rows[n], {"path": path}) for n, path in enumerate(paths)])
    for condition in ("path~/caf\u00e9", "path~/cafe\u0301/", f"path={paths[1]}"):
        (hits,) = store.search([VectorQuery(rows[0], 30, Filters.parse([condition]))])
        found = {hit.payload["path"] for hit in hits}
        assert found == set(paths[:2]), "a text matches in each spelling of `Condition.texts`"
    store.close()


def _check_batches(open_store: _Open, config: StoreConfig) -> None:
    store = open_store(config)
    store.upsert(_points(_vectors(30)))
    filters = [Filters.parse([f"video=v{number}"]) for number in range(5)]
    found = store.search([VectorQuery(_vectors(1)[0], 3, each) for each in filters])
    videos = [[hit.payload["video"] for hit in hits] for hits in found]
    assert videos == [[f"v{number}"] for number in range(5)], "each query of a batch has its own filters"
    store.close()


def _check_ties(open_store: _Open, config: StoreConfig) -> None:
    """Check that equal scores are ordered alike for every limit."""
    store = open_store(config)
    rows = np.repeat(_vectors(6), [1, 7, 1, 20, 2, 9], axis=0)
    points = _points(rows)
    store.upsert([points[number] for number in np.random.default_rng(5).permutation(len(rows))])
    queries = _vectors(3, seed=2)
    everything = store.search([VectorQuery(query, len(rows)) for query in queries])
    for hits in everything:
        keys = [(-hit.score, hit.payload["video"]) for hit in hits]
        assert keys == sorted(keys), "equally near points are in the order of their videos"
    for limit in range(1, len(rows)):
        found = store.search([VectorQuery(query, limit) for query in queries])
        for hits, whole in zip(found, everything, strict=True):
            first = [hit.id for hit in whole[:limit]]
            assert [hit.id for hit in hits] == first, "a larger limit only appends hits; see `ordered`"
    store.close()


def _check_publish(open_store: _Open, config: StoreConfig) -> None:
    store = open_store(config)
    rows = _vectors(20)
    store.upsert(_points(rows))
    store.publish()
    again = open_store(config)
    assert again.count() == 20, "a published store can be opened again and holds all points"
    again.delete([_id(0)])
    assert again.count() == 19, "a published store can be opened for writing again"
    again.publish()


def _id(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def _vectors(count: int, seed: int = 0) -> Vector:
    drawn = np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32)
    normalised: Vector = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return normalised


def _points(rows: Vector) -> list[Point]:
    return [
        Point(
            _id(number),
            row,
            {
                "video": f"v{number}",
                "kind": "image" if number % 3 == 0 else "video",
                "path": f"/films/{'holiday' if number % 2 else 'garden'}/{number}.mp4",
                "duration": float(number),
            },
        )
        for number, row in enumerate(rows)
    ]
