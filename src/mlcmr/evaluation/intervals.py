"""Confidence intervals of metrics: how much the figures depend on the choice of the videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mlcmr.errors import InvalidValueError
from mlcmr.evaluation.metrics import PUBLISHED_METRICS, MetricFunction, RetrievalMetrics, Values
from mlcmr.evaluation.ranks import RetrievalRanks
from mlcmr.evaluation.resampling import ResampledMetrics, Resampler

CONFIDENCE = 0.95
RESAMPLES = 1_000
SEED = 0


class Interval(NamedTuple):
    """An interval of a figure.

    Attributes:
        low: The lower bound.
        high: The upper bound.
    """

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """The number behind ±; the interval itself need not be symmetric."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class RetrievalIntervals:
    """The confidence intervals of the metrics of both directions.

    Attributes:
        t2v: The intervals of text-to-video by the name of the metric.
        v2t: The intervals of video-to-text.
        sum_recalls: The interval of SumR.
        resamples: The number of bootstrap resamples.
        seed: The seed of the resamples.
        confidence: The confidence, such as 0.95.
    """

    t2v: Mapping[str, Interval]
    v2t: Mapping[str, Interval]
    sum_recalls: Interval
    resamples: int = RESAMPLES
    seed: int = SEED
    confidence: float = CONFIDENCE

    @property
    def half_widths(self) -> RetrievalMetrics:
        """The half of the width of each interval, by the names of the metrics."""
        t2v, v2t = (
            {name: interval.half_width for name, interval in direction.items()}
            for direction in (self.t2v, self.v2t)
        )
        return RetrievalMetrics(t2v, v2t, self.sum_recalls.half_width)

    def to_dict(self) -> dict[str, Any]:
        """Return the intervals as JSON holds them: [low, high] in place of a figure."""
        return {
            "confidence": self.confidence,
            "resamples": self.resamples,
            "seed": self.seed,
            "t2v": {name: list(interval) for name, interval in self.t2v.items()},
            "v2t": {name: list(interval) for name, interval in self.v2t.items()},
            "SumR": list(self.sum_recalls),
        }


def compute_intervals(
    ranks: RetrievalRanks,
    video_of_caption: ArrayLike,
    metrics: Sequence[MetricFunction] = PUBLISHED_METRICS,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    confidence: float = CONFIDENCE,
    video_of_query: ArrayLike | None = None,
) -> RetrievalIntervals:
    """Compute a confidence interval of each metric by a bootstrap over videos.

    Each resample draws as many videos as there are, with replacement. A video brings its captions, so that
    captions of one video count as what they are, not as independent queries. Ranks stay those among all
    candidates. The bounds are quantiles of the metrics of the resamples.

    Example:
        >>> from mlcmr.evaluation.ranks import compute_ranks
        >>> scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.6]])
        >>> owners = [0, 1, 1]
        >>> compute_intervals(compute_ranks(scores, owners), owners).t2v["R@1"]
        Interval(low=50.0, high=100.0)

    Args:
        ranks: The ranks of both directions.
        video_of_caption: (N,) Integers, the number of each caption's video.
        metrics: The metrics.
        resamples: The number of resamples, at least 1.
        seed: The seed of the resamples.
        confidence: The confidence, above 0 and below 1.
        video_of_query: The number of the video of each query of the second direction, `v2t`; by default, each
            video is a query.

    Raises:
        InvalidValueError: If an argument has a value that cannot be used, or if a metric does not return
            finite numbers for each resample.
    """
    require_resamples(resamples, "resamples")
    if not 0 < confidence < 1:
        raise InvalidValueError(
            f"`confidence` is {confidence}, but must be above 0 and below 1", parameter="confidence"
        )
    resampler = Resampler(ranks, video_of_caption, metrics, video_of_query)
    resampled = ResampledMetrics.join([resampler(counts) for counts in resampler.draw(resamples, seed)])
    return RetrievalIntervals(
        {name: interval_of(values, confidence) for name, values in resampled.t2v.items()},
        {name: interval_of(values, confidence) for name, values in resampled.v2t.items()},
        interval_of(resampled.sum_recalls, confidence),
        resamples,
        seed,
        confidence,
    )


def intervals_if_wanted(
    ranks: RetrievalRanks,
    video_of_caption: ArrayLike,
    metrics: Sequence[MetricFunction],
    resamples: int,
    video_of_query: ArrayLike | None = None,
) -> RetrievalIntervals | None:
    """Return `compute_intervals`, or None for 0 resamples."""
    if not resamples:
        return None
    return compute_intervals(
        ranks, video_of_caption, metrics, resamples=resamples, video_of_query=video_of_query
    )


def interval_of(values: Values, confidence: float = CONFIDENCE) -> Interval:
    """Return the middle part of the values of all resamples; its bounds are values of resamples."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], method="nearest")
    return Interval(float(low), float(high))


def require_resamples(resamples: int, parameter: str, least: int = 1) -> None:
    """Check a number of resamples.

    Raises:
        InvalidValueError: If it is not a whole number from `least`.
    """
    if not isinstance(resamples, int) or isinstance(resamples, bool) or resamples < least:
        raise InvalidValueError(
            f"`{parameter}` is {resamples}, but must be a whole number from {least}", parameter=parameter
        )
