"""What an evaluation found, as it is printed and stored."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Self

from mlcmr.errors import UserError


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

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` gives; MedR, MnR and mAP may be missing.

        Raises:
            UserError: a recall is missing, or a value is not a number.
        """
        values: dict[str, Any] = {}
        for one in fields(cls):
            name = one.metadata["name"]
            value = stored.get(name)
            if value is None and name.startswith("R@"):
                raise UserError(f"results: {name} is missing")
            values[one.name] = value if value is None else _number(name, value)
        return cls(**values)


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

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` gives; `SumR` may be missing.

        Raises:
            UserError: a direction or a recall is missing, or a value is not a number.
        """
        metrics = cls(
            t2v=DirectionMetrics.from_dict(_mapping("the metrics of t2v", stored.get("t2v"))),
            v2t=DirectionMetrics.from_dict(_mapping("the metrics of v2t", stored.get("v2t"))),
        )
        stated = stored.get("SumR")
        if stated is None or stated == metrics.sum_recalls:
            return metrics
        return replace(metrics, printed_sum=_number("SumR", stated))


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
        validated_on: the split that chose the checkpoint.
        target_only: the metrics of the captions scored by themselves.
        chance: the metrics to expect of random scores.
        fused: the metrics of captions fused with their translations; None without translations.
        fusion_weight: the weight of the caption itself in the fusion; None without translations.
        published: the published figures of this setting, when there are any.
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
    validated_on: str
    target_only: RetrievalMetrics
    chance: RetrievalMetrics
    fused: RetrievalMetrics | None = None
    fusion_weight: float | None = None
    published: RetrievalMetrics | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    run: str | None = None

    @property
    def main(self) -> RetrievalMetrics:
        """The metrics that the protocol reports: fused where there are translations."""
        return self.fused or self.target_only

    def to_dict(self) -> dict[str, Any]:
        """The results as results.json holds them."""
        stored = {one.name: getattr(self, one.name) for one in fields(self)}
        metrics = {name: stored.pop(name) for name in ("fused", "target_only")}
        stored["metrics"] = {name: one and one.to_dict() for name, one in metrics.items()}
        stored["chance"] = self.chance.to_dict()
        stored["published"] = self.published and self.published.to_dict()
        stored["versions"] = dict(self.versions)
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` gives.

        Raises:
            UserError: something is missing.
        """
        known = {**stored, **_mapping("'metrics'", stored.get("metrics"))}
        values: dict[str, Any] = {}
        for one in fields(cls):
            value = known.get(one.name)
            required = one.default is MISSING and one.default_factory is MISSING
            if value is None and required:
                raise UserError(f"results: '{one.name}' is missing")
            if one.name in ("target_only", "chance", "fused", "published") and value is not None:
                value = RetrievalMetrics.from_dict(_mapping(f"'{one.name}'", value))
            if value is not None:
                values[one.name] = value
        return cls(**values)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"results: {name} is {value!r}, expected a number")
    return value


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"results: {name} is missing")
    return value
