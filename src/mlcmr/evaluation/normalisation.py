"""The normalisations of scores by name, and the choice of their inverse temperature."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from mlcmr.errors import InvalidValueError
from mlcmr.evaluation.dual_softmax import DualSoftmaxScores, sinkhorn
from mlcmr.evaluation.encode import EncodedQueries
from mlcmr.evaluation.grid_search import choose_best, sum_recalls
from mlcmr.evaluation.hubness import Bank, inverted_softmax
from mlcmr.evaluation.intervals import intervals_if_wanted
from mlcmr.evaluation.metrics import Metric, metrics_of_ranks
from mlcmr.evaluation.ranks import compute_ranks
from mlcmr.evaluation.scores import Scores, embedding_scores
from mlcmr.evaluation.target_results import NormalisedResults
from mlcmr.settings import require_valid

Normalisation = Literal["inverted-softmax", "dynamic-inverted-softmax", "dual-softmax", "sinkhorn"]
"""A normalisation of scores; the first two use a bank of training queries, the others all test queries."""
WITH_BANK = ("inverted-softmax", "dynamic-inverted-softmax")
BETAS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""The inverse temperatures to choose from, for scores from -1 to 1."""
PUBLISHED_BETA = 20.0
"""The inverse temperature of QB-Norm."""
BANK_SIZE = 10_000
"""The largest number of captions of a bank; it adds less than 2 times the evaluation of 15,000 × 1,500."""


@dataclass(frozen=True)
class NormalisationSettings:
    """Normalisations of scores to measure beside the plain scores.

    Example:
        >>> evaluate("runs/mine", normalisation=NormalisationSettings("sinkhorn", beta=20.0))

    Attributes:
        normalisations: Normalisations of the scores to measure beside the plain scores. With a bank of
            training captions in the target language and their videos: `inverted-softmax` and
            `dynamic-inverted-softmax` (QB-Norm). With all test queries, which is reported apart:
            `dual-softmax` and `sinkhorn`.
        beta: The inverse temperature of the normalisations; by default the one with the highest SumR on the
            validation split of the run, for each normalisation.
        bank_size: The largest number of captions in a bank: those of training videos that are drawn at
            random, the same every time.

    Raises:
        InvalidValueError: If a name is unknown, or if a value cannot be used.
    """

    normalisations: Normalisation | Sequence[Normalisation] = ()
    beta: float | None = None
    bank_size: int = BANK_SIZE

    def __post_init__(self) -> None:
        require_valid(self, {"bank_size": (1, inf)})
        if self.beta is None:
            return
        if self.beta <= 0:
            raise InvalidValueError(f"`beta` is {self.beta}, but must be above 0", parameter="beta")
        if not self.names:
            raise InvalidValueError(
                "`beta` is the inverse temperature of `normalisations`, but there are none: choose from "
                f"{', '.join(get_args(Normalisation))}",
                parameter="beta",
            )

    @property
    def names(self) -> tuple[Normalisation, ...]:
        """The normalisations, each once."""
        given = self.normalisations
        return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))

    @property
    def needs_validation(self) -> bool:
        """True if the validation split chooses an inverse temperature."""
        return bool(self.names) and self.beta is None

    @property
    def needs_bank(self) -> bool:
        """True if a normalisation needs a bank."""
        return any(name in WITH_BANK for name in self.names)


def measure_normalised(
    settings: NormalisationSettings,
    encoded: EncodedQueries,
    scores: Scores,
    weight: float | None,
    metrics: Sequence[Metric],
    *,
    bank: EncodedQueries | None = None,
    validation: EncodedQueries | None = None,
    validation_split: str = "val",
    resamples: int = 0,
) -> list[NormalisedResults]:
    """Compute the metrics of each normalisation.

    Args:
        settings: The normalisations.
        encoded: The captions and the videos to rank.
        scores: (N, M) Their scores.
        weight: The weight of the captions against their translations, if these are fused.
        metrics: The metrics.
        bank: The captions of the bank and their videos.
        validation: The captions and the videos of the validation split, to choose the inverse temperature.
        validation_split: The name of the validation split.
        resamples: The number of bootstrap resamples for the intervals; 0 for no intervals.
    """
    owners = encoded.video_of_caption
    own = None if bank is None else bank_scores(bank, encoded, weight)
    of_validation = None if bank is None or validation is None else bank_scores(bank, validation, weight)
    results = []
    for name in settings.names:
        beta = settings.beta
        if beta is None:
            if validation is None:
                raise ValueError(
                    "the inverse temperature is chosen on the validation split, which is missing"
                )
            beta = choose_beta(name, validation, weight, of_validation)
        used = bank if name in WITH_BANK else None
        ranks = compute_ranks(normalise(name, scores, beta, own), owners)
        results.append(
            NormalisedResults(
                normalisation=name,
                beta=beta,
                beta_chosen_on=validation_split if settings.beta is None else None,
                bank_captions=None if used is None else len(used.captions),
                bank_videos=None if used is None else len(used.videos),
                metrics=metrics_of_ranks(ranks, metrics),
                intervals=intervals_if_wanted(ranks, owners, metrics, resamples),
            )
        )
    return results


def bank_scores(bank: EncodedQueries, encoded: EncodedQueries, weight: float | None) -> Bank:
    """Return the scores of a bank, its captions without translations, and the candidates of both directions.

    Args:
        bank: The captions of the bank and their videos.
        encoded: The captions and the videos to rank.
        weight: The weight of the captions to rank against their translations, if these are fused.
    """
    return Bank(
        captions=embedding_scores(bank.captions, encoded.videos),
        videos=embedding_scores(bank.videos, encoded.fused(weight)),
    )


def normalise(name: Normalisation, scores: Scores, beta: float, bank: Bank | None) -> Scores:
    """Return normalised scores.

    Args:
        name: The normalisation.
        scores: (N, M) The scores.
        beta: The inverse temperature.
        bank: The scores of the bank, for a normalisation with a bank.
    """
    if name == "dual-softmax":
        return DualSoftmaxScores(scores, beta)
    if name == "sinkhorn":
        return sinkhorn(scores, beta)
    if bank is None:
        raise ValueError(f"{name} needs a bank")
    return inverted_softmax(scores, bank, beta, dynamic=name == "dynamic-inverted-softmax")


def choose_beta(
    name: Normalisation, encoded: EncodedQueries, weight: float | None, bank: Bank | None
) -> float:
    """Return the inverse temperature of `BETAS` with the highest SumR.

    Args:
        name: The normalisation.
        encoded: The queries of the validation split.
        weight: The weight of the queries against their translations, if these are fused.
        bank: The scores of the bank, for a normalisation with a bank.
    """
    scores = embedding_scores(encoded.fused(weight), encoded.videos)

    def score(beta: float) -> float:
        return sum_recalls(normalise(name, scores, beta, bank), encoded)

    return choose_best(BETAS, score, PUBLISHED_BETA)
