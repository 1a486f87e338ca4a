"""Metrics of many resamples of an evaluation, computed from the ranks of the evaluation itself.

A resample counts how often it contains each video. A video brings its captions: captions of one video are
not independent, and both directions must see the same videos. Ranks stay those among all candidates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcmr.evaluation.metrics import (
    PRINTED_RECALLS,
    Metric,
    MetricFunction,
    Values,
    as_metric,
    metrics_of_direction,
    recall_metric,
)
from mlcmr.evaluation.ranks import Integers, Ranks, RetrievalRanks, check_owners

_BLOCK = 1 << 21
"""The most numbers in a block of counts, 16 MB: resamples are drawn and measured block by block."""
_GROUP = 32
"""The number of distinct ranks in a group, for medians."""


@dataclass(frozen=True)
class ResampledMetrics:
    """The metrics of B resamples.

    Attributes:
        t2v: The metrics of text-to-video by name, each (B,).
        v2t: The metrics of video-to-text by name, each (B,).
        sum_recalls: (B,) SumR.
    """

    t2v: Mapping[str, Values]
    v2t: Mapping[str, Values]
    sum_recalls: Values

    @classmethod
    def join(cls, parts: Sequence["ResampledMetrics"]) -> "ResampledMetrics":
        """Return the metrics of the resamples of all parts, in their order."""
        t2v, v2t = (
            {name: np.concatenate([part[name] for part in direction]) for name in direction[0]}
            for direction in ([part.t2v for part in parts], [part.v2t for part in parts])
        )
        return cls(t2v, v2t, np.concatenate([part.sum_recalls for part in parts]))


class Resampler:
    """Computes the metrics of resamples.

    Args:
        ranks: The ranks of both directions.
        video_of_caption: (N,) Integers, the number of each caption's video.
        metrics: The metrics, also as functions.
        video_of_query: The number of the video of each query of the second direction; by default, each video
            is a query.

    Raises:
        InvalidValueError: If the arrays do not fit together, or if two metrics use one name.
    """

    def __init__(
        self,
        ranks: RetrievalRanks,
        video_of_caption: ArrayLike,
        metrics: Sequence[MetricFunction],
        video_of_query: ArrayLike | None = None,
    ) -> None:
        known = [as_metric(metric) for metric in metrics]
        queries = np.arange(len(ranks.v2t.relevant)) if video_of_query is None else np.asarray(video_of_query)
        self.videos = int(queries.max(initial=-1)) + 1
        owners = check_owners(video_of_caption, (len(ranks.t2v.relevant), self.videos))
        self._captions = np.bincount(owners, minlength=self.videos)
        self._t2v = _ClusteredRanks(ranks.t2v, owners, self.videos, known)
        self._v2t = _ClusteredRanks(ranks.v2t, queries, self.videos, known)

    def __call__(self, counts: Values) -> ResampledMetrics:
        """Compute the metrics of resamples.

        Args:
            counts: (B, M) How often each resample contains each video, whole numbers.

        Raises:
            InvalidValueError: If a metric does not return finite numbers by name.
        """
        (t2v, t2v_recalls), (v2t, v2t_recalls) = self._t2v.measure(counts), self._v2t.measure(counts)
        return ResampledMetrics(t2v, v2t, t2v_recalls + v2t_recalls)

    def draw(self, resamples: int, seed: int) -> Iterator[Values]:
        """Draw as many videos as there are, with replacement; yield (B, M) counts for `__call__` in blocks.

        Args:
            resamples: The number of resamples; one that has no captions is left out.
            seed: The seed. A seed gives the same resamples for any evaluation of as many videos.
        """
        random = np.random.default_rng(seed)
        for rows in blocks(resamples, self.videos):
            drawn = random.integers(self.videos, size=(rows, self.videos))
            drawn += self.videos * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
            yield counts[counts @ self._captions > 0].astype(np.float64)


def blocks(resamples: int, videos: int) -> Iterator[int]:
    """Yield the number of resamples in each block, so that the counts of a block stay small."""
    most = max(1, _BLOCK // videos)
    yield from (min(most, resamples - start) for start in range(0, resamples, most))


class _ClusteredRanks:
    """The metrics of one direction, added up by video as far as possible.

    Args:
        ranks: The ranks.
        video_of_query: (Q,) The number of each query's video.
        videos: The number of videos M.
        metrics: The metrics.
    """

    def __init__(
        self, ranks: Ranks, video_of_query: Integers, videos: int, metrics: Sequence[Metric]
    ) -> None:
        self._ranks, self._videos, self._video_of_query = ranks, videos, video_of_query
        metric_of: dict[str, Metric] = {}
        metrics_of_direction(ranks, metrics, metric_of)
        self._names = list(metric_of)
        self._called = [metric for metric in metrics if not metric.per_query]
        self._medians = _values_per_query(ranks, metrics, "median")
        means = _values_per_query(ranks, metrics, "mean")
        recalls = _values_per_query(ranks, [recall_metric(PRINTED_RECALLS)], "mean")
        self._means = list(means)
        by_query = [*means.values(), sum(recalls.values()), np.ones(len(video_of_query))]
        self._sums = np.stack([np.bincount(video_of_query, one, videos) for one in by_query], axis=1)

    def measure(self, counts: Values) -> tuple[dict[str, Values], Values]:
        """Compute the metrics of resamples by name, and the sum of R@1, R@5 and R@10.

        Args:
            counts: (B, M) How often each resample contains each video.
        """
        *sums, recalls, queries = (counts @ self._sums).T
        found = {name: total / queries for name, total in zip(self._means, sums, strict=True)}
        found |= {name: self._weighted_medians(values, counts) for name, values in self._medians.items()}
        if self._called:
            each = [self._call(row) for row in counts.astype(np.int64)]
            found |= {name: np.array([values[name] for values in each]) for name in each[0]}
        return {name: found[name] for name in self._names}, recalls / queries

    def _weighted_medians(self, values: Values, counts: Values) -> Values:
        """Compute the median of the values of each resample's queries, (B,).

        Distinct values form groups. A first histogram finds the groups with a median, usually one or two, and
        a second one finds the medians in them.
        """
        distinct, places = np.unique(values, return_inverse=True)
        groups, within = np.divmod(places, _GROUP)
        reached = np.cumsum(self._count(counts, groups, slice(None)), axis=1)
        queries = reached[:, -1]
        middles = np.stack([(queries + 1) // 2, queries // 2 + 1])[:, :, None]  # equal for an odd number
        group_of = np.count_nonzero(reached < middles, axis=2)
        below = np.empty(group_of.shape, np.int64)  # distinct values below the two middle ones
        for group in np.unique(group_of):
            counted = np.cumsum(self._count(counts, within, groups == group), axis=1)
            counted += reached[:, group - 1 : group] if group else 0
            here = group_of == group
            below[here] = group * _GROUP + np.count_nonzero(counted < middles, axis=2)[here]
        medians: Values = distinct[below].mean(axis=0)
        return medians

    def _count(self, counts: Values, columns: Integers, chosen: NDArray[np.bool_] | slice) -> Values:
        """Count the chosen queries of each resample by their column, (B, columns)."""
        videos, rows = np.unique(self._video_of_query[chosen], return_inverse=True)
        width = int(columns[chosen].max()) + 1
        histogram = np.bincount(rows * width + columns[chosen], minlength=len(videos) * width)
        counted: Values = counts[:, videos] @ histogram.reshape(len(videos), width).astype(np.float64)
        return counted

    def _call(self, counts: Integers) -> dict[str, float]:
        """Compute the metrics of one resample that have no values per query."""
        queries = np.repeat(np.arange(len(self._video_of_query)), counts[self._video_of_query])
        return metrics_of_direction(self._ranks.take(queries), self._called, {})


def _values_per_query(ranks: Ranks, metrics: Sequence[Metric], average: str) -> dict[str, Values]:
    """Return the values of each query, by name, of the metrics that are their mean or their median."""
    chosen = [metric.per_query(ranks) for metric in metrics if metric.per_query and metric.average == average]
    return {name: np.asarray(values, np.float64) for part in chosen for name, values in part.items()}
