"""Evaluate a model on a split: ranks, metrics, tables and reports."""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.evaluation.comparison import Comparison as Comparison
    from mlcmr.evaluation.intervals import Interval as Interval
    from mlcmr.evaluation.intervals import RetrievalIntervals as RetrievalIntervals
    from mlcmr.evaluation.intervals import compute_intervals as compute_intervals
    from mlcmr.evaluation.metrics import Metric as Metric
    from mlcmr.evaluation.metrics import RetrievalMetrics as RetrievalMetrics
    from mlcmr.evaluation.metrics import compute_metrics as compute_metrics
    from mlcmr.evaluation.normalisation import NormalisationSettings as NormalisationSettings
    from mlcmr.evaluation.paired_tests import compare as compare
    from mlcmr.evaluation.pipeline import evaluate as evaluate
    from mlcmr.evaluation.ranks import Ranks as Ranks
    from mlcmr.evaluation.ranks import RetrievalRanks as RetrievalRanks
    from mlcmr.evaluation.ranks import compute_ranks as compute_ranks
    from mlcmr.evaluation.results import EvaluationResults as EvaluationResults
    from mlcmr.evaluation.scores import embedding_scores as embedding_scores
    from mlcmr.evaluation.target_results import TargetResults as TargetResults

__all__ = [
    "Comparison",
    "EvaluationResults",
    "Interval",
    "Metric",
    "NormalisationSettings",
    "Ranks",
    "RetrievalIntervals",
    "RetrievalMetrics",
    "RetrievalRanks",
    "TargetResults",
    "compare",
    "compute_intervals",
    "compute_metrics",
    "compute_ranks",
    "embedding_scores",
    "evaluate",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Comparison": "comparison",
        "EvaluationResults": "results",
        "Interval": "intervals",
        "Metric": "metrics",
        "NormalisationSettings": "normalisation",
        "Ranks": "ranks",
        "RetrievalIntervals": "intervals",
        "RetrievalMetrics": "metrics",
        "RetrievalRanks": "ranks",
        "TargetResults": "target_results",
        "compare": "paired_tests",
        "compute_intervals": "intervals",
        "compute_metrics": "metrics",
        "compute_ranks": "ranks",
        "embedding_scores": "scores",
        "evaluate": "pipeline",
    },
)
