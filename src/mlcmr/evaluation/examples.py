"""Queries to look at: which were found best and worst, and what was found instead."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcmr.evaluation.metrics import RetrievalRanks, top_videos
from mlcmr.evaluation.scores import Scores


@dataclass(frozen=True)
class FoundVideo:
    """A video that ranked high.

    Attributes:
        video_id: its id.
        caption: its first caption, empty when it has none.
    """

    video_id: str
    caption: str


@dataclass(frozen=True)
class RankedQuery:
    """A caption as a query.

    Attributes:
        text: the caption.
        video_id: the video that it describes.
        rank: the rank of that video, 1-based.
        found: the videos that ranked first, best first.
    """

    text: str
    video_id: str
    rank: int
    found: tuple[FoundVideo, ...]


@dataclass(frozen=True)
class RankedQueries:
    """All ranks, and some queries to look at.

    Attributes:
        language: the language of the queries.
        ranks: the ranks of all queries, in both directions.
        best: the queries whose videos ranked highest, at most one of each video.
        worst: those whose videos ranked lowest, worst first, at most one of each video.
    """

    language: str
    ranks: RetrievalRanks
    best: tuple[RankedQuery, ...]
    worst: tuple[RankedQuery, ...]


def pick_queries(
    scores: Scores | NDArray[Any],
    ranks: RetrievalRanks,
    video_of_caption: NDArray[np.int64],
    *,
    texts: Sequence[str],
    video_ids: Sequence[str],
    language: str,
    count: int = 8,
    found: int = 5,
) -> RankedQueries:
    """Picks the best and the worst queries, and looks up what they found.

    Args:
        scores: (N, M), the scores that `ranks` come from.
        ranks: what `compute_ranks` made of them.
        video_of_caption: (N,), the number of each caption's video.
        texts: the N captions.
        video_ids: the M ids of the videos.
        language: the language of the captions.
        count: how many best and how many worst queries to pick.
        found: how many found videos to show for each.
    """
    order = np.argsort(ranks.t2v.best, kind="stable")
    best = _one_per_video(order, video_of_caption, count)
    missed = order[ranks.t2v.best[order] > 1][::-1]
    worst = _one_per_video(missed[~np.isin(missed, best)], video_of_caption, count)
    first_caption: dict[int, str] = {}
    for video, text in zip(video_of_caption.tolist(), texts, strict=True):
        first_caption.setdefault(video, text)

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

    return RankedQueries(language, ranks, best=described(best), worst=described(worst))


def _one_per_video(captions: NDArray[np.int64], video_of_caption: NDArray[np.int64], count: int) -> list[int]:
    _, firsts = np.unique(video_of_caption[captions], return_index=True)
    return [int(caption) for caption in captions[np.sort(firsts)][:count]]
