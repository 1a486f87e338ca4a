"""Scores → ranks, in both directions, without sorting and without holding all scores.

Captions have the numbers 0 … N−1 and videos 0 … M−1. Caption i describes the video `video_of_caption[i]`. A
video has any number of captions, or none.

Ties: candidates with equal scores keep their order (videos by number, captions by number), as in a stable
sort. A rank is 1 + the candidates with a higher score + the earlier candidates with the same score. A model
that gives all pairs the same score therefore gets each rank from first to last. If all videos have equally
many captions, its t2v metrics are exactly those of chance, not 100 %.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcmr.errors import InvalidValueError
from mlcmr.evaluation.scores import Floats, MatrixScores, Scores

Integers: TypeAlias = NDArray[np.int64]

# The number of candidates in a tile. Their 0/1 comparisons must add up within a byte, and a tile must stay in
# the cache while it is compared with the relevant candidates of each query.
_TILE = 250


@dataclass(frozen=True, eq=False)
class Ranks:
    """The ranks of the relevant candidates of Q queries, in one direction.

    Ranks count from 1.

    Attributes:
        values: (P,) int64, the ranks of all relevant candidates, query by query and ascending within a query.
        relevant: (Q,) int64, the number of relevant candidates of each query; the sum is P.
        candidates: The number of candidates that each query ranks.
    """

    values: Integers
    relevant: Integers
    candidates: int

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.relevant):,} queries, {self.candidates:,} candidates)"

    @classmethod
    def from_lists(cls, ranks: Iterable[Iterable[int]], candidates: int) -> Self:
        """Build ranks from lists.

        Example:
            >>> Ranks.from_lists([[1, 4], [2], []], candidates=8).best.tolist()
            [1, 2, 9]

        Args:
            ranks: For each query, the ranks of its relevant candidates.
            candidates: The number of candidates that each query ranks.
        """
        ordered = [sorted(query) for query in ranks]
        values = [rank for query in ordered for rank in query]
        counts = [len(query) for query in ordered]
        return cls(np.array(values, np.int64), np.array(counts, np.int64), candidates)

    @cached_property
    def best(self) -> Integers:
        """(Q,) int64, the best rank of each query; candidates + 1 for a query without relevant candidates."""
        best = np.full(len(self.relevant), self.candidates + 1)
        found = self.relevant > 0
        best[found] = self.values[(np.cumsum(self.relevant) - self.relevant)[found]]
        return best

    @cached_property
    def queries(self) -> Integers:
        """(P,) int64, the number of the query that each rank in `values` belongs to."""
        return np.repeat(np.arange(len(self.relevant)), self.relevant)

    @cached_property
    def nth(self) -> Integers:
        """(P,) int64, the position of each rank among the ranks of its query, from 1."""
        starts = np.cumsum(self.relevant) - self.relevant
        return np.arange(1, len(self.values) + 1) - starts[self.queries]

    def take(self, queries: Integers) -> Self:
        """Return the ranks of some queries, in the given order; a query may occur several times.

        Args:
            queries: (R,) The numbers of the queries.
        """
        counts = self.relevant[queries]
        ends = np.cumsum(counts)
        # Where the ranks of each query start, here and in the result.
        shifts = (np.cumsum(self.relevant) - self.relevant)[queries] - (ends - counts)
        places = np.arange(counts.sum()) + np.repeat(shifts, counts)
        return type(self)(self.values[places], counts, self.candidates)

    def sum_per_query(self, gains: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up the gains of the ranks of each query.

        Args:
            gains: (P,) A number for each rank in `values`.

        Returns:
            (Q,) float64; 0 for a query without relevant candidates.
        """
        return np.bincount(self.queries, gains, minlength=len(self.relevant)).astype(np.float64)

    def recalls(self, up_to: int) -> NDArray[np.float64]:
        """Compute R@1 … R@up_to in percent, (up_to,)."""
        ranked = self.best[self.best <= min(up_to, self.candidates)]
        found = np.bincount(ranked, minlength=up_to + 1)[1:]
        recalls: NDArray[np.float64] = 100.0 * np.cumsum(found) / len(self.best)
        return recalls


@dataclass(frozen=True, eq=False)
class RetrievalRanks:
    """The ranks of both directions.

    Attributes:
        t2v: Text-to-video: each caption ranks all videos; its own video is relevant.
        v2t: Video-to-text: each video ranks all captions; its own captions are relevant.
    """

    t2v: Ranks
    v2t: Ranks


