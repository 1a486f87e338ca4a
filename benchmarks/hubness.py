"""Evaluation of a test split of VATEX's size, plain and with hubness correction by banks of two sizes."""

from typing import Any

import numpy as np

from benchmarks.evaluation import CAPTIONS, VIDEOS, draw_embeddings
from benchmarks.measure import Options, fresh, median_time, peak_gb
from benchmarks.table import Row
from mlcmr.evaluation.hubness import Bank, inverted_softmax
from mlcmr.evaluation.metrics import compute_metrics
from mlcmr.evaluation.scores import embedding_scores

SIZE = 512
BANKS = {10_000: 1_000, 250_000: 25_000}
"""The videos by the captions of a bank: the default, and all of a training split of VATEX's size."""
BETA = 20.0


def rows(options: Options) -> list[Row]:
    """Scores, both directions and all metrics. `alone` is processor time, of all threads added up."""
    measured = fresh("benchmarks.hubness", repeats=options.repeats)
    plain = measured["plain"]
    return [
        Row(work=f"scores and evaluation of {CAPTIONS:,} × {VIDEOS:,} × {SIZE}", unit="s", **plain),
        *(
            Row(
                work=f"  with a bank of {captions:,} captions, {videos:,} videos",
                unit="s",
                **measured[str(captions)],
                target=3 * plain["alone"],
            )
            for captions, videos in BANKS.items()
        ),
        Row(work="  peak memory of all", unit="GB", clock=measured["peak_gb"]),
    ]


def main(*, repeats: int, **_: Any) -> dict[str, Any]:
    """Seconds of each, and the peak memory of all."""
    random = np.random.default_rng(0)
    captions, videos = draw_embeddings(random, CAPTIONS, SIZE), draw_embeddings(random, VIDEOS, SIZE)
    owners = np.arange(CAPTIONS) % VIDEOS
    result = {
        "plain": vars(
            median_time(lambda: compute_metrics(embedding_scores(captions, videos), owners), repeats)
        )
    }
    for count, films in BANKS.items():
        more, clips = draw_embeddings(random, count, SIZE), draw_embeddings(random, films, SIZE)

        def corrected(more: Any = more, clips: Any = clips) -> None:
            bank = Bank(embedding_scores(more, videos), embedding_scores(clips, captions))
            scores = inverted_softmax(embedding_scores(captions, videos), bank, BETA, dynamic=True)
            compute_metrics(scores, owners)

        result[str(count)] = vars(median_time(corrected, repeats))
    return result | {"peak_gb": peak_gb()}
