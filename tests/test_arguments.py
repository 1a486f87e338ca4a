"""Python callers who pass a value of another type get one clear line, before anything is read or written."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import mlcmr
from mlcmr.arguments import check_arguments
from mlcmr.data import features, open_collection, open_features, read_captions
from mlcmr.errors import InvalidValueError
from mlcmr.extraction import load_encoder, read_videos
from mlcmr.model import import_checkpoint, read_legacy_checkpoint
from mlcmr.search.http import serve

MODELS = (mlcmr.MLCMR, mlcmr.TwoTower)
LISTS = ("texts", "paths", "folders", "runs")
ENCODING = ("encode_texts", "encode_files", "from_pretrained")
FUNCTIONS = [
    *filter(inspect.isfunction, (getattr(mlcmr, name) for name in mlcmr.__all__)),
    *(features.arrays_to_features, features.features_to_arrays, features.join_features),
    *(features.select_videos, features.text_to_features, features.write_video2frames),
    *(open_collection, open_features, read_captions, load_encoder, read_videos),
    *(import_checkpoint, read_legacy_checkpoint, serve, mlcmr.Searcher),
    *(getattr(mlcmr.Searcher, name) for name in ("search", "search_many", "search_file", "similar")),
    *(getattr(mlcmr.Searcher, name) for name in ("captions", "captions_of_file", "segment", "video")),
    *(
        getattr(model, name)
        for model in MODELS
        for name in ("encode_texts", "encode_files", "from_pretrained")
    ),
]
CASES = [
    pytest.param(function, parameter, id=f"{function.__qualname__}, {parameter.name}")
    for function in FUNCTIONS
    for parameter in inspect.signature(function).parameters.values()
    if parameter.name != "self" and parameter.kind != parameter.VAR_KEYWORD
]


@pytest.mark.parametrize(("function", "parameter"), CASES)
def test_a_value_of_another_type(function, parameter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    others = {
        name: ["x"] if name in LISTS else 1 if name == "seeds" else "x"
        for name, other in inspect.signature(function).parameters.items()
        if other.default is other.empty and other.kind != other.VAR_KEYWORD
    }
    with pytest.raises(InvalidValueError, match=parameter.name) as error:
        function(**{**others, parameter.name: 1j})
    assert error.value.parameter == parameter.name
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@check_arguments
def echo(
    *,
    number: int | None = None,
    share: float | None = None,
    text: str | None = None,
    path: str | Path | None = None,
    numbers: Sequence[int] = (),
    names: str | Sequence[str] = (),
    weights: Mapping[str, float] | None = None,
    filters: mlcmr.Filters | None = None,
) -> list[object]:
    """Return the arguments."""
    return [value for value in locals().values() if value not in (None, ())]


@check_arguments
def receive(
    text: str = "",
    share: float = 1.0,
    numbers: Sequence[int] = (),
    weights: Mapping[str, float] | None = None,
    filters: mlcmr.Filters | None = None,
    texts: Iterable[str] = (),
    frames: Iterable[np.ndarray[Any, Any]] = (),
) -> dict[str, object]:
    """Return the arguments by name."""
    return locals()


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"number": np.int64(3)}, 3),
        ({"share": np.float32(0.5)}, 0.5),
        ({"share": 1}, 1),
        ({"text": Path("a/b")}, "a/b"),
        ({"path": Path("a/b")}, Path("a/b")),
        ({"numbers": [np.int64(1), 5]}, [1, 5]),
        ({"numbers": {1: "a"}}, {1: "a"}),
        ({"names": "en"}, "en"),
        ({"names": [Path("en")]}, [Path("en")]),
        ({"weights": {"a": np.float32(1)}}, {"a": 1}),
        ({"filters": mlcmr.Filters()}, mlcmr.Filters()),
    ],
)
def test_values_in_another_form(given, taken):
    (value,) = echo(**given)
    assert value == taken
    assert type(value) is type(taken)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("text", torch.device("cpu")),
        ("numbers", np.array([1, 5])),
        ("numbers", {1, 5}),
        ("numbers", iter([1, 5])),
        ("weights", MappingProxyType({"a": 1})),
        ("filters", MagicMock()),
        ("texts", Dataset()),
        ("share", Decimal("0.5")),
        ("frames", [[[0.5, 1]], [[2, 3.5]]]),
    ],
)
def test_objects_pass(parameter, value):
    assert receive(**{parameter: value})[parameter] is value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"number": "many"}, "number is 'many', but must be a whole number or null"),
        ({"number": np.float32(0.5)}, "number is 0.5, but must be a whole number or null"),
        ({"number": True}, "number is true, but must be a whole number or null"),
        ({"share": "half"}, "share is 'half', but must be a number or null"),
        ({"share": False}, "share is false, but must be a number or null"),
        ({"weights": [1]}, "weights is [1], but must be a mapping or null"),
        ({"numbers": 5}, "`numbers` must be a list: write [5]"),
        ({"numbers": [1, "x"]}, "numbers is [1, 'x'], but must be a list, each item a whole number"),
        ({"filters": "a<1"}, "filters is 'a<1', but must be Filters or null"),
    ],
)
def test_the_message(given, message):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        echo(**given)


def test_names_of_parameters_are_those_of_the_function():
    with pytest.raises(TypeError, match="unexpected keyword argument 'rates'"):
        mlcmr.extract("x", "x", rates=1)  # type: ignore[call-arg]
