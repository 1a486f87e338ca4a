"""Similarities, ranks, metrics and their intervals of a test split of VATEX's size."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import published
from benchmarks.measure import Options, fresh, median_time, peak_gb
from benchmarks.table import Row
from benchmarks.yardstick import copy_gbs, product_gflops
from mlcmr.evaluation.intervals import RESAMPLES, compute_intervals
from mlcmr.evaluation.metrics import BUILT_IN, choose_metrics, compute_metrics, metrics_of_ranks
from mlcmr.evaluation.paired_tests import compare
from mlcmr.evaluation.ranks import RetrievalRanks, compute_ranks
from mlcmr.evaluation.ranks_file import StoredRanks, write_ranks
from mlcmr.evaluation.scores import Scores, embedding_scores
from mlcmr.files import write_text

CAPTIONS, VIDEOS, SIZE = 15_000, 1_500, 1536
WEIGHT = np.float32(0.85)


def rows(options: Options) -> list[Row]:
    """Similarities of queries fused with their translations, then both directions and all metrics."""
    measured = fresh("benchmarks.evaluation", repeats=options.repeats)
    gflops = measured["gflops"]
    return [
        Row(
            work=f"similarities of {CAPTIONS:,} × {VIDEOS:,}, two languages fused",
            unit="s",
            **measured["similarities"],
            published=published.SIMILARITIES_S,
            scaled=published.SIMILARITIES_S * published.GFLOPS / gflops,
            limit=2 * CAPTIONS * VIDEOS * SIZE / 1e9 / gflops,
        ),
        Row(
            work=f"evaluation of {CAPTIONS:,} × {VIDEOS:,}, both directions, all metrics",
            unit="s",
            **measured["large"],
            published=published.EVALUATION_S,
            target=0.4,
            limit=2 * 4 * CAPTIONS * VIDEOS / 1e9 / measured["copy_gbs"],  # each direction reads all scores
        ),
        Row(
            work=f"intervals of {CAPTIONS:,} × {VIDEOS:,}, all metrics, {RESAMPLES:,} resamples",
            unit="s",
            **measured["intervals"],
            target=5,
        ),
        Row(
            work="  times the evaluation",
            unit="×",
            clock=measured["intervals"]["alone"] / measured["large"]["alone"],
        ),
        Row(
            work="comparison of two such runs, 9,999 permutations",
            unit="s",
            **measured["comparison"],
            target=5,
        ),
        Row(
            work="evaluation of 1,000 × 1,000",
            unit="s",
            **measured["small"],
            published=published.SMALL_EVALUATION_S,
        ),
        Row(
            work="  peak memory of all",
            unit="GB",
            clock=measured["peak_gb"],
            published=published.SIMILARITIES_PEAK_GB,
            target=published.SIMILARITIES_PEAK_GB,
        ),
    ]


def main(*, repeats: int, **_: Any) -> dict[str, Any]:
    """Seconds of each, and the peak memory of all."""
    import torch

    random = np.random.default_rng(0)
    captions, translations = (draw_embeddings(random, CAPTIONS, SIZE) for _ in range(2))
    videos = draw_embeddings(random, VIDEOS, SIZE)

    def similarities() -> Scores:
        return embedding_scores(WEIGHT * captions + (1 - WEIGHT) * translations, videos)

    scores = similarities()
    owners = np.arange(CAPTIONS) % VIDEOS
    ranks, other = compute_ranks(scores, owners), compute_ranks(embedding_scores(captions, videos), owners)
    small = random.standard_normal((1000, 1000), np.float32)
    metrics = choose_metrics(metrics=list(BUILT_IN))
    turns = 2 * repeats + 1
    threads = torch.get_num_threads()
    result = {
        "similarities": vars(median_time(similarities, turns, threads=threads)),
        "large": vars(median_time(lambda: compute_metrics(scores, owners), turns)),
        "intervals": vars(
            median_time(lambda: compute_intervals(ranks, owners, metrics), turns, threads=threads)
        ),
        "comparison": _time_comparison([ranks, other], owners, threads),
        "small": vars(median_time(lambda: compute_metrics(small, np.arange(1000)), turns)),
        "peak_gb": peak_gb(),
    }
    return result | {"gflops": product_gflops().alone, "copy_gbs": copy_gbs().alone}


def _time_comparison(
    runs: Sequence[RetrievalRanks], owners: NDArray[np.int64], threads: int
) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        folders = [Path(folder, str(number)) for number in range(len(runs))]
        for run, ranks in zip(folders, runs, strict=True):
            metrics = {"fused": None, "target_only": metrics_of_ranks(ranks).to_dict()}
            evaluation = {"collection": "drawn", "split": "test", "target": "zh", "queries": CAPTIONS}
            evaluation |= {"videos": VIDEOS, "metrics": metrics, "queries_digest": "0" * 64}
            write_ranks(run, {"zh": StoredRanks(ranks, owners)})
            write_text(run / "results.json", json.dumps({"format": 1, "evaluations": [evaluation]}))
        return vars(median_time(lambda: compare(folders), 3, threads=threads))


def draw_embeddings(random: np.random.Generator, count: int, size: int) -> NDArray[np.float32]:
    """Return random unit vectors, (count, size)."""
    embeddings = random.standard_normal((count, size), np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings
