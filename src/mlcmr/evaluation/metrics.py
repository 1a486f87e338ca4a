"""Metrics, computed from ranks, for each direction.

A metric is a function of the `Ranks` of one direction; it returns values by their printed names. The built-in
metrics are functions, too: `recall_at(ranks.t2v, 1, 5, 10)`. `Metric` adds what a table needs to know.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcmr.errors import InvalidValueError, require_list
from mlcmr.evaluation import chance
from mlcmr.evaluation.ranks import Integers, Ranks, RetrievalRanks, check_owners, compute_ranks
from mlcmr.evaluation.scores import Scores
from mlcmr.registry import resolve

Values: TypeAlias = NDArray[np.float64]

PRINTED_RECALLS = (1, 5, 10)
"""The cutoffs of the published tables, which SumR adds up."""
_AT = re.compile(r"(R|nDCG)@([1-9][0-9]{0,8})")


class MetricFunction(Protocol):
    """A metric: a function of the ranks of one direction.

    A metric may have the attributes of `Metric`: `format`, `higher_is_better` and so on.
    """

    def __call__(self, ranks: Ranks, /) -> Mapping[str, float]:
        """Return values by their printed names, such as `{"MRR": 0.42}`: the same names for any ranks."""
        ...


def recall_at(ranks: Ranks, *cutoffs: int) -> dict[str, float]:
    """Compute R@K: the percentage of queries with a relevant candidate among the first K.

    Example:
        >>> recall_at(Ranks.from_lists([[1], [3], [7]], candidates=10), 1, 5, 10)
        {'R@1': 33.333333333333336, 'R@5': 66.66666666666667, 'R@10': 100.0}

    Args:
        ranks: The ranks of one direction.
        *cutoffs: The values of K; 1, 5 and 10 by default.
    """
    return _means(_recalls(ranks, cutoffs or PRINTED_RECALLS))


def _recalls(ranks: Ranks, cutoffs: Sequence[int]) -> dict[str, Values]:
    return {f"R@{k}": np.where(ranks.best <= min(k, ranks.candidates), 100.0, 0.0) for k in cutoffs}


def median_rank(ranks: Ranks) -> dict[str, float]:
    """Compute MedR: the median of the best rank of each query; x.5 is between two ranks."""
    return {"MedR": float(np.median(ranks.best))}


def mean_rank(ranks: Ranks) -> dict[str, float]:
    """Compute MnR: the mean of the best rank of each query."""
    return {"MnR": float(ranks.best.mean())}


def _best_ranks(name: str, ranks: Ranks) -> dict[str, Values]:
    return {name: ranks.best.astype(np.float64)}


def mean_average_precision(ranks: Ranks) -> dict[str, float]:
    """Compute mAP: the mean over queries of the average precision, in percent.

    The average precision of a query is the mean precision at the ranks of its relevant candidates. A query
    without relevant candidates has 0.
    """
    return _means(_average_precisions(ranks))


def _average_precisions(ranks: Ranks) -> dict[str, Values]:
    sums = ranks.sum_per_query(ranks.nth / ranks.values)
    return {"mAP": 100 * sums / np.maximum(ranks.relevant, 1)}


def ndcg(ranks: Ranks, cutoff: int | None = None) -> dict[str, float]:
    """Compute nDCG: the mean over queries of DCG / ideal DCG, in percent.

    Relevance is binary. DCG adds 1 / log2(1 + rank) over the relevant candidates of a query. The ideal DCG is
    that of a ranking with all relevant candidates first. A query without relevant candidates has 0.

    Args:
        ranks: The ranks of one direction.
        cutoff: Count the first `cutoff` candidates only; all candidates by default.
    """
    return _means(_dcg_ratios(ranks, cutoff))


def _dcg_ratios(ranks: Ranks, cutoff: int | None) -> dict[str, Values]:
    last = ranks.candidates if cutoff is None else min(cutoff, ranks.candidates)
    gains = np.where(ranks.values <= last, chance.gain(ranks.values), 0)
    ratios = ranks.sum_per_query(gains) / chance.ideal_dcg(ranks.relevant, last)
    return {"nDCG" if cutoff is None else f"nDCG@{cutoff}": 100 * ratios}


def _means(values: Mapping[str, Values]) -> dict[str, float]:
    return {name: float(of_queries.mean()) for name, of_queries in values.items()}


def sum_of_recalls(ranks: RetrievalRanks) -> dict[str, float]:
    """Compute SumR: R@1, R@5 and R@10 of both directions added up; 600 is perfect."""
    return {"SumR": sum(sum(recall_at(direction).values()) for direction in (ranks.t2v, ranks.v2t))}


@dataclass(frozen=True)
class Metric:
    """A metric, with what a table needs to know about it.

    Attributes:
        compute: The function of the ranks of one direction.
        format: The format of a printed value, such as `.1f`.
        higher_is_better: Whether a higher value is better.
        chance: A function of (number of relevant candidates of each query, number of candidates) that returns
            the values to expect of random scores. Without it, the `chance` row has no value of the metric.
        per_query: A function of the ranks that returns a value of each query, (Q,), by the names of the
            metric, which is their average. With it, intervals are computed in one step; without it, by a call
            of `compute` for each resample.
        average: The average of the values of `per_query`: their mean or their median.
    """

    compute: Callable[[Ranks], Mapping[str, float]]
    format: str = ".1f"
    higher_is_better: bool = True
    chance: Callable[[Integers, int], Mapping[str, float]] | None = None
    per_query: Callable[[Ranks], Mapping[str, Values]] | None = None
    average: Literal["mean", "median"] = "mean"

    def __call__(self, ranks: Ranks, /) -> Mapping[str, float]:
        """Compute the values by name."""
        return self.compute(ranks)


def recall_metric(cutoffs: Sequence[int]) -> Metric:
    """Return the metric R@K for some values of K.

    Raises:
        InvalidValueError: If `cutoffs` is empty, or if a K is not a whole number from 1.
    """
    if not cutoffs or not all(isinstance(cutoff, int) and cutoff >= 1 for cutoff in cutoffs):
        raise InvalidValueError(
            f"`recall_at` is {list(cutoffs)}, but must be whole numbers from 1", parameter="recall_at"
        )
    return Metric(
        lambda ranks: recall_at(ranks, *cutoffs),
        chance=lambda relevant, candidates: chance.recall_at(relevant, candidates, cutoffs),
        per_query=lambda ranks: _recalls(ranks, cutoffs),
    )


@cache
def ndcg_metric(cutoff: int | None = None) -> Metric:
    """Return the metric nDCG or nDCG@K."""
    return Metric(
        lambda ranks: ndcg(ranks, cutoff),
        ".2f",
        chance=lambda relevant, candidates: chance.ndcg(relevant, candidates, cutoff),
        per_query=lambda ranks: _dcg_ratios(ranks, cutoff),
    )


BUILT_IN: Mapping[str, Metric] = {
    "MedR": Metric(
        median_rank,
        "g",
        higher_is_better=False,
        chance=chance.median_rank,
        per_query=partial(_best_ranks, "MedR"),
        average="median",
    ),
    "MnR": Metric(
        mean_rank,
        higher_is_better=False,
        chance=chance.mean_rank,
        per_query=partial(_best_ranks, "MnR"),
    ),
    "mAP": Metric(
        mean_average_precision,
        ".2f",
        chance=chance.mean_average_precision,
        per_query=_average_precisions,
    ),
    "nDCG": ndcg_metric(),
}
"""The built-in metrics by name, besides R@K and nDCG@K."""
PUBLISHED_METRICS = (recall_metric(PRINTED_RECALLS), BUILT_IN["MedR"], BUILT_IN["MnR"], BUILT_IN["mAP"])
"""The metrics of the default table."""


def as_metric(metric: object, parameter: str = "metrics") -> Metric:
    """Return a metric with its format, direction and chance; a class is called without arguments.

    Args:
        metric: The metric.
        parameter: The parameter or setting that holds the metric, for messages.

    Raises:
        InvalidValueError: If the metric cannot be called, or if its format is not a format of numbers.
    """
    instance = metric() if isinstance(metric, type) else metric
    if not callable(instance):
        raise InvalidValueError(f"`{parameter}`: {metric!r} is not a function of ranks", parameter=parameter)
    further = [one.name for one in fields(Metric) if one.name != "compute"]
    known = (
        instance
        if isinstance(instance, Metric)
        else Metric(
            instance, **{name: getattr(instance, name) for name in further if hasattr(instance, name)}
        )
    )
    try:
        format(0.0, known.format)
    except (ValueError, TypeError) as error:
        raise InvalidValueError(
            f"`{parameter}`: {metric!r} has the format {known.format!r}, not a format of numbers like '.1f'",
            parameter=parameter,
        ) from error
    return known


def choose_metrics(
    recall_at: Sequence[int] = PRINTED_RECALLS, metrics: str | Sequence[str | MetricFunction] = ()
) -> tuple[Metric, ...]:
    """Return R@K, MedR, MnR, mAP and further metrics, each once.

    Args:
        recall_at: The values of K of R@K.
        metrics: Further metrics: functions, or names as `find_metric` takes them.

    Raises:
        InvalidValueError: If a metric or a K cannot be used, or if two metrics have the same name.
    """
    require_list(recall_at, "recall_at")
    named = [metrics] if isinstance(metrics, str) else metrics
    further = [find_metric(metric) if isinstance(metric, str) else as_metric(metric) for metric in named]
    chosen = tuple(dict.fromkeys((recall_metric(recall_at), *PUBLISHED_METRICS[1:], *further)))
    # A metric that cannot be used fails here, not after a model has embedded a split.
    metrics_of_direction(Ranks.from_lists([[1], [2, 3], []], candidates=4), chosen, {})
    return chosen


def find_metric(
    name: str, built_in: Mapping[str, Metric] = BUILT_IN, *, parameter: str = "metrics"
) -> Metric:
    """Return a metric by name.

    Args:
        name: `R@K` or `nDCG@K` with any K, a built-in name, or `package.module:Name`.
        built_in: The built-in metrics by name.
        parameter: The parameter or setting that holds the name, for messages.

    Raises:
        InvalidValueError: If the name is unknown or cannot be imported, or does not stand for a metric.
        MissingDependencyError: If the module is not installed.
    """
    if at := _AT.fullmatch(name):
        cutoff = int(at[2])
        return ndcg_metric(cutoff) if at[1] == "nDCG" else recall_metric([cutoff])
    return as_metric(resolve(name, built_in, parameter=parameter, source=None), parameter)


@dataclass(frozen=True)
class RetrievalMetrics:
    """The metrics of both directions.

    Attributes:
        t2v: The metrics of text-to-video by printed name, in the order of the table.
        v2t: The metrics of video-to-text.
        sum_recalls: SumR: R@1, R@5 and R@10 of both directions added up.
        metric_of: The metric that each name belongs to.
    """

    t2v: Mapping[str, float]
    v2t: Mapping[str, float]
    sum_recalls: float
    metric_of: Mapping[str, Metric] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self, names: Sequence[str] = ()) -> dict[str, Any]:
        """Return the metrics as JSON holds them, with `SumR` beside `t2v` and `v2t`.

        Args:
            names: Names that each direction must have; a metric that is not known is None.
        """
        unknown = dict.fromkeys(names)
        return {"t2v": {**unknown, **self.t2v}, "v2t": {**unknown, **self.v2t}, "SumR": self.sum_recalls}


def combine_metrics(
    each: Sequence[RetrievalMetrics], combined: Callable[[Sequence[float]], float]
) -> RetrievalMetrics:
    """Return a number of the values of each metric, such as their mean.

    Args:
        each: The metrics, with the same names.
        combined: Returns the number of the values of one metric.
    """
    first = each[0]
    return RetrievalMetrics(
        {name: combined([one.t2v[name] for one in each]) for name in first.t2v},
        {name: combined([one.v2t[name] for one in each]) for name in first.v2t},
        combined([one.sum_recalls for one in each]),
        first.metric_of,
    )


def mean_metrics(each: Sequence[RetrievalMetrics]) -> RetrievalMetrics:
    """Return the mean of each metric."""
    return combine_metrics(each, lambda values: float(np.mean(values)))


def compute_metrics(
    scores: Scores | NDArray[Any],
    video_of_caption: ArrayLike,
    metrics: Sequence[Metric] = PUBLISHED_METRICS,
) -> RetrievalMetrics:
    """Compute the metrics of both directions from scores; see `compute_ranks`."""
    return metrics_of_ranks(compute_ranks(scores, video_of_caption), metrics)


def metrics_of_ranks(
    ranks: RetrievalRanks, metrics: Sequence[Metric] = PUBLISHED_METRICS
) -> RetrievalMetrics:
    """Compute the metrics of both directions from ranks.

    Raises:
        InvalidValueError: If a metric does not return finite numbers by name, or if two metrics use one name.
    """
    metric_of: dict[str, Metric] = {}
    t2v, v2t = (metrics_of_direction(direction, metrics, metric_of) for direction in (ranks.t2v, ranks.v2t))
    return RetrievalMetrics(t2v, v2t, sum_of_recalls(ranks)["SumR"], metric_of)


def metrics_of_direction(
    ranks: Ranks, metrics: Sequence[Metric], metric_of: dict[str, Metric]
) -> dict[str, float]:
    """Compute the metrics of one direction; note in `metric_of` which metric each name belongs to.

    Raises:
        InvalidValueError: If a metric does not return finite numbers by name, or if two metrics use one name.
    """
    values: dict[str, float] = {}
    for metric in metrics:
        for name, value in metric(ranks).items():
            number = float(value)
            if not math.isfinite(number):
                raise InvalidValueError(
                    f"`metrics`: {name} is {number}, not a finite number", parameter="metrics"
                )
            if metric_of.setdefault(name, metric) is not metric:
                raise InvalidValueError(f"`metrics`: two metrics have the name {name}", parameter="metrics")
            values[name] = number
    return values


def chance_metrics(
    video_of_caption: ArrayLike, videos: int, metrics: Sequence[Metric] = PUBLISHED_METRICS
) -> RetrievalMetrics:
    """Compute the metrics to expect of random scores, where every order of the candidates is equally likely.

    All values but MedR are expected values. MedR is the median of the distribution of the ranks of all
    queries. A metric without `chance` has no value.

    Args:
        video_of_caption: (N,) Integers, the number of each caption's video.
        videos: The number of videos M.
        metrics: The metrics.

    Raises:
        InvalidValueError: If captions or videos are missing, or if a caption has no video.
    """
    captions = len(np.asarray(video_of_caption))
    owners = check_owners(video_of_caption, (captions, videos))
    return chance_of(
        (np.ones(captions, np.int64), videos), (np.bincount(owners, minlength=videos), captions), metrics
    )


def chance_of(
    t2v: tuple[Integers, int], v2t: tuple[Integers, int], metrics: Sequence[Metric] = PUBLISHED_METRICS
) -> RetrievalMetrics:
    """Compute the metrics to expect of random scores; see `chance_metrics`.

    Args:
        t2v: The number of relevant candidates of each query, and the number of candidates.
        v2t: The same for the second direction.
        metrics: The metrics.
    """

    def values(relevant: Integers, candidates: int) -> dict[str, float]:
        known = [metric.chance(relevant, candidates) for metric in metrics if metric.chance]
        return {name: float(value) for part in known for name, value in part.items()}

    recalls = (chance.recall_at(*direction, PRINTED_RECALLS).values() for direction in (t2v, v2t))
    return RetrievalMetrics(values(*t2v), values(*v2t), sum(sum(recall) for recall in recalls))