def match_captions(caption_video_ids: Sequence[str], video_ids: Sequence[str]) -> Integers:
    """Return the number of each caption's video.

    Args:
        caption_video_ids: (N,) The id of the video that each caption describes.
        video_ids: (M,) The ids of the videos, in the order of their numbers.

    Returns:
        (N,) int64, positions in `video_ids`.

    Raises:
        InvalidValueError: If a video is listed twice, or if a caption's video is not listed.
    """
    numbers = {name: number for number, name in enumerate(video_ids)}
    if len(numbers) < len(video_ids):
        twice = next(name for number, name in enumerate(video_ids) if numbers[name] != number)
        raise InvalidValueError(f"video '{twice}' is listed twice among the {len(video_ids):,} videos")
    missing = dict.fromkeys(name for name in caption_video_ids if name not in numbers)
    if missing:
        more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        raise InvalidValueError(
            f"video '{next(iter(missing))}'{more} has captions, but is not among the {len(video_ids):,} "
            "videos to rank: add its features or remove its captions"
        )
    return np.fromiter((numbers[name] for name in caption_video_ids), np.int64, len(caption_video_ids))


def compute_ranks(scores: Scores | NDArray[Any], video_of_caption: ArrayLike) -> RetrievalRanks:
    """Rank all videos for each caption, and all captions for each video.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.6]])
        >>> ranks = compute_ranks(scores, video_of_caption=[0, 1, 1])
        >>> ranks.t2v.best.tolist(), ranks.v2t.best.tolist()
        ([1, 1, 2], [1, 1])

    Args:
        scores: (N, M) A matrix or `Scores`; a higher score is better.
        video_of_caption: (N,) Integers, the number of each caption's video.

    Raises:
        InvalidValueError: If a score is not a finite number, or if the arrays do not fit together.
    """
    source = _as_scores(scores)
    owners = check_owners(video_of_caption, source.shape)
    # Text-to-video comes first: it checks that all scores are finite.
    return RetrievalRanks(
        t2v=_text_to_video(source, owners),
        v2t=_rank_captions(source.by_videos(), np.arange(source.shape[1]), owners),
    )


def compute_text_ranks(
    scores: Scores | NDArray[Any], video_of_first: ArrayLike, video_of_second: ArrayLike
) -> RetrievalRanks:
    """Rank captions in a second language for each caption in a first language, and the other way round.

    All captions of the same video are relevant.

    Args:
        scores: (N, M) The scores of N captions in the first language and M captions in the second.
        video_of_first: (N,) Integers, the number of the video of each caption in the first language.
        video_of_second: (M,) The same for the second language.

    Returns:
        `t2v` with the captions in the first language as queries, `v2t` with those in the second.

    Raises:
        InvalidValueError: If a score is not a finite number, or if the arrays do not fit together.
    """
    source = _as_scores(scores)
    videos = 1 + max(int(np.max(owners, initial=0)) for owners in (video_of_first, video_of_second))
    first, second = (
        check_owners(owners, (captions, videos))
        for owners, captions in zip((video_of_first, video_of_second), source.shape, strict=True)
    )

    def by_first() -> Iterator[tuple[slice, Floats]]:
        for rows, block in source.by_captions():
            _require_finite(block, rows.start)
            yield rows, block.T

    return RetrievalRanks(
        t2v=_rank_captions(by_first(), first, second), v2t=_rank_captions(source.by_videos(), second, first)
    )


def top_videos(scores: Scores | NDArray[Any], captions: ArrayLike, count: int = 5) -> Integers:
    """Return the videos that rank first for some captions.

    Args:
        scores: (N, M) A matrix or `Scores`.
        captions: (Q,) The numbers of the captions.
        count: The number of videos; all videos if there are fewer.

    Returns:
        (Q, count) int64, the numbers of the videos, best first, ties in the order of `compute_ranks`.
    """
    source = _as_scores(scores)
    queries = np.asarray(captions, dtype=np.int64)
    found = source.of_captions(queries)
    return np.argsort(-found, axis=1, kind="stable")[:, :count].astype(np.int64)


def first_videos(scores: Scores | NDArray[Any]) -> Integers:
    """Return the video that ranks first for each caption, (N,) int64; ties as in `compute_ranks`."""
    blocks = [block.argmax(axis=1) for _, block in _as_scores(scores).by_captions()]
    return np.concatenate(blocks).astype(np.int64)


