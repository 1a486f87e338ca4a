"""A text where a list is expected is refused: `/srv/films` is no list of folders, `/` among them."""

import re
from pathlib import Path

import pytest

import mlcmr
from mlcmr.data.features import join_features
from mlcmr.errors import InvalidValueError
from mlcmr.evaluation.metrics import choose_metrics
from mlcmr.search import IndexRequest
from mlcmr.search.http import serve
from mlcmr.search.opened_index import OpenedIndex

CALLS = {
    "index, media_roots": lambda path: mlcmr.index(path, media_roots=path),
    "index, remove": lambda path: mlcmr.index(None, path, remove=path),
    "request, media_roots": lambda path: IndexRequest(source=path, media_roots=path),
    "searcher, media_roots": lambda path: mlcmr.Searcher(path, media_roots=path),
    "searcher, models": lambda path: mlcmr.Searcher(path, models=path),
    "opened index, media_roots": lambda path: OpenedIndex(path, media_roots=path),
    "serve, media_roots": lambda path: serve(path, media_roots=path),
    "serve, models": lambda path: serve(path, models=path),
    "translate, split": lambda path: mlcmr.translate(path, from_="en", to="zh", model=path, split=path),
    "join, folders": lambda path: join_features(path, path),
    "metrics, recall_at": choose_metrics,
}


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("call", CALLS)
def test_one_value_is_no_list(call, kind, tmp_path):
    parameter = call.split(", ")[1]
    with pytest.raises(InvalidValueError, match=rf"^`{parameter}` must be a list: write \['.*'\]$") as error:
        CALLS[call](kind("/srv/films"))
    assert error.value.parameter == parameter


@pytest.mark.parametrize(("value", "written"), [(5, "[5]"), (None, "[]")])
def test_one_number_and_none_are_no_list(value, written):
    with pytest.raises(InvalidValueError, match=rf"^`recall_at` must be a list: write {re.escape(written)}$"):
        choose_metrics(value)
