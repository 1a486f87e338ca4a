"""The results of one evaluation in one target language, as they are printed and stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mlcmr.data.collection import same_collection
from mlcmr.evaluation.intervals import RetrievalIntervals
from mlcmr.evaluation.metrics import RetrievalMetrics
from mlcmr.evaluation.report.examples import RankedQueries

_NOT_STORED = ("fused", "target_only", "ranked")


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
        fusion_weight: The weight of the caption itself in the fusion; None without translations.
        fusion_weight_chosen_on: The split that chose the fusion weight; None for a weight that was given and
            for the published weight.
        published: The published figures of this setting, if there are any.
        trained_on: The collection that the model was trained on; None if it is not known.
        validated_on: The split of that collection that chose the checkpoint.
        versions: The versions of the packages that computed the results, by name.
        seed: The seed of the run.
        run: The run folder.
        queries_digest: The SHA-256 of the ids of the captions and videos; only runs that ranked the same
            queries can be compared in pairs.
        intervals: The confidence intervals of the metrics that the protocol reports, if they were computed.
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
    fusion_weight_chosen_on: str | None = None
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
        return f"{self.fusion_weight:g}" + (f", chosen on {chosen}" if chosen else "")

    def scored(self) -> dict[str, RetrievalMetrics]:
        """Return the metrics by the way of scoring: `fused` if there are translations, and `target only`."""
        fused = {"fused": self.fused} if self.fused else {}
        return {**fused, "target only": self.target_only}

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
        stored["intervals"] = self.intervals and self.intervals.to_dict()
        return stored
