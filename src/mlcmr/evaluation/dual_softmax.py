"""Dual softmax and Sinkhorn: normalisations of scores that see all test queries at once.

A query is then ranked with the help of the other queries of the test split, which a search does not have.
Figures of such scores must not be compared with figures of queries that are ranked one by one.

Both use the hubness of `mlcmr.evaluation.hubness`, with the test queries in place of a bank.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlcmr.evaluation.hubness import CorrectedScores, Hubness, measure_hubness
from mlcmr.evaluation.scores import Floats, Scores

SINKHORN_ITERATIONS = 20


class DualSoftmaxScores:
    """Scores times their softmax over the queries (DSL).

    The score s(q, c) becomes s(q, c) · exp(β s(q, c)) / Σ_p exp(β s(p, c)), with p over all test queries:
    Cheng et al., "Improving Video-Text Retrieval by Multi-Stream Corpus Alignment and Dual Softmax Loss",
    2021.

    Args:
        scores: (N, M) The scores.
        beta: The inverse temperature β, above 0.
    """

    def __init__(self, scores: Scores, beta: float) -> None:
        self._scores, self._beta = scores, beta
        self._videos = measure_hubness(scores, beta)
        self._captions = measure_hubness(_Transposed(scores), beta)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return self._scores.shape

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of captions and their scores, (captions in the range, M)."""
        for part, block in self._scores.by_captions():
            yield part, self._weigh(block, self._videos)

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of videos and their scores, (N, videos in the range)."""
        for part, block in self._scores.by_videos():
            yield part, self._weigh(block.T, self._captions).T

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        """Return the scores of some captions, by number: a new array (len(captions), M)."""
        return self._weigh(self._scores.of_captions(captions), self._videos)

    def _weigh(self, scores: Floats, hubness: Hubness) -> Floats:
        """Multiply by the softmax, up to the number of queries; in float64, where it does not become 0."""
        exact = scores.astype(np.float64)
        weighed: Floats = exact * np.exp(self._beta * (exact - hubness.values))
        return weighed


def sinkhorn(scores: Scores, beta: float, iterations: int = SINKHORN_ITERATIONS) -> Scores:
    """Return scores whose softmax over all pairs has equal sums of rows, and equal sums of columns.

    Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", NeurIPS 2013. Rows and columns
    of exp(β s) are divided by their means in turn. Every caption and every video gets the same weight, which
    fits a split whose videos have equally many captions.

    Args:
        scores: (N, M) The scores.
        beta: The inverse temperature β, above 0.
        iterations: The number of times that rows and columns are divided.
    """
    transposed = _Transposed(scores)
    captions = Hubness(np.zeros(scores.shape[0]))
    videos = Hubness(np.zeros(scores.shape[1]))
    for _ in range(iterations):
        captions = measure_hubness(transposed, beta, handicaps=videos.values)
        videos = measure_hubness(scores, beta, handicaps=captions.values)
    return CorrectedScores(scores, videos=videos, captions=captions)


class _Transposed:
    """Scores with videos in place of captions, and captions in place of videos."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores

    @property
    def shape(self) -> tuple[int, int]:
        captions, videos = self._scores.shape
        return videos, captions

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        for part, block in self._scores.by_videos():
            yield part, block.T

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        for part, block in self._scores.by_captions():
            yield part, block.T

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        raise NotImplementedError
