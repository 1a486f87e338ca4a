"""The validation score, which chooses the best checkpoint."""

from collections.abc import Sequence

from mlcmr.data.features.frame_features import FrameFeatures
from mlcmr.data.scenarios import Queries
from mlcmr.evaluation.encode import encode_queries
from mlcmr.evaluation.metrics import BUILT_IN, sum_of_recalls
from mlcmr.evaluation.ranks import RetrievalRanks, compute_ranks
from mlcmr.evaluation.scores import embedding_scores
from mlcmr.model.protocol import TextVideoModel
from mlcmr.progress import SILENT, Progress

# The batch size of the published validation. With the published padding, the batch size changes the numbers.
VALIDATION_BATCH = 64


def validation_scores(
    model: TextVideoModel,
    features: FrameFeatures,
    splits: Sequence[Queries],
    metric: str,
    progress: Progress = SILENT,
) -> dict[str, float]:
    """Compute the score of each language; their sum is the validation score, which is better if higher.

    Args:
        model: The model to validate.
        features: The frame features of the videos.
        splits: The human captions of the validation split, by language.
        metric: `recall` for the sum of R@1, R@5 and R@10 of both directions, or the name of a built-in metric
            for its sum over both directions. A metric that is better if lower counts negatively.
        progress: Receives the progress.
    """
    encoded = encode_queries(model, features, splits, batch_size=VALIDATION_BATCH, progress=progress)
    return {
        language.queries.language: _score(
            compute_ranks(embedding_scores(language.captions, language.videos), language.video_of_caption),
            metric,
        )
        for language in encoded
    }


def _score(ranks: RetrievalRanks, name: str) -> float:
    if name == "recall":
        return sum_of_recalls(ranks)["SumR"]
    metric = BUILT_IN[name]
    total = metric(ranks.t2v)[name] + metric(ranks.v2t)[name]
    return total if metric.higher_is_better else -total
