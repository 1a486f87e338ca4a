"""The figures of several target languages together: their mean, and the worst language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlcmr.evaluation.metrics import RetrievalMetrics, mean_metrics
from mlcmr.evaluation.target_results import TargetResults


@dataclass(frozen=True)
class AllTargets:
    """The figures that the protocol reports, over all target languages of an evaluation.

    Attributes:
        mean: The mean of each metric over the languages; each language has the same weight.
        worst_target: The language with the lowest SumR.
        worst: The metrics of this language.
    """

    mean: RetrievalMetrics
    worst_target: str
    worst: RetrievalMetrics

    @classmethod
    def of(cls, results: Sequence[TargetResults]) -> "AllTargets | None":
        """Summarise the results of all target languages; None if there are fewer than two."""
        if len(results) < 2:
            return None
        worst = min(results, key=lambda result: result.sum_recalls)
        return cls(
            mean_metrics([result.main for result in results]),
            worst.target,
            worst.main,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as results.json holds them."""
        return {
            "mean": self.mean.to_dict(),
            "worst": {"target": self.worst_target, "metrics": self.worst.to_dict()},
        }
