"""Retrieval metrics, for any matrix of scores.

    >>> import numpy as np
    >>> from mlcmr.metrics import compute_ranks, recall_at
    >>> scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.6]])  # a row per caption, a column per video
    >>> ranks = compute_ranks(scores, video_of_caption=[0, 1, 1])
    >>> recall_at(ranks.v2t, 1, 2)
    {'R@1': 100.0, 'R@2': 100.0}

A metric is a function of the ranks of one direction, `ranks.t2v` or `ranks.v2t`. `sum_of_recalls` and
`compute_intervals` take both.
"""

from mlcmr.evaluation.intervals import compute_intervals
from mlcmr.evaluation.metrics import (
    Metric,
    mean_average_precision,
    mean_rank,
    median_rank,
    ndcg,
    recall_at,
    sum_of_recalls,
)
from mlcmr.evaluation.ranks import Ranks, RetrievalRanks, compute_ranks

__all__ = [
    "Metric",
    "Ranks",
    "RetrievalRanks",
    "compute_intervals",
    "compute_ranks",
    "mean_average_precision",
    "mean_rank",
    "median_rank",
    "ndcg",
    "recall_at",
    "sum_of_recalls",
]
