"""The HTTP API of a searcher without a model, and a real index."""

import pytest

from tests.helpers.fake_searcher import plain_searcher
from tests.helpers.http_api import served
from tests.helpers.tiny import write_index


@pytest.fixture
def searcher(tmp_path):
    return plain_searcher(tmp_path / "films")


@pytest.fixture
def client(searcher):
    with served(searcher) as client:
        yield client


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    """An index of twenty films; not changed by tests."""
    return write_index(tmp_path_factory.mktemp("served"))
