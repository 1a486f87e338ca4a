"""Results in an interactive session: `repr` says what a result is, and does not print its content."""

from pathlib import Path

import numpy as np
import torch

import mlcmr
from mlcmr.data import open_features, read_captions
from mlcmr.evaluation import EvaluationResults, Ranks, RetrievalMetrics, RetrievalRanks, TargetResults
from mlcmr.model import ViewEmbeddings
from mlcmr.search import IndexSummary
from tests.helpers.tiny import COLLECTION, write_collection


def test_results_of_an_evaluation():
    scores = RetrievalMetrics({"R@1": 10.0}, {"R@1": 20.0}, 212.34)
    results = [
        TargetResults("c", "f", "test", target, "parallel", 2, 2, 1.0, scores, scores)
        for target in ("en", "zh")
    ]
    assert repr(EvaluationResults(results)) == "EvaluationResults(en: SumR 212.3, zh: SumR 212.3)"


def test_ranks():
    ranks = Ranks.from_lists([[1, 4], [2], []], candidates=8)
    assert repr(ranks) == "Ranks(3 queries, 8 candidates)"
    assert repr(RetrievalRanks(ranks, ranks)) == f"RetrievalRanks(t2v={ranks!r}, v2t={ranks!r})"


def test_embeddings():
    rows = torch.from_numpy(np.ones((6, 16), np.float32))
    views = ViewEmbeddings(rows, rows, {"en": rows, "zh": rows}, {"en": rows, "zh": rows})
    assert repr(views) == "ViewEmbeddings(6 × 16, en, zh)"


def test_collections(tmp_path):
    write_collection(tmp_path)
    folder = tmp_path / COLLECTION
    features = open_features(folder / "FeatureData" / "feat")
    frames, dimension = features.matrix.shape
    size = f"{len(features)} videos, {frames} frames × {dimension}"
    assert repr(features) == f"FrameFeatures('{features.folder}', {size})"
    path = next((folder / "TextData").glob("*.caption.txt"))
    captions = read_captions(path)
    assert repr(captions) == f"Captions('{path}', {len(captions)} captions)"
    assert "frames_of_video" not in repr(mlcmr.check(folder))


def test_a_summary_of_an_index_leaves_out_the_plan():
    summary = IndexSummary(Path("index"), 1, 0, 0, 0, 1, 0, exact=True, plan=object())  # type: ignore[arg-type]
    assert "plan" not in repr(summary)
