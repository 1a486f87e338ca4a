"""What an evaluation found, as it is printed and stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mlcmr.data.collection import same_collection


@dataclass(frozen=True)
class DirectionMetrics:
    """The metrics of one direction, text-to-video or video-to-text.

    Published tables leave some of them out; those are None.

    Attributes:
        recall_1: R@1, the percentage of queries whose rank is 1.
        recall_5: R@5, in percent.
        recall_10: R@10, in percent.
        median_rank: MedR, 1-based, x.5 between two ranks.
        mean_rank: MnR, 1-based.
        mean_precision: mAP, in percent.
    """

    recall_1: float = field(metadata={"name": "R@1"})
    recall_5: float = field(metadata={"name": "R@5"})
    recall_10: float = field(metadata={"name": "R@10"})
    median_rank: float | None = field(default=None, metadata={"name": "MedR"})
    mean_rank: float | None = field(default=None, metadata={"name": "MnR"})
    mean_precision: float | None = field(default=None, metadata={"name": "mAP"})

    def to_dict(self) -> dict[str, float | None]:
        """The metrics by the names the field prints: R@1, R@5, R@10, MedR, MnR, mAP."""
        return {one.metadata["name"]: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True)
class RetrievalMetrics:
    """The metrics of both directions.

    Attributes:
        t2v: text-to-video.
        v2t: video-to-text.
        printed_sum: SumR as published, where it was added before the recalls were rounded.
    """

    t2v: DirectionMetrics
    v2t: DirectionMetrics
    printed_sum: float | None = None

    @property
    def sum_recalls(self) -> float:
        """SumR, the six recalls added: 600 is perfect."""
        if self.printed_sum is not None:
            return self.printed_sum
        return sum(one.recall_1 + one.recall_5 + one.recall_10 for one in (self.t2v, self.v2t))

    def to_dict(self) -> dict[str, Any]:
        """The metrics as JSON holds them, with `SumR` beside `t2v` and `v2t`."""
        return {"t2v": self.t2v.to_dict(), "v2t": self.v2t.to_dict(), "SumR": self.sum_recalls}


@dataclass(frozen=True)
class Results:
    """One evaluation: what was measured on what, and the figures to hold it against.

    Attributes:
        collection: its name.
        feature: the frame feature.
        split: the split that was measured.
        target: the language of the queries.
        scenario: the scenario the model was trained in.
        queries: the number of captions N.
        videos: the number of videos M.
        captions_per_video: N / M.
        target_only: the metrics of the captions scored by themselves.
        chance: the metrics to expect of random scores.
        fused: the metrics of captions fused with their translations; None without translations.
        fusion_weight: the weight of the caption itself in the fusion; None without translations.
        published: the published figures of this setting, when there are any.
        trained_on: the collection the model was trained on; None where it is not known.
        validated_on: the split of that collection that chose the checkpoint.
        versions: what computed them, by name.
        seed: the seed of the run.
        run: the run's name or folder.
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

    @property
    def main(self) -> RetrievalMetrics:
        """The metrics that the protocol reports: fused where there are translations."""
        return self.fused or self.target_only

    @property
    def chosen_on(self) -> str | None:
        """What chose the checkpoint: the split, after the collection's name where that is another one."""
        if self.trained_on is None or same_collection(self.trained_on, self.collection):
            return self.validated_on
        return f"{self.trained_on} {self.validated_on}"

    def to_dict(self) -> dict[str, Any]:
        """The results as results.json holds them."""
        stored = {one.name: getattr(self, one.name) for one in fields(self)}
        metrics = {name: stored.pop(name) for name in ("fused", "target_only")}
        stored["metrics"] = {name: one and one.to_dict() for name, one in metrics.items()}
        stored["chance"] = self.chance.to_dict()
        stored["published"] = self.published and self.published.to_dict()
        stored["versions"] = dict(self.versions)
        return stored
