"""The validation score: what chooses the best checkpoint."""

from collections.abc import Sequence
from typing import Literal

from mlcmr.data.features import FrameFeatures
from mlcmr.data.scenario import Queries
from mlcmr.evaluation.encode import Work, encode_queries
from mlcmr.evaluation.metrics import compute_metrics
from mlcmr.evaluation.scores import embedding_scores
from mlcmr.model.protocol import TextVideoModel

# The published code validates in batches of this size, and with its padding the size changes the numbers.
VALIDATION_BATCH = 64


def validation_scores(
    model: TextVideoModel,
    features: FrameFeatures,
    splits: Sequence[Queries],
    metric: Literal["recall", "mAP"],
    work: Work,
) -> dict[str, float]:
    """The score of each language by itself; their sum is the validation score.

    Args:
        model: What is validated.
        features: The frame features of the videos.
        splits: The human captions of the validation split, by language.
        metric: `recall`: R@1, R@5 and R@10 of both directions added up (percent); `mAP`: the mAP of both.
        work: Shows progress.
    """
    scores = {}
    for encoded in encode_queries(model, features, splits, batch_size=VALIDATION_BATCH, work=work):
        metrics = compute_metrics(
            embedding_scores(encoded.captions, encoded.videos), encoded.video_of_caption
        )
        directions = (metrics.t2v, metrics.v2t)
        scores[encoded.queries.language] = (
            metrics.sum_recalls
            if metric == "recall"
            else sum(direction.mean_precision or 0.0 for direction in directions)
        )
    return scores
