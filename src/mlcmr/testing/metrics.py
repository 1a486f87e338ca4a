"""The contract of a metric."""

import math
from collections.abc import Mapping
from numbers import Real

import numpy as np

from mlcmr.evaluation.metrics import Metric, MetricFunction, as_metric
from mlcmr.evaluation.ranks import Integers, Ranks

_CANDIDATES = 30


def check_metric(metric: MetricFunction | type[MetricFunction]) -> None:
    """Check that a metric can be printed, stored and compared.

    Args:
        metric: The metric: a function of ranks, an object with `__call__`, or a class without parameters.

    Raises:
        AssertionError: If a property of a metric does not hold.
        InvalidValueError: If the metric cannot be called, or if its format is not a format of numbers.
    """
    checked = as_metric(metric)
    relevant = np.random.default_rng(0).integers(0, 4, 20)
    values = _values(checked, _draw(relevant))
    assert values, "a metric returns at least one value"
    cases: list[list[list[int]]] = [
        [[1]], [[_CANDIDATES]], [[]], [[1, 2, 3], []], [list(range(1, _CANDIDATES + 1))]
    ]  # fmt: skip
    for case in cases:
        names = list(_values(checked, Ranks.from_lists(case, _CANDIDATES)))
        assert names == list(values), f"a metric returns the same names for any ranks, here {case}"
    _check_function_of_the_ranks(checked, relevant, values)
    _check_direction(checked)
    if checked.per_query:
        _check_values_per_query(checked, _draw(relevant), values)
    if checked.chance:
        expected = _numbers(checked.chance(relevant, _CANDIDATES), "`chance`")
        assert list(expected) == list(values), "`chance` returns the names of the metric"


def _check_function_of_the_ranks(metric: Metric, relevant: Integers, values: dict[str, float]) -> None:
    ranks, unchanged = _draw(relevant), _draw(relevant)
    assert _values(metric, ranks) == values, "the same ranks give the same values"
    assert np.array_equal(ranks.values, unchanged.values), "a metric does not change the ranks"
    assert np.array_equal(ranks.relevant, unchanged.relevant), "a metric does not change the ranks"
    lists = [ranks.values[ranks.queries == query].tolist() for query in range(len(ranks.relevant))]
    for name, value in _values(metric, Ranks.from_lists(lists[::-1], _CANDIDATES)).items():
        assert math.isclose(value, values[name], rel_tol=1e-9, abs_tol=1e-9), (
            f"{name!r} does not depend on the order of the queries"
        )


def _check_values_per_query(metric: Metric, ranks: Ranks, values: dict[str, float]) -> None:
    assert metric.average in ("mean", "median"), f"`average` is mean or median, not {metric.average!r}"
    average = np.mean if metric.average == "mean" else np.median
    per_query = metric.per_query(ranks) if metric.per_query else {}
    assert list(per_query) == list(values), "`per_query` returns the names of the metric"
    for name, each in per_query.items():
        assert np.shape(each) == (len(ranks.relevant),), f"`per_query` returns a value of {name!r} per query"
        assert math.isclose(average(each), values[name], rel_tol=1e-9, abs_tol=1e-9), (
            f"{name!r} is the {metric.average} of its values per query"
        )


def _check_direction(metric: Metric) -> None:
    best = _values(metric, Ranks.from_lists([[1, 2]] * 5, _CANDIDATES))
    worst = _values(metric, Ranks.from_lists([[_CANDIDATES - 1, _CANDIDATES]] * 5, _CANDIDATES))
    for name, value in best.items():
        better = value >= worst[name] if metric.higher_is_better else value <= worst[name]
        assert better, f"{name!r} is better for perfect ranks, as `higher_is_better` says"


def _values(metric: Metric, ranks: Ranks) -> dict[str, float]:
    values = _numbers(metric(ranks), "a metric")
    for name, value in values.items():
        assert format(float(value), metric.format), f"the format of {name!r} prints something"
    return values


def _numbers(values: object, what: str) -> dict[str, float]:
    """Return the finite numbers by name that a function of the metric returned."""
    assert isinstance(values, Mapping), f"{what} returns numbers by name, not {type(values).__name__}"
    for name, value in values.items():
        assert isinstance(name, str), f"the name {name!r} is a text"
        finite = isinstance(value, Real) and math.isfinite(value)
        assert finite, f"{name!r} is a finite number, not {value!r:.80}"
    return dict(values)


def _draw(relevant: Integers) -> Ranks:
    """Draw ranks for queries with the given numbers of relevant candidates."""
    draw = np.random.default_rng(0)
    lists = [1 + draw.choice(_CANDIDATES, count, replace=False) for count in relevant]
    return Ranks.from_lists([ranks.tolist() for ranks in lists], _CANDIDATES)
