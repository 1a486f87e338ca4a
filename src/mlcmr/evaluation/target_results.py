"""The results of one evaluation in one target language, as they are printed and stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from mlcmr.data.collection import same_collection
from mlcmr.evaluation.intervals import RetrievalIntervals
from mlcmr.evaluation.metrics import RetrievalMetrics
from mlcmr.evaluation.report.examples import RankedQueries
from mlcmr.text import plural

_NOT_STORED = ("fused", "target_only", "ranked", "normalised")


@dataclass(frozen=True)
class SeedVariation:
    """The variation of the figures between trainings with different seeds.

    Attributes:
        seeds: The seeds.
        deviations: The standard deviation of each metric between the runs, by the way of scoring; empty for
            a single run.
    """

    seeds: tuple[int, ...]
    deviations: Mapping[str, RetrievalMetrics]

    def __str__(self) -> str:
        return f"mean of {plural(len(self.seeds), 'seed')}: {', '.join(map(str, self.seeds))}"

    def to_dict(self) -> dict[str, Any]:
        """Return the variation as results.json holds it."""
        deviations = {name: metrics.to_dict() for name, metrics in self.deviations.items()}
        return {"seeds": list(self.seeds), "deviations": deviations}


@dataclass(frozen=True)
class NormalisedResults:
    """The metrics of normalised scores.

    Attributes:
        normalisation: The name of the normalisation.
        beta: The inverse temperature β; its mean, if each seed has chosen one.
        beta_chosen_on: The split that chose β; None if β was given.
        bank_captions: The number of captions of the bank; None for a normalisation without a bank.
        bank_videos: The number of videos of the bank.
        metrics: The metrics.
        intervals: The confidence intervals of the metrics, if they were computed.
    """

    normalisation: str
    beta: float
    beta_chosen_on: str | None
    bank_captions: int | None
    bank_videos: int | None
    metrics: RetrievalMetrics
    intervals: RetrievalIntervals | None = None

    @property
    def uses_all_test_queries(self) -> bool:
        """True if the other queries of the split change the scores of a query."""
        return self.bank_captions is None

    def __str__(self) -> str:
        chosen = f", chosen on {self.beta_chosen_on}" if self.beta_chosen_on else ""
        bank = " · uses all test queries"
        if self.bank_captions is not None and self.bank_videos is not None:
            bank = f" · bank of {plural(self.bank_captions, 'caption')}, {plural(self.bank_videos, 'video')}"
        return f"{self.normalisation}: β {self.beta:.3g}{chosen}{bank}"

    def to_dict(self) -> dict[str, Any]:
        """Return the results as results.json holds them."""
        return {known.name: getattr(self, known.name) for known in fields(self)} | {
            "metrics": self.metrics.to_dict(),
            "intervals": self.intervals and self.intervals.to_dict(),
        }


@dataclass(frozen=True)
class TargetResults:
    """The metrics of a model on a split in one target language, beside chance and published figures.

    Attributes:
        collection: The name of the collection.
        feature: The frame feature.
        split: The split that was evaluated.
        target: The language of the queries.
        scenario: The scenario of the training.
        queries: The number of captions N.
        videos: The number of videos M.
        captions_per_video: N / M.
        target_only: The metrics of the captions alone.
        chance: The metrics to expect of random scores.
        fused: The metrics of captions fused with their translations; None without translations.
        fusion_weight: The weight of the caption itself in the fusion; None without translations. Its mean, if
            each seed has chosen a weight.
        fusion_weight_chosen_on: The split that chose the fusion weight; None for a weight that was given and
            for the published weight.
        published: The published figures of this setting, if there are any.
        trained_on: The collection that the model was trained on; None if it is not known.
        validated_on: The split of that collection that chose the checkpoint.
        versions: The versions of the packages that computed the results, by name.
        seed: The seed of the run; None for several seeds.
        seeds: The variation between seeds, if the figures are means of runs with several seeds.
        run: The run folder.
        queries_digest: The SHA-256 of the ids of the captions and videos; only runs that ranked the same
            queries can be compared in pairs.
        intervals: The confidence intervals of the metrics that the protocol reports, if they were computed.
        target_only_intervals: Those of `target_only`, if they were computed.
        normalised: The metrics of normalised scores, those that use all test queries included.
        ranked: The ranks of all queries, and the best and worst queries; not stored in results.json, but the
            ranks are in ranks.npz.
    """

    collection: str
    feature: str
    split: str
    target: str
    scenario: str
    queries: int
    videos: int
    captions_per_video: float
    target_only: RetrievalMetrics
    chance: RetrievalMetrics
    fused: RetrievalMetrics | None = None
    fusion_weight: float | None = None
    published: RetrievalMetrics | None = None
    trained_on: str | None = None
    validated_on: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    run: str | None = None
    queries_digest: str | None = None
    intervals: RetrievalIntervals | None = None
    target_only_intervals: RetrievalIntervals | None = None
    seeds: SeedVariation | None = None
    fusion_weight_chosen_on: str | None = None
    normalised: Sequence[NormalisedResults] = ()
    ranked: RankedQueries | None = field(default=None, repr=False, compare=False)

    @property
    def main(self) -> RetrievalMetrics:
        """The metrics that the protocol reports: fused if there are translations."""
        return self.fused or self.target_only

    @property
    def t2v(self) -> Mapping[str, float]:
        """The text-to-video metrics that the protocol reports, by name."""
        return self.main.t2v

    @property
    def v2t(self) -> Mapping[str, float]:
        """The video-to-text metrics that the protocol reports, by name."""
        return self.main.v2t

    @property
    def sum_recalls(self) -> float:
        """The SumR that the protocol reports."""
        return self.main.sum_recalls

    @property
    def names(self) -> list[str]:
        """The names of the metrics, in the order of the table."""
        return list({**self.t2v, **self.v2t})

    @property
    def chosen_on(self) -> str | None:
        """The split that chose the checkpoint, after the name of its collection if that is another one."""
        if self.trained_on is None or same_collection(self.trained_on, self.collection):
            return self.validated_on
        return f"{self.trained_on} {self.validated_on}"

    @property
    def described_weight(self) -> str | None:
        """The fusion weight, as `0.7, chosen on val`; None without translations."""
        if self.fusion_weight is None:
            return None
        chosen = self.fusion_weight_chosen_on
        return f"{self.fusion_weight:.3g}" + (f", chosen on {chosen}" if chosen else "")

    def scored(self) -> dict[str, RetrievalMetrics]:
        """Return the metrics by the way of scoring.

        These are `fused` if there are translations, `target only`, and the normalisations with a bank.
        """
        fused = {"fused": self.fused} if self.fused else {}
        normalised = {
            each.normalisation: each.metrics for each in self._normalised(uses_all_test_queries=False)
        }
        return {**fused, "target only": self.target_only, **normalised}

    def intervals_of(self, label: str) -> RetrievalIntervals | None:
        """Return the confidence intervals of a way of scoring, if they were computed.

        Args:
            label: The way of scoring, as `scored` and `using_all_test_queries` name it.
        """
        known = {each.normalisation: each.intervals for each in self.normalised}
        return {"fused": self.intervals, "target only": self.target_only_intervals, **known}[label]

    def using_all_test_queries(self) -> dict[str, RetrievalMetrics]:
        """Return the metrics of the normalisations that use all test queries, by name.

        They must not be compared with the metrics of queries that are ranked one by one.
        """
        return {each.normalisation: each.metrics for each in self._normalised(uses_all_test_queries=True)}

    def _normalised(self, *, uses_all_test_queries: bool) -> list[NormalisedResults]:
        return [each for each in self.normalised if each.uses_all_test_queries == uses_all_test_queries]

    def to_dict(self) -> dict[str, Any]:
        """Return the results as results.json holds them."""
        stored = {
            known.name: getattr(self, known.name) for known in fields(self) if known.name not in _NOT_STORED
        }
        stored["metrics"] = {
            "fused": self.fused and self.fused.to_dict(),
            "target_only": self.target_only.to_dict(),
        }
        stored["chance"] = self.chance.to_dict(self.names)
        stored["published"] = self.published and self.published.to_dict(self.names)
        stored["versions"] = dict(self.versions)
        for name in ("intervals", "target_only_intervals", "seeds"):
            stored[name] = part.to_dict() if (part := getattr(self, name)) else None
        stored["normalised"] = [each.to_dict() for each in self._normalised(uses_all_test_queries=False)]
        stored["uses_all_test_queries"] = [
            each.to_dict() for each in self._normalised(uses_all_test_queries=True)
        ]
        return stored
