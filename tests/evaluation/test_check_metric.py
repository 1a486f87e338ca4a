"""The contract of metrics finds what breaks it."""

import numpy as np
import pytest

from mlcmr.metrics import Metric, Ranks, median_rank, recall_at
from mlcmr.testing import check_metric


def mean_precision_at_best(ranks: Ranks) -> dict[str, float]:
    return {"P@best": float(np.mean(1 / ranks.best))}


def precisions(ranks: Ranks) -> dict[str, np.ndarray]:
    return {"P@best": 1 / ranks.best}


def test_metrics_that_keep_the_contract():
    check_metric(Metric(mean_precision_at_best, per_query=precisions))
    check_metric(mean_precision_at_best)
    check_metric(recall_at)
    check_metric(lambda ranks: {"P@best": np.float32(np.mean(1 / ranks.best))})
    check_metric(Metric(median_rank, "g", higher_is_better=False))


def changing(ranks: Ranks) -> dict[str, float]:
    ranks.values[:] = np.sort(ranks.values)
    return {"x": 0.0}


def counting():
    calls = iter(range(1000))
    return lambda _: {"x": float(next(calls))}


@pytest.mark.parametrize(
    ("metric", "part"),
    [
        (lambda _: {}, "at least one value"),
        (lambda ranks: {f"x{len(ranks.relevant)}": 0.0}, "the same names"),
        (lambda _: {"x": float("inf")}, "finite number"),
        (lambda _: {1: 0.0}, "is a text"),
        (lambda _: 0.5, "a metric returns numbers by name, not float"),
        (lambda _: [("x", 0.5)], "a metric returns numbers by name, not list"),
        (lambda _: {"x": "high"}, "'x' is a finite number, not 'high'"),
        (lambda ranks: {"x": ranks.best}, "'x' is a finite number, not array"),
        (counting(), "the same ranks give the same values"),
        (changing, "does not change the ranks"),
        (lambda ranks: {"x": float(ranks.best[0])}, "order of the queries"),
        (median_rank, "as `higher_is_better` says"),
        (Metric(mean_precision_at_best, chance=lambda *_: {"other": 1.0}), "names of the metric"),
        (Metric(mean_precision_at_best, chance=lambda *_: {"P@best": float("nan")}), "finite number"),
        (
            Metric(mean_precision_at_best, chance=lambda *_: 0.5),
            "`chance` returns numbers by name",
        ),
        (Metric(mean_precision_at_best, per_query=lambda ranks: {"x": ranks.best}), "names of the metric"),
        (Metric(mean_precision_at_best, per_query=lambda _: {"P@best": [1.0]}), "a value of 'P@best' per"),
        (Metric(mean_precision_at_best, per_query=precisions, average="median"), "is the median of its"),
        (Metric(mean_precision_at_best, per_query=precisions, average="mode"), "mean or median, not 'mode'"),
    ],
)
def test_metrics_that_break_the_contract(metric, part):
    with pytest.raises(AssertionError, match=part):
        check_metric(metric)
