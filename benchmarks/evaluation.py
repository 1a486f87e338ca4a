"""Similarities, ranks and metrics of a test split of VATEX's size."""

from typing import Any

import numpy as np

from benchmarks import published
from benchmarks.measure import Options, fresh, median_time
from benchmarks.table import Row
from benchmarks.yardstick import copy_gbs, product_gflops
from mlcmr.evaluation.metrics import compute_metrics
from mlcmr.evaluation.scores import MatrixScores, embedding_scores

CAPTIONS, VIDEOS, SIZE = 15_000, 1_500, 1536
WEIGHT = np.float32(0.85)


def rows(options: Options) -> list[Row]:
    """Similarities of a target language fused with its translations, then both directions and all metrics."""
    measured = fresh("benchmarks.evaluation", repeats=options.repeats)
    speed = measured["gflops"]
    return [
        Row(
            work=f"similarities, {CAPTIONS:,} × {VIDEOS:,}, two languages fused",
            unit="s",
            **measured["similarities"],
            published=published.SIMILARITIES_S,
            scaled=published.SIMILARITIES_S * published.GFLOPS / speed,
            limit=2 * CAPTIONS * VIDEOS * SIZE / 1e9 / speed,
        ),
        Row(
            work=f"evaluation, {CAPTIONS:,} × {VIDEOS:,}, both directions",
            unit="s",
            **measured["large"],
            published=published.EVALUATION_S,
            target=0.4,
            limit=4 * CAPTIONS * VIDEOS / 1e9 / measured["copy_gbs"],
        ),
        Row(
            work="evaluation, 1,000 × 1,000",
            unit="s",
            **measured["small"],
            published=published.SMALL_EVALUATION_S,
        ),
        Row(
            work="similarities and evaluation: peak memory",
            unit="GB",
            clock=measured["peak_gb"],
            published=published.SIMILARITIES_PEAK_GB,
            target=published.SIMILARITIES_PEAK_GB,
        ),
    ]


def main(*, repeats: int, **_: Any) -> dict[str, Any]:
    """Seconds each."""
    random = np.random.default_rng(0)
    captions, translations = (_unit(random, CAPTIONS) for _ in range(2))
    videos = _unit(random, VIDEOS)

    def similarities() -> MatrixScores:
        return embedding_scores(WEIGHT * captions + (1 - WEIGHT) * translations, videos)

    ...


def _unit(random: np.random.Generator, count: int) -> np.ndarray:
    embeddings = random.standard_normal((count, SIZE), np.float32)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
