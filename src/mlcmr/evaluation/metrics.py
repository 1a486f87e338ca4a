"""Scores → ranks → metrics, in both directions, without sorting and without holding all scores.

Captions are numbered 0 … N−1 and videos 0 … M−1; `video_of_caption[i]` is the video that caption i describes.
A caption has one video, a video has any number of captions, also none.

Ties count honestly. Candidates with equal scores stand in their own order (videos by number, captions by
number), as after a stable sort: rank = 1 + candidates that score higher + candidates that score the same and
come earlier. A model that gives every pair the same score thus finds each video at another place, from first
to last: where videos have equally many captions, its t2v metrics are exactly those of chance, not 100 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcmr.errors import UserError
from mlcmr.evaluation.results import DirectionMetrics, RetrievalMetrics
from mlcmr.evaluation.scores import Floats, MatrixScores, Scores

Integers: TypeAlias = NDArray[np.int64]

# Candidates that are compared at a time: few enough that their 0/1 outcomes add up in a byte, and that a tile
# stays in the cache while it is compared with one relevant candidate of each query after the other.
_TILE = 250


@dataclass(frozen=True)
class Ranks:
    """What each of Q queries found, in one direction.

    Attributes:
        best: (Q,) int64, the 1-based rank of the best relevant candidate; candidates + 1 without any.
        precision: (Q,) float64, the average precision over all relevant candidates, 0 … 1; 0 without any.
        relevant: (Q,) int64, how many candidates are relevant.
        candidates: how many candidates were ranked.
    """

    best: Integers
    precision: NDArray[np.float64]
    relevant: Integers
    candidates: int

    def recalls(self, up_to: int) -> NDArray[np.float64]:
        """R@1 … R@up_to in percent, (up_to,)."""
        ranked = self.best[self.best <= min(up_to, self.candidates)]
        found = np.bincount(ranked, minlength=up_to + 1)[1:]
        recalls: NDArray[np.float64] = 100.0 * np.cumsum(found) / len(self.best)
        return recalls

    def metrics(self) -> DirectionMetrics:
        """The ranks summed up."""
        recalls = self.recalls(10)
        return DirectionMetrics(
            recall_1=float(recalls[0]),
            recall_5=float(recalls[4]),
            recall_10=float(recalls[9]),
            median_rank=float(np.median(self.best)),
            mean_rank=float(self.best.mean()),
            mean_precision=100.0 * float(self.precision.mean()),
        )


@dataclass(frozen=True)
class RetrievalRanks:
    """The ranks of both directions: every caption's among videos, every video's among captions."""

    t2v: Ranks
    v2t: Ranks

    def metrics(self) -> RetrievalMetrics:
        """The ranks summed up."""
        return RetrievalMetrics(t2v=self.t2v.metrics(), v2t=self.v2t.metrics())


def match_captions(caption_video_ids: Sequence[str], video_ids: Sequence[str]) -> Integers:
    """The number of each caption's video.

    Args:
        caption_video_ids: (N,) the id of the video that each caption describes.
        video_ids: (M,) the ids of the videos, in the order of their numbers.

    Returns:
        (N,) int64, positions in `video_ids`.

    Raises:
        UserError: a video is listed twice, or a caption's video is not listed.
    """
    numbers = {name: number for number, name in enumerate(video_ids)}
    if len(numbers) < len(video_ids):
        twice = next(name for number, name in enumerate(video_ids) if numbers[name] != number)
        raise UserError(f"video '{twice}' is listed twice among the {len(video_ids):,} videos to rank")
    missing = dict.fromkeys(name for name in caption_video_ids if name not in numbers)
    if missing:
        more = f" (and those of {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        raise UserError(
            f"the captions of video '{next(iter(missing))}'{more} have no video among the "
            f"{len(video_ids):,} to rank: add the video's features or leave its captions out"
        )
    return np.fromiter((numbers[name] for name in caption_video_ids), np.int64, len(caption_video_ids))


def compute_metrics(scores: Scores | NDArray[Any], video_of_caption: ArrayLike) -> RetrievalMetrics:
    """The metrics of both directions: `compute_ranks`, summed up."""
    return compute_ranks(scores, video_of_caption).metrics()


def compute_ranks(scores: Scores | NDArray[Any], video_of_caption: ArrayLike) -> RetrievalRanks:
    """Ranks every video for every caption and the reverse.

    Args:
        scores: (N, M) as a matrix or as `Scores`; larger is better.
        video_of_caption: (N,) integers, the number of each caption's video.

    Returns:
        Text-to-video: the rank of each caption's video, and its reciprocal as precision. Video-to-text: the
        best rank that any caption of the video has, and the average precision over all its captions; a video
        without captions has rank N + 1 and precision 0.

    Raises:
        UserError: a score is not a finite number, or the arrays do not fit together.
    """
    source = _as_scores(scores)
    owners = _checked_owners(video_of_caption, source.shape)
    # Text-to-video goes first: it checks all scores.
    return RetrievalRanks(t2v=_text_to_video(source, owners), v2t=_video_to_text(source, owners))


def top_videos(scores: Scores | NDArray[Any], captions: ArrayLike, count: int = 5) -> Integers:
    """The videos that rank first for some captions.

    Args:
        scores: (N, M) as a matrix or as `Scores`.
        captions: (Q,) the numbers of the captions.
        count: how many videos to give; fewer when there are fewer.

    Returns:
        (Q, count) int64, the numbers of the videos, best first, ties as everywhere here.
    """
    source = _as_scores(scores)
    queries = np.asarray(captions, dtype=np.int64)
    found = source.of_captions(queries)
    return np.argsort(-found, axis=1, kind="stable")[:, :count].astype(np.int64)


def chance(video_of_caption: ArrayLike, videos: int) -> RetrievalMetrics:
    """The metrics to expect when every order of the candidates is equally likely.

    Recalls, mean rank and mAP are expected values (mAP: Bestgen, "Exact expected average precision of the
    random baseline", 2015); MedR is the median of the distribution of all queries' ranks.

    Args:
        video_of_caption: (N,) integers, the number of each caption's video.
        videos: M.

    Raises:
        UserError: there are no captions, or one belongs to no video.
    """
    captions = len(np.asarray(video_of_caption))
    owners = _checked_owners(video_of_caption, (captions, videos))
    return RetrievalMetrics(
        t2v=_chance(np.ones(captions, np.int64), videos),
        v2t=_chance(np.bincount(owners, minlength=videos), captions),
    )


def chance_recalls(relevant: Integers, candidates: int, up_to: int) -> NDArray[np.float64]:
    """The R@1 … R@up_to to expect of random scores, in percent, (up_to,).

    Args:
        relevant: (Q,) how many of the candidates are relevant to each query.
        candidates: how many candidates there are.
        up_to: the last K.
    """
    seen = np.arange(1.0, up_to + 1)
    recalls = np.zeros(up_to)
    for count, queries in zip(*np.unique(relevant, return_counts=True), strict=True):
        missed = np.ones(up_to)  # no relevant one among the first K, drawn without replacement
        for drawn in range(count):
            missed *= np.maximum(candidates - seen - drawn, 0) / (candidates - drawn)
        recalls += queries * (1 - missed)
    return 100 * recalls / len(relevant)


def _chance(relevant: Integers, candidates: int) -> DirectionMetrics:
    recalls = chance_recalls(relevant, candidates, max(candidates, 10))
    # Half of the ranks are at most the first and at least the second of these; mostly the two are one.
    median = (np.searchsorted(recalls, 50, "left") + np.searchsorted(recalls, 50, "right")) / 2 + 1
    harmonic = np.sum(1 / np.arange(1.0, candidates + 1))
    others = (relevant - 1) / max(candidates - 1, 1)
    precision = np.where(relevant > 0, (others * (candidates - harmonic) + harmonic) / candidates, 0)
    return DirectionMetrics(
        recall_1=float(recalls[0]),
        recall_5=float(recalls[4]),
        recall_10=float(recalls[9]),
        median_rank=min(float(median), candidates + 1.0),
        mean_rank=float(np.mean((candidates + 1) / (relevant + 1))),
        mean_precision=100 * float(precision.mean()),
    )


def _text_to_video(source: Scores, owners: Integers) -> Ranks:
    captions, videos = source.shape
    best = np.empty(captions, np.int64)
    for rows, block in source.by_captions():
        _require_finite(block, rows.start)
        best[rows] = _ranks(block.T, owners[rows], np.arange(len(block)))
    return Ranks(best, 1 / best, relevant=np.ones(captions, np.int64), candidates=videos)


def _video_to_text(source: Scores, owners: Integers) -> Ranks:
    captions, videos = source.shape
    grouped = np.argsort(owners, kind="stable")  # the captions of video 0, of video 1, …
    counts = np.bincount(owners, minlength=videos)
    starts = np.cumsum(counts) - counts
    best = np.full(videos, captions + 1)
    precision = np.zeros(videos)
    for columns, block in source.by_videos():
        pairs = slice(starts[columns.start], starts[columns.start] + counts[columns].sum())
        queries = owners[grouped[pairs]] - columns.start
        ranks = _ranks(block, grouped[pairs], queries)
        ranks = ranks[np.lexsort((ranks, queries))]
        nth = np.arange(pairs.start, pairs.stop) - starts[columns][queries]
        best[columns][queries[nth == 0]] = ranks[nth == 0]
        sums = np.bincount(queries, (nth + 1) / ranks, minlength=block.shape[1])
        precision[columns] = sums / np.maximum(counts[columns], 1)
    return Ranks(best, precision, relevant=counts, candidates=captions)


def _ranks(scores: Floats, relevant: Integers, queries: Integers) -> Integers:
    """The ranks of P relevant candidates, by counting the candidates ahead of each.

    Each score is compared once for each relevant candidate of its query: with `>` where the other candidate
    comes later, with `>=` where it comes earlier. The latter is `>` of the next smaller number, so that one
    comparison of a tile does either.

    Shape: scores (C candidates, Q queries); relevant (P,), candidates; queries (P,), ascending, whom they are
    relevant to.
    Returns: (P,) int64, 1-based.
    """
    # Round k compares the k-th relevant candidates of all queries that have so many. With the queries ordered
    # by how many they have, those are the first columns.
    counts = np.bincount(queries, minlength=scores.shape[1])
    rounds = np.arange(len(queries)) - (np.cumsum(counts) - counts)[queries]
    columns = np.argsort(-counts, kind="stable")
    place = np.argsort(columns)[queries]
    order = np.lexsort((place, rounds))
    widths = np.bincount(rounds)
    ends = np.cumsum(widths)

    relevant, place = relevant[order], place[order]
    positive = scores[relevant, queries[order]]
    just_below = np.nextafter(positive, -np.inf)
    uneven = counts.min() < counts.max()
    ahead = np.zeros(len(relevant), np.int64)
    for start in range(0, len(scores), _TILE):
        tile = scores[start : start + _TILE]
        if uneven:
            tile = tile[:, columns]
        stop = start + len(tile)
        bound = np.where(relevant >= stop, just_below, positive)
        for width, end in zip(widths, ends, strict=True):
            one = slice(end - width, end)
            higher = tile[:, :width] > bound[one]
            ahead[one] += np.add.reduce(higher.view(np.uint8), axis=0, dtype=np.uint8)
        # Ties with relevant candidates that are in this tile themselves.
        inside = np.flatnonzero((relevant >= start) & (relevant < stop))
        earlier = np.arange(start, stop)[:, None] < relevant[inside]
        ahead[inside] += np.count_nonzero((tile[:, place[inside]] == positive[inside]) & earlier, axis=0)
    ranks = np.empty_like(ahead)
    ranks[order] = ahead + 1
    return ranks


def _as_scores(scores: Scores | NDArray[Any]) -> Scores:
    return MatrixScores(scores) if isinstance(scores, np.ndarray) else scores


def _checked_owners(video_of_caption: ArrayLike, shape: tuple[int, int]) -> Integers:
    captions, videos = shape
    owners = np.asarray(video_of_caption)
    if captions == 0 or videos == 0:
        raise UserError(f"nothing to rank: {captions:,} captions and {videos:,} videos")
    if owners.shape != (captions,):
        raise UserError(
            f"scores of {captions:,} captions, but the videos of {owners.size:,} captions are given"
        )
    if not np.issubdtype(owners.dtype, np.integer) or owners.min() < 0 or owners.max() >= videos:
        raise UserError(f"the videos of captions must be integers from 0 to {videos - 1:,}")
    return owners.astype(np.int64)


def _require_finite(block: Floats, first_caption: int) -> None:
    for start in range(0, len(block), _TILE):
        finite = np.isfinite(block[start : start + _TILE])
        if not finite.all():
            row, video = np.argwhere(~finite)[0]
            caption, value = first_caption + start + row, block[start + row, video]
            raise UserError(
                f"the score of caption {caption} and video {video} (counted from 0) is {value}: "
                "the embeddings are not finite numbers, as after a training that diverged"
            )