def _text_to_video(source: Scores, owners: Integers) -> Ranks:
    captions, videos = source.shape
    values = np.empty(captions, np.int64)
    for rows, block in source.by_captions():
        _require_finite(block, rows.start)
        values[rows] = _ranks(block.T, owners[rows], np.arange(len(block)))
    return Ranks(values, relevant=np.ones(captions, np.int64), candidates=videos)


def _rank_captions(
    blocks: Iterable[tuple[slice, Floats]], video_of_query: Integers, video_of_caption: Integers
) -> Ranks:
    """Rank all captions for each query; the captions of its video are relevant.

    Args:
        blocks: Ranges of queries and their scores, (captions, queries in the range).
        video_of_query: (Q,) The number of the video of each query.
        video_of_caption: (C,) The number of the video of each caption.
    """
    grouped = np.argsort(video_of_caption, kind="stable")  # the captions of video 0, of video 1, …
    of_video = np.bincount(video_of_caption, minlength=int(video_of_query.max()) + 1)
    first = (np.cumsum(of_video) - of_video)[video_of_query]
    counts = of_video[video_of_query]
    starts = np.cumsum(counts) - counts
    values = np.empty(counts.sum(), np.int64)
    for columns, block in blocks:
        each = counts[columns]
        pairs = slice(starts[columns.start], starts[columns.start] + each.sum())
        queries = np.repeat(np.arange(len(each)), each)
        places = np.arange(pairs.start, pairs.stop) - np.repeat(starts[columns] - first[columns], each)
        ranks = _ranks(block, grouped[places], queries)
        values[pairs] = ranks[np.lexsort((ranks, queries))]
    return Ranks(values, relevant=counts, candidates=len(video_of_caption))


def _ranks(scores: Floats, relevant: Integers, queries: Integers) -> Integers:
    """Compute the ranks of P relevant candidates, by counting the candidates ahead of each.

    Each score is compared once with each relevant candidate of its query: with `>` if the relevant candidate
    comes earlier, with `>=` if it comes later. `>= x` is `>` the next smaller number, so that one comparison
    of a tile does both.

    Args:
        scores: (C candidates, Q queries).
        relevant: (P,) The numbers of the relevant candidates.
        queries: (P,) The query of each relevant candidate, ascending.

    Returns:
        (P,) int64, ranks from 1.
    """
    # Round k compares the k-th relevant candidate of every query that has at least k. With the queries sorted
    # by their number of relevant candidates, these queries are the first columns.
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
            part = slice(end - width, end)
            higher = tile[:, :width] > bound[part]
            ahead[part] += np.add.reduce(higher.view(np.uint8), axis=0, dtype=np.uint8)
        # Ties of the relevant candidates that lie in this tile.
        inside = np.flatnonzero((relevant >= start) & (relevant < stop))
        earlier = np.arange(start, stop)[:, None] < relevant[inside]
        ahead[inside] += np.count_nonzero((tile[:, place[inside]] == positive[inside]) & earlier, axis=0)
    ranks = np.empty_like(ahead)
    ranks[order] = ahead + 1
    return ranks


def _as_scores(scores: Scores | NDArray[Any]) -> Scores:
    return MatrixScores(scores) if isinstance(scores, np.ndarray) else scores


def check_owners(video_of_caption: ArrayLike, shape: tuple[int, int]) -> Integers:
    """Check the number of each caption's video.

    Raises:
        InvalidValueError: If captions or videos are missing, or if a number is not the number of a video.
    """
    captions, videos = shape
    owners = np.asarray(video_of_caption)
    if captions == 0 or videos == 0:
        raise InvalidValueError(f"{captions:,} captions and {videos:,} videos: nothing to rank")
    if owners.shape != (captions,):
        raise InvalidValueError(
            f"`video_of_caption` has {owners.size:,} entries, but there are scores of {captions:,} captions",
            parameter="video_of_caption",
        )
    if not np.issubdtype(owners.dtype, np.integer) or owners.min() < 0 or owners.max() >= videos:
        raise InvalidValueError(
            f"`video_of_caption` must hold integers from 0 to {videos - 1:,}", parameter="video_of_caption"
        )
    return owners.astype(np.int64)


def _require_finite(block: Floats, first_caption: int) -> None:
    for start in range(0, len(block), _TILE):
        finite = np.isfinite(block[start : start + _TILE])
        if not finite.all():
            row, video = np.argwhere(~finite)[0]
            caption, value = first_caption + start + row, block[start + row, video]
            raise InvalidValueError(
                f"the score of caption {caption} and video {video} (counted from 0) is {value}: "
                "the embeddings are not finite; did the training of the model diverge?"
            )
