"""Grid search: settings of the ranking that have the highest SumR on the validation split."""

from collections.abc import Callable, Sequence

from mlcmr.evaluation.encode import EncodedQueries
from mlcmr.evaluation.metrics import sum_of_recalls
from mlcmr.evaluation.ranks import compute_ranks
from mlcmr.evaluation.scores import Scores, embedding_scores

FUSION_WEIGHTS = [step / 20 for step in range(21)]
"""The weights to choose from: 0, 0.05 … 1."""


def choose_best(values: Sequence[float], score: Callable[[float], float], default: float) -> float:
    """Return the value with the highest score; of several, the value that is nearest to the default.

    Example:
        >>> choose_best([0.0, 0.5, 1.0], lambda value: 300.0 if value else 200.0, default=0.85)
        1.0

    Args:
        values: The values to choose from.
        score: The score of a value. Differences of rounding, below 1e-6, do not count.
        default: The value that wins a tie.
    """
    return max(values, key=lambda value: (round(score(value), 6), -abs(value - default)))


def choose_fusion_weight(encoded: EncodedQueries, default: float) -> float:
    """Return the weight of `FUSION_WEIGHTS` with the highest SumR.

    Args:
        encoded: The queries of the validation split, with their translations.
        default: The weight that wins a tie.
    """

    def score(weight: float) -> float:
        return sum_recalls(embedding_scores(encoded.fused(weight), encoded.videos), encoded)

    return choose_best(FUSION_WEIGHTS, score, default)


def sum_recalls(scores: Scores, encoded: EncodedQueries) -> float:
    """Compute SumR of scores of some queries."""
    return sum_of_recalls(compute_ranks(scores, encoded.video_of_caption))["SumR"]
