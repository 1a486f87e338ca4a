"""Example queries: the best and the worst, and the videos that they found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcmr.evaluation.ranks import RetrievalRanks, first_videos, top_videos
from mlcmr.evaluation.scores import Scores


@dataclass(frozen=True)
class FoundVideo:
    """A video that ranks high for a query.

    Attributes:
        video_id: The id of the video.
        caption: Its first caption; empty without captions.
    """

    video_id: str
    caption: str


@dataclass(frozen=True)
class RankedQuery:
    """A caption as a query.

    Attributes:
        text: The caption.
        video_id: The video that the caption describes.
        rank: The rank of that video, from 1.
        found: The videos that rank first, best first.
    """

    text: str
    video_id: str
    rank: int
    found: tuple[FoundVideo, ...]


@dataclass(frozen=True)
class RankedQueries:
    """The ranks of all queries, and example queries.

    Attributes:
        ranks: The ranks of both directions.
        video_of_caption: (N,) int64, the number of each caption's video.
        first: (N,) int64, the number of the video that ranks first for each caption.
        best: The queries whose videos rank highest, at most one query per video.
        worst: The queries whose videos rank lowest, worst first, at most one query per video.
    """

    ranks: RetrievalRanks
    video_of_caption: NDArray[np.int64]
    first: NDArray[np.int64]
    best: tuple[RankedQuery, ...]
    worst: tuple[RankedQuery, ...]


def pick_queries(
    scores: Scores | NDArray[Any],
    ranks: RetrievalRanks,
    video_of_caption: NDArray[np.int64],
    *,
    texts: Sequence[str],
    video_ids: Sequence[str],
    count: int = 8,
    found: int = 5,
) -> RankedQueries:
    """Pick the best and the worst queries, and look up the videos that they found.

    Args:
        scores: (N, M) The scores of captions and videos.
        ranks: The ranks that `compute_ranks` computed from the scores.
        video_of_caption: (N,) The number of each caption's video.
        texts: The N captions.
        video_ids: The M ids of the videos.
        count: The number of best queries, and of worst queries.
        found: The number of found videos per query.
    """
    order = np.argsort(ranks.t2v.best, kind="stable")
    best = distinct_videos(order, video_of_caption, count)
    missed = order[ranks.t2v.best[order] > 1][::-1]
    worst = distinct_videos(missed[~np.isin(missed, best)], video_of_caption, count)
    first_caption = first_captions(texts, video_of_caption)

    def described(captions: list[int]) -> tuple[RankedQuery, ...]:
        tops = top_videos(scores, np.array(captions, np.int64), found)
        return tuple(
            RankedQuery(
                text=texts[caption],
                video_id=video_ids[video_of_caption[caption]],
                rank=int(ranks.t2v.best[caption]),
                found=tuple(FoundVideo(video_ids[video], first_caption.get(video, "")) for video in top),
            )
            for caption, top in zip(captions, tops.tolist(), strict=True)
        )

    first = first_videos(scores)
    return RankedQueries(ranks, video_of_caption, first, best=described(best), worst=described(worst))


def first_captions(texts: Sequence[str], video_of_caption: NDArray[np.int64]) -> dict[int, str]:
    """Return the first caption of each video, by its number."""
    found: dict[int, str] = {}
    for video, text in zip(video_of_caption.tolist(), texts, strict=True):
        found.setdefault(video, text)
    return found


def distinct_videos(
    captions: NDArray[np.int64], video_of_caption: NDArray[np.int64], count: int
) -> list[int]:
    """Return the first `count` captions of different videos, in the given order."""
    _, firsts = np.unique(video_of_caption[captions], return_index=True)
    return [int(caption) for caption in captions[np.sort(firsts)][:count]]
