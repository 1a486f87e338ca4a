"""The queries whose ranks differ most between two evaluated runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcmr.evaluation.metrics import Values
from mlcmr.evaluation.ranks_file import StoredRanks
from mlcmr.evaluation.report.examples import FoundVideo, distinct_videos, first_captions


@dataclass(frozen=True)
class QueryResult:
    """The result of a query in one run.

    Attributes:
        ranks: The rank of the right video; of several seeds, the rank in each.
        first: The video that ranks first, of the first seed; None if an earlier version evaluated the run.
    """

    ranks: tuple[int, ...]
    first: FoundVideo | None


@dataclass(frozen=True)
class QueryDifference:
    """A caption that two runs rank differently.

    Attributes:
        text: The caption.
        video: The video that the caption describes.
        results: The results of the first run and of the other run.
    """

    text: str
    video: FoundVideo
    results: tuple[QueryResult, QueryResult]


@dataclass(frozen=True)
class RunDifferences:
    """The queries whose ranks differ most between a run and the first run.

    Attributes:
        target: The target language.
        runs: The names of the first run and of the other run.
        better: The queries that the other run ranks better, the greatest difference first.
        worse: The queries that the other run ranks worse.
    """

    target: str
    runs: tuple[str, str]
    better: tuple[QueryDifference, ...]
    worse: tuple[QueryDifference, ...]


def find_differences(
    target: str,
    runs: tuple[str, str],
    stored: tuple[Sequence[StoredRanks], Sequence[StoredRanks]],
    *,
    texts: Sequence[str],
    video_ids: Sequence[str],
    count: int = 8,
) -> RunDifferences:
    """Find the queries whose ranks differ most, by their ratio: 1 and 5 differ more than 96 and 100.

    Args:
        target: The target language.
        runs: The names of the first run and of the other run.
        stored: The ranks of the seeds of the first run and of the other run; of several seeds, the geometric
            mean counts.
        texts: The N captions.
        video_ids: The M ids of the videos.
        count: The number of queries that are better, and of those that are worse, at most one per video.
    """
    owners = stored[0][0].video_of_caption
    first_caption = first_captions(texts, owners)
    ratios = _logarithms(stored[1]) - _logarithms(stored[0])

    def found(video: int) -> FoundVideo:
        return FoundVideo(video_ids[video], first_caption.get(video, ""))

    def result(seeds: Sequence[StoredRanks], caption: int) -> QueryResult:
        first = seeds[0].first
        ranks = tuple(int(one.ranks.t2v.best[caption]) for one in seeds)
        return QueryResult(ranks, None if first is None else found(int(first[caption])))

    def described(signed: Values) -> tuple[QueryDifference, ...]:
        order = np.argsort(signed, kind="stable")
        captions: NDArray[np.int64] = order[signed[order] < 0]
        return tuple(
            QueryDifference(
                texts[caption],
                found(int(owners[caption])),
                (result(stored[0], caption), result(stored[1], caption)),
            )
            for caption in distinct_videos(captions, owners, count)
        )

    return RunDifferences(target, runs, better=described(ratios), worse=described(-ratios))


def _logarithms(seeds: Sequence[StoredRanks]) -> Values:
    """Return the mean logarithm of the ranks of each query, (N,)."""
    means: Values = np.mean([np.log(one.ranks.t2v.best) for one in seeds], axis=0)
    return means
