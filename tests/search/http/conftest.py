"""The HTTP API of a searcher without a model."""

import pytest

from tests.helpers.fake_searcher import plain_searcher
from tests.helpers.http_api import served


@pytest.fixture
def searcher(tmp_path):
    return plain_searcher(tmp_path / "films")


@pytest.fixture
def client(searcher):
    with served(searcher) as client:
        yield client
