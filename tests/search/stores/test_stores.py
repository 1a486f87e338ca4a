"""The contract of vector stores, in a folder and on a server."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mlcmr
from mlcmr.errors import InvalidValueError
from mlcmr.search.stores.base import EF, ScoredPoint, VectorQuery, ordered
from mlcmr.search.stores.qdrant_edge import EdgeStore
from mlcmr.search.stores.qdrant_server import ServerStore
from mlcmr.search.stores.registry import store_class
from mlcmr.testing import check_vector_store
from tests.helpers.indexes import SIZE, identity
from tests.helpers.qdrant_server import shared_server


def test_qdrant_edge_is_a_vector_store():
    check_vector_store(EdgeStore.open)


def test_a_qdrant_server_is_a_vector_store():
    check_vector_store(lambda config: ServerStore.open(replace(config, folder=None, url=shared_server().url)))


def test_a_store_that_forgets_is_found():
    class Forgetful(EdgeStore):
        def delete(self, ids):
            """Do nothing."""

    with pytest.raises(AssertionError, match="`delete` removes them"):
        check_vector_store(Forgetful.open)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "`search` returns a list"),
        ([], "`search` returns the hits of each query"),
        ([None] * 7, "the hits of a query are a list"),
        ([["v0"]] * 7, "a hit is a `ScoredPoint`"),
    ],
)
def test_a_store_that_returns_something_else_is_found(found, message):
    class Strange(EdgeStore):
        def search(self, queries):
            return found

    with pytest.raises(AssertionError, match=message):
        check_vector_store(Strange.open)


def test_something_else_than_a_store_is_found():
    with pytest.raises(AssertionError, match="a store has the method `upsert`"):
        check_vector_store(lambda _: None)


def test_an_index_in_a_store_of_another_package(place, trained, indexed, monkeypatch):
    """The store of the documentation finds what Qdrant Edge finds."""
    page = Path(__file__).parents[3] / "docs/extending/vector-store.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (place / "json_store.py").write_text(block.partition("check_vector_store(")[0])
    monkeypatch.syspath_prepend(str(place))
    name = "json_store:JsonStore"
    mlcmr.index(place / "tiny", place / "index", run=trained, store=name, device="cpu")
    searcher = mlcmr.Searcher(place / "index", store=name, device="cpu")
    expected = mlcmr.Searcher(indexed, device="cpu").search("A dog runs.", k=5)
    assert [hit.video for hit in searcher.search("A dog runs.", k=5)] == [hit.video for hit in expected]
    summary = mlcmr.index(None, place / "index", remove=["dog_runs-1"])
    assert summary.segments == 35
    with pytest.raises(InvalidValueError, match="the vectors of this index are in the folder itself"):
        mlcmr.index(place / "tiny", place / "index", store="qdrant-edge", device="cpu")


def test_code_that_only_an_index_names_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "hostile.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidValueError, match="runs only if you name it too"):
        store_class("hostile:Store", source=tmp_path / "index.json")
    with pytest.raises(InvalidValueError, match="not the class of a vector store"):
        store_class("json:dumps", source=None)


def test_an_engine_that_finds_more_when_asked_for_more_does_not_change_the_first_hits():
    """As a graph does: each breadth of the search misses points of its own."""
    scores = np.round(np.random.default_rng(1).normal(size=3000), 2)
    most_asked = []

    def fetch(queries):
        most_asked.append(max(query.limit for query in queries))
        answers = []
        for query in queries:
            breadth = max(EF, query.limit)
            seen = np.random.default_rng(breadth).random(len(scores)) < 0.8
            near = sorted((n for n in range(len(scores)) if seen[n]), key=lambda n: -scores[n])
            points = [ScoredPoint(identity(n), float(scores[n]), {"video": f"{n:04}"}) for n in near]
            answers.append(points[: query.limit])
        return answers

    vector = np.zeros(SIZE, np.float32)
    (whole,) = ordered(fetch, [VectorQuery(vector, 1000)], exact=False)
    assert max(most_asked) <= 4 * 1000
    assert [one.score for one in whole] == sorted((one.score for one in whole), reverse=True)
    assert len({one.id for one in whole}) == 1000
    for k in (1, 5, 100, 126, 127, 128, 129, 200, 510, 512, 513, 600, 999):
        (found,) = ordered(fetch, [VectorQuery(vector, k)], exact=False)
        assert [one.id for one in found] == [one.id for one in whole[:k]]
    (found,) = ordered(fetch, [VectorQuery(vector, 10**30)], exact=False)
    assert [one.id for one in found[:1000]] == [one.id for one in whole]
