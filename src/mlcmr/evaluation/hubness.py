"""Hubness correction of scores with a bank of queries that are not of the test split.

A hub is a candidate that ranks first for many queries, most of which it does not belong to. The scores of a
bank of K training queries b and each candidate c show which candidates are hubs.

- Inverted softmax (Smith et al., "Offline bilingual word vectors, orthogonal transformations and the inverted
  softmax", ICLR 2017) divides by the bank. The score s(q, c) of a query and a candidate becomes

      exp(β s(q, c)) / Σ_b exp(β s(b, c))

- Dynamic inverted softmax (QB-Norm: Bogolin et al., "Cross Modal Retrieval with Querybank Normalisation",
  CVPR 2022) does this only for queries whose first candidate is in the activation set,
  {argmax_c s(b, c) for b in the bank}. The scores of the other queries stay as they are.

Ranks depend only on the order of the candidates of a query. This module therefore computes the logarithm,
divided by β: s(q, c) - h(c), in the unit of the scores, with the hubness

    h(c) = 1/β log(1/K Σ_b exp(β s(b, c)))

The hubness lies between the mean of the scores of the bank (β → 0) and their maximum (β → ∞). An empty bank
corrects nothing: h = 0.

Text-to-video needs a bank of captions and video-to-text a bank of videos; each corrects its own direction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcmr.evaluation.scores import Floats, Scores

_TILE = 1 << 18  # scores whose exponentials stay in the cache
_TILE_CANDIDATES = 256


@dataclass(frozen=True, eq=False)
class Hubness:
    """The hubness of the candidates of one direction.

    Attributes:
        values: (C,) float64, the hubness h of each candidate.
        activated: (C,) The activation set: whether a candidate ranks first for a query of the bank. None: the
            scores of all queries are corrected.
    """

    values: NDArray[np.float64]
    activated: NDArray[np.bool_] | None = None

    def correct(self, scores: Floats) -> Floats:
        """Return corrected scores, a new array.

        Args:
            scores: (Q queries, C) The scores of some queries. Of equal scores the first is the highest.
        """
        values = self.values.astype(scores.dtype)
        if self.activated is None:
            return scores - values
        corrected = np.empty_like(scores)  # in the order of memory of the scores, which may be transposed
        np.multiply(self.activated[_best_candidates(scores)][:, None], values, out=corrected)
        return np.subtract(scores, corrected, out=corrected)


def measure_hubness(
    bank: Scores, beta: float, *, dynamic: bool = False, handicaps: Floats | None = None
) -> Hubness:
    """Measure the hubness of candidates; one block of the bank exists at a time.

    Args:
        bank: (K, C) The scores of the bank: a row for each of its queries, a column for each candidate.
        beta: The inverse temperature β, above 0.
        dynamic: Find the activation set too.
        handicaps: (K,) Subtracted from the scores of each query of the bank.
    """
    queries, candidates = bank.shape
    activated = np.zeros(candidates, np.bool_) if dynamic else None
    if queries == 0:
        return Hubness(np.zeros(candidates), activated)
    # The sums are relative to the highest score so far, so that no exponential overflows.
    highest = np.full(candidates, -np.inf)
    sums = np.zeros(candidates)
    for rows, block in bank.by_captions():
        if activated is not None:
            activated[_best_candidates(block)] = True
        scores = block if handicaps is None else block - handicaps[rows, None].astype(block.dtype)
        higher = np.maximum(highest, scores.max(axis=0))
        sums *= np.exp(beta * (highest - higher))
        highest = higher
        size = max(1, _TILE // candidates)
        for start in range(0, len(scores), size):
            tile = scores[start : start + size] - highest.astype(scores.dtype)
            tile *= beta
            sums += np.exp(tile, out=tile).sum(axis=0)
    return Hubness(highest + np.log(sums / queries) / beta, activated)


def _best_candidates(scores: Floats) -> NDArray[np.int64]:
    """Return the first of the best candidates of each query, (Q,).

    Where the scores are transposed, `argmax` needs six times as long as it does for copies of tiles.

    Args:
        scores: (Q, C) The scores.
    """
    best: NDArray[np.int64] = np.zeros(len(scores), np.int64)
    if scores.flags.c_contiguous:
        return scores.argmax(axis=1, out=best)
    highest = np.full(len(scores), -np.inf, scores.dtype)
    for start in range(0, scores.shape[1], _TILE_CANDIDATES):
        tile = np.ascontiguousarray(scores[:, start : start + _TILE_CANDIDATES])
        found = tile.argmax(axis=1)
        values = tile[np.arange(len(tile)), found]
        best = np.where(values > highest, start + found, best)
        highest = np.maximum(values, highest)
    return best


class CorrectedScores:
    """Scores that are corrected for hubness: of the videos by captions, of the captions by videos.

    So a pair has another score by captions than by videos. Each orders the candidates of its direction.

    Args:
        scores: (N, M) The scores.
        videos: The hubness of the M videos.
        captions: The hubness of the N captions.
    """

    def __init__(self, scores: Scores, *, videos: Hubness, captions: Hubness) -> None:
        self._scores, self._videos, self._captions = scores, videos, captions

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return self._scores.shape

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of captions and their scores, (captions in the range, M)."""
        for part, block in self._scores.by_captions():
            yield part, self._videos.correct(block)

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of videos and their scores, (N, videos in the range)."""
        for part, block in self._scores.by_videos():
            yield part, self._captions.correct(block.T).T

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        """Return the scores of some captions, by number: a new array (len(captions), M)."""
        return self._videos.correct(self._scores.of_captions(captions))


@dataclass(frozen=True)
class Bank:
    """The scores of the queries of a bank and the candidates of both directions.

    Attributes:
        captions: (K, M) The scores of the captions of the bank and the videos to rank.
        videos: (L, N) The scores of the videos of the bank and the captions to rank.
    """

    captions: Scores
    videos: Scores


def inverted_softmax(scores: Scores, bank: Bank, beta: float, *, dynamic: bool = False) -> Scores:
    """Return scores that are corrected by (dynamic) inverted softmax.

    Args:
        scores: (N, M) The scores of the captions and the videos to rank.
        bank: The scores of the bank.
        beta: The inverse temperature β, above 0.
        dynamic: Correct only the queries whose first candidate is in the activation set.
    """
    return CorrectedScores(
        scores,
        videos=measure_hubness(bank.captions, beta, dynamic=dynamic),
        captions=measure_hubness(bank.videos, beta, dynamic=dynamic),
    )
