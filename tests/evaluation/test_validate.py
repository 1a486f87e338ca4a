"""The validation score: any metric, added over both directions."""

import math

import numpy as np
import pytest

from mlcmr.errors import InvalidValueError, MissingDependencyError
from mlcmr.evaluation.metrics import compute_metrics
from mlcmr.evaluation.ranks import compute_ranks
from mlcmr.evaluation.validate import select_score
from mlcmr.metrics import Metric, Ranks

SCORES, OWNERS = np.random.default_rng(0).normal(size=(12, 4)), [0, 1, 2, 3] * 3


def reciprocal_rank(ranks: Ranks) -> dict[str, float]:
    return {"MRR": float(np.mean(1 / ranks.best))}


class Worst:
    higher_is_better = False

    def __call__(self, ranks: Ranks) -> dict[str, float]:
        return {"worst": float(ranks.best.max())}


negated = Metric(lambda ranks: {"-MRR": -float(np.mean(1 / ranks.best))}, higher_is_better=False)


def two_values(ranks: Ranks) -> dict[str, float]:
    return {"a": 1.0, "b": 2.0}


def infinite(ranks: Ranks) -> dict[str, float]:
    return {"a": math.inf}


def failing(ranks: Ranks) -> dict[str, float]:
    raise ZeroDivisionError("no ranks")


@pytest.mark.parametrize("name", ["recall", "SumR"])
def test_the_sum_of_recalls_is_that_of_the_table(name):
    ranks = compute_ranks(SCORES, OWNERS)
    assert select_score(name)(ranks) == compute_metrics(SCORES, OWNERS).sum_recalls


def test_a_metric_of_another_package():
    ranks = compute_ranks(SCORES, OWNERS)
    expected = float(np.mean(1 / ranks.t2v.best)) + float(np.mean(1 / ranks.v2t.best))
    assert select_score(f"{__name__}:reciprocal_rank")(ranks) == expected
    assert select_score(f"{__name__}:negated")(ranks) == expected
    worst = -float(ranks.t2v.best.max() + ranks.v2t.best.max())
    assert select_score(f"{__name__}:Worst")(ranks) == worst
    assert [select_score(metric)(ranks) for metric in (negated, Worst, Worst())] == [expected, worst, worst]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("recal", InvalidValueError, "must be recall, .* or package.module:Name; did you mean recall"),
        ("R@0", InvalidValueError, "`validation_metric` is 'R@0'"),
        ("no.such.package:metric", MissingDependencyError, "`validation_metric` is .*cannot be imported"),
        (f"{__name__}:SCORES", InvalidValueError, "`validation_metric`: .* is not a function of ranks"),
        (f"{__name__}:two_values", InvalidValueError, "`validation_metric` .*must return one finite number"),
        (f"{__name__}:infinite", InvalidValueError, "`validation_metric` .*must return one finite number"),
        (
            f"{__name__}:failing",
            InvalidValueError,
            "`validation_metric` .*cannot be used: it raised ZeroDivisionError: no ranks",
        ),
    ],
)
def test_a_metric_that_cannot_choose(name, error, message):
    with pytest.raises(error, match=message) as caught:
        select_score(name)
    assert caught.value.parameter == "validation_metric"


@pytest.mark.parametrize("metric", [SCORES, two_values, Metric(infinite), failing])
def test_a_metric_object_that_cannot_choose(metric):
    with pytest.raises(InvalidValueError, match="`validation_metric`") as caught:
        select_score(metric)
    assert caught.value.parameter == "validation_metric"
