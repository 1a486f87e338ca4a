"""Intervals and tests of figures that vary with the videos and with the seeds of the training.

The variance of a mean over videos and seeds is the sum of both variances; Satterthwaite's formula gives its
degrees of freedom. For a difference, this is the test min F′ of Clark (1973, The language-as-fixed-effect
fallacy): 1 / min F′ = 1 / F(videos) + 1 / F(seeds). It counts the interaction of both twice, so that p-values
are rather too large.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcmr.evaluation.intervals import CONFIDENCE, Interval
from mlcmr.evaluation.metrics import Values

_GRID = 20_001
_SMALLEST = 1e-15
"""Smaller p-values are lost in rounding."""


@dataclass(frozen=True)
class Variance:
    """The estimated variance of a figure.

    Attributes:
        value: The variance.
        degrees: The degrees of freedom of the estimate.
    """

    value: float
    degrees: float

    def __add__(self, other: "Variance") -> "Variance":
        """Add a variance of another, independent source."""
        total = self.value + other.value
        if total == 0:
            return Variance(0, self.degrees + other.degrees)
        parts = self.value**2 / self.degrees + other.value**2 / other.degrees
        return Variance(total, total**2 / parts)

    def interval(self, value: float, confidence: float = CONFIDENCE) -> Interval:
        """Return the confidence interval of a figure with this variance."""
        angles, tails = _student(self.degrees)
        # Tails fall with the angle; `interp` wants ascending places.
        angle = float(np.interp(1 - confidence, tails[::-1], angles[::-1]))
        half = math.tan(angle) * math.sqrt(self.degrees * self.value)
        return Interval(value - half, value + half)

    def p_value(self, difference: float) -> float:
        """Return the two-sided p-value of a difference with this variance."""
        if difference == 0:
            return 1.0
        angles, tails = _student(self.degrees)
        angle = math.atan2(abs(difference), math.sqrt(self.degrees * self.value))
        return max(_SMALLEST, float(np.interp(angle, angles, tails)))


def variance_over_videos(resampled: Values, videos: int) -> Variance:
    """Return the variance of a figure over the choice of the videos, from the values of its resamples."""
    return Variance(float(np.var(resampled)), max(videos - 1, 1))


def variance_over_seeds(groups: Sequence[Values]) -> Variance | None:
    """Return the variance, over the seeds, of the difference between the means of two groups of runs.

    The groups are taken to vary equally, so that a group of one run can be compared with a larger one.

    Args:
        groups: The figures of the runs of each group. Of a single group, the variance is that of its mean.

    Returns:
        The variance; None if no group has several runs.
    """
    degrees = sum(len(group) - 1 for group in groups)
    if degrees == 0:
        return None
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return Variance(squares / degrees * sum(1 / len(group) for group in groups), degrees)


def _student(degrees: float) -> tuple[Values, Values]:
    """Return the two-sided tails of Student's t distribution, at the angles θ of t = √degrees · tan θ.

    The density of θ is proportional to cos θ to the power of degrees − 1; SciPy would be a large dependency
    for one function.
    """
    # Almost all of the density lies below 12 standard deviations of a normal distribution.
    end = min(math.pi / 2, 12 / math.sqrt(degrees))
    angles = np.linspace(0, end, _GRID)
    density = np.cos(angles) ** (degrees - 1)
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return angles, (below[-1] - below) / below[-1]
