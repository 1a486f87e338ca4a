"""The metrics to expect of random scores, computed exactly.

Every order of the candidates is equally likely. Each function takes the number of relevant candidates of each
query, (Q,), and the number of candidates.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlcmr.evaluation.ranks import Integers


def recall_curve(relevant: Integers, candidates: int, up_to: int) -> NDArray[np.float64]:
    """Compute the expected R@1 … R@up_to in percent, (up_to,).

    Args:
        relevant: (Q,) The number of relevant candidates of each query.
        candidates: The number of candidates.
        up_to: The last K.
    """
    seen = np.arange(1.0, up_to + 1)
    recalls = np.zeros(up_to)
    for count, queries in zip(*np.unique(relevant, return_counts=True), strict=True):
        missed = np.ones(up_to)  # the probability of no relevant candidate among K drawn without replacement
        for drawn in range(count):
            missed *= np.maximum(candidates - seen - drawn, 0) / (candidates - drawn)
        recalls += queries * (1 - missed)
    return 100 * recalls / len(relevant)


def recall_at(relevant: Integers, candidates: int, cutoffs: Sequence[int]) -> dict[str, float]:
    """Compute the expected R@K."""
    recalls = recall_curve(relevant, candidates, min(max(cutoffs), candidates))
    return {f"R@{cutoff}": float(recalls[min(cutoff, candidates) - 1]) for cutoff in cutoffs}


def median_rank(relevant: Integers, candidates: int) -> dict[str, float]:
    """Compute the median of the distribution of the best ranks of all queries."""
    recalls = recall_curve(relevant, candidates, candidates)
    # Half of the ranks are at most the first and at least the second number; usually the two are equal.
    median = (np.searchsorted(recalls, 50, "left") + np.searchsorted(recalls, 50, "right")) / 2 + 1
    return {"MedR": min(float(median), candidates + 1.0)}


def mean_rank(relevant: Integers, candidates: int) -> dict[str, float]:
    """Compute the expected best rank."""
    return {"MnR": float(np.mean((candidates + 1) / (relevant + 1)))}


def mean_average_precision(relevant: Integers, candidates: int) -> dict[str, float]:
    """Compute the expected mAP (Bestgen, "Exact expected average precision of the random baseline", 2015)."""
    harmonic = np.sum(1 / np.arange(1.0, candidates + 1))
    others = (relevant - 1) / max(candidates - 1, 1)
    precision = np.where(relevant > 0, (others * (candidates - harmonic) + harmonic) / candidates, 0)
    return {"mAP": 100 * float(precision.mean())}


def ndcg(relevant: Integers, candidates: int, cutoff: int | None = None) -> dict[str, float]:
    """Compute the expected nDCG: each relevant candidate has each rank with the same probability."""
    last = candidates if cutoff is None else min(cutoff, candidates)
    mean_gain = gain(np.arange(1, last + 1)).sum() / candidates
    ratios = relevant * mean_gain / ideal_dcg(relevant, last)
    return {"nDCG" if cutoff is None else f"nDCG@{cutoff}": 100 * float(ratios.mean())}


def gain(ranks: Integers) -> NDArray[np.float64]:
    """Compute what a relevant candidate adds to DCG at each rank."""
    gains: NDArray[np.float64] = 1 / np.log2(1.0 + ranks)
    return gains


def ideal_dcg(relevant: Integers, last: int) -> NDArray[np.float64]:
    """Compute the DCG with all relevant candidates first, (Q,); 1 for a query without relevant candidates.

    Args:
        relevant: (Q,) The number of relevant candidates of each query.
        last: The last rank that counts.
    """
    sums = np.cumsum(gain(np.arange(1, max(1, min(last, int(relevant.max(initial=0)))) + 1)))
    return sums[np.clip(relevant, 1, len(sums)) - 1]
