"""The validation score, which chooses the best checkpoint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlcmr.data.features.frame_features import FrameFeatures
from mlcmr.data.scenarios import Queries
from mlcmr.errors import InvalidValueError, MlcmrError, reason
from mlcmr.evaluation.encode import encode_queries
from mlcmr.evaluation.metrics import (
    BUILT_IN,
    PRINTED_RECALLS,
    Metric,
    MetricFunction,
    as_metric,
    find_metric,
    recall_at,
    recall_metric,
)
from mlcmr.evaluation.ranks import Ranks, RetrievalRanks, compute_ranks
from mlcmr.evaluation.scores import embedding_scores
from mlcmr.model.protocol import TextVideoModel
from mlcmr.progress import SILENT, Progress
from mlcmr.registry import name_of

# The batch size of the published validation. With the published padding, the batch size changes the numbers.
VALIDATION_BATCH = 64
_SUM = Metric(lambda ranks: {"SumR": sum(recall_at(ranks).values())})
_BUILT_IN = {
    "recall": _SUM,
    "SumR": _SUM,
    **{f"R@{cutoff}": recall_metric([cutoff]) for cutoff in PRINTED_RECALLS},
    **BUILT_IN,
}


@dataclass(frozen=True)
class ValidationScore:
    """A metric added over both directions, as a score that is better if higher.

    Attributes:
        name: The name of the metric, for messages.
        metric: The metric, which returns a single value.
    """

    name: str
    metric: Metric

    def __call__(self, ranks: RetrievalRanks) -> float:
        """Compute the score.

        Raises:
            InvalidValueError: If the metric does not return a single finite number.
        """
        total = self._value(ranks.t2v) + self._value(ranks.v2t)
        return total if self.metric.higher_is_better else -total

    def _value(self, ranks: Ranks) -> float:
        try:
            values = {name: float(value) for name, value in self.metric(ranks).items()}
        except MlcmrError:
            raise
        except Exception as error:  # the code of another package may raise anything
            raise _unusable(self.name, f"it raised {type(error).__name__}: {reason(error)}") from error
        if len(values) != 1 or not all(map(math.isfinite, values.values())):
            raise _unusable(self.name, f"it returned {values}, but must return one finite number")
        return sum(values.values())


def select_score(metric: str | MetricFunction) -> ValidationScore:
    """Return the validation score of a training.

    Args:
        metric: `recall` or `SumR` for the sum of R@1, R@5 and R@10, a metric as `find_metric` takes it, or a
            metric itself.

    Raises:
        InvalidValueError: If the metric is unknown, fails, or does not return a single finite number.
        MissingDependencyError: If the module of the metric is not installed.
    """
    if isinstance(metric, str):
        score = ValidationScore(metric, find_metric(metric, _BUILT_IN, parameter="validation_metric"))
    else:
        found = as_metric(metric, "validation_metric")
        score = ValidationScore(name_of(found.compute), found)
    ranks = Ranks.from_lists([[1], [2, 3], []], candidates=4)
    score(RetrievalRanks(ranks, ranks))
    return score


def _unusable(name: str, why: str) -> InvalidValueError:
    return InvalidValueError(
        f"`validation_metric` {name} cannot be used: {why}", parameter="validation_metric"
    )


def validation_scores(
    model: TextVideoModel,
    features: FrameFeatures,
    splits: Sequence[Queries],
    score: ValidationScore,
    progress: Progress = SILENT,
) -> dict[str, float]:
    """Compute the score of each language; their sum is the validation score, which is better if higher.

    Args:
        model: The model to validate.
        features: The frame features of the videos.
        splits: The human captions of the validation split, by language.
        score: The score of the ranks of a language.
        progress: Receives the progress.
    """
    encoded = encode_queries(model, features, splits, batch_size=VALIDATION_BATCH, progress=progress)
    return {
        language.queries.language: score(
            compute_ranks(embedding_scores(language.captions, language.videos), language.video_of_caption)
        )
        for language in encoded
    }
