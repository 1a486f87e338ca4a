"""A comparison of runs: its figures, and the table that the command prints."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlcmr.data.text_table import TextTable
from mlcmr.evaluation.intervals import CONFIDENCE, Interval
from mlcmr.evaluation.report import formats
from mlcmr.text import plural

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Difference:
    """The difference between the figures of a run and of the first run.

    Attributes:
        value: The figure of the run minus that of the first run.
        interval: The interval of the difference, of a paired bootstrap over videos; with several seeds, over
            videos and seeds.
        p_value: The two-sided p-value of a paired permutation test, of this comparison alone; with several
            seeds, of the test min F′ over videos and seeds.
        corrected_p_value: The p-value corrected for all comparisons of the table, by the method of Holm.
    """

    value: float
    interval: Interval
    p_value: float
    corrected_p_value: float

    @property
    def is_significant(self) -> bool:
        """True if the corrected p-value is below 0.05."""
        return self.corrected_p_value < SIGNIFICANCE


@dataclass(frozen=True)
class Figure:
    """A figure of a run.

    Attributes:
        value: The value of the metric; the mean of several seeds.
        interval: Its interval, of a bootstrap over videos; with several seeds, over videos and seeds.
        difference: The difference to the first run; None for the first run itself.
    """

    value: float
    interval: Interval
    difference: Difference | None


@dataclass(frozen=True)
class ComparedMetric:
    """A metric of all runs.

    Attributes:
        target: The target language.
        direction: `t2v`, `v2t`, or `both` for SumR.
        name: The name of the metric.
        format: The format of a printed value.
        higher_is_better: Whether a higher value is better.
        figures: The figures of the runs, in their order.
    """

    target: str
    direction: str
    name: str
    format: str
    higher_is_better: bool
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Comparison:
    """A comparison of runs; `str` gives the table that the command prints.

    Example:
        >>> comparison = mlcmr.compare(["runs/mine", "runs/theirs"])
        >>> print(comparison.to("markdown"))

    Attributes:
        runs: The runs, as they were named.
        metrics: The metrics, by target language and direction.
        resamples: The number of bootstrap resamples.
        permutations: The number of permutations of the test.
        seed: The seed of both.
        confidence: The confidence of the intervals.
        seeds: The number of trained models of each run: 1, or the number of its seeds.
    """

    runs: tuple[str, ...]
    metrics: tuple[ComparedMetric, ...]
    resamples: int
    permutations: int
    seed: int
    confidence: float = CONFIDENCE
    seeds: tuple[int, ...] = ()

    def to(self, kind: str) -> str:
        """Return the comparison as `text`, `markdown`, `latex`, `html` or `json`.

        Raises:
            InvalidValueError: If `kind` is another format.
        """
        return formats.convert(kind, self.table(), self.notes(), self.to_dict(), "Comparison of runs")

    def table(self) -> TextTable:
        """Return a table with a row for each metric; a run has its figure, its difference and the p-value."""
        first, *others = self.runs
        columns = [first, *(name for run in others for name in (run, "difference", "p"))]
        rows = [
            [
                one.target,
                one.direction,
                one.name,
                *(cell for figure in one.figures for cell in _cells(one, figure)),
            ]
            for one in self.metrics
        ]
        return TextTable(["target", "direction", "metric"], columns, rows)

    def notes(self) -> list[str]:
        """Return how to read the table."""
        tests = plural((len(self.runs) - 1) * len(self.metrics), "comparison")
        permutations = plural(self.permutations, "permutation")
        test = f"paired permutation test over the videos, {permutations}"
        if max(self.seeds, default=1) > 1:
            by_seeds = "min F′ over videos and seeds"
            pair_of_single_runs = self.seeds[0] == 1 in self.seeds[1:]
            test = f"{by_seeds}; between single runs, {test}" if pair_of_single_runs else by_seeds
        interval = (
            f"{100 * self.confidence:g} % interval, of {plural(self.resamples, 'resample')} of the videos"
        )
        means = [
            f"{run}: mean of {count} seeds; ± and p count the variation of videos and of seeds (min F′)."
            for run, count in zip(self.runs, self.seeds, strict=False)
            if count > 1
        ]
        return [
            *means,
            f"±: half the width of the {interval}.",
            f"difference: to {self.runs[0]}.",
            f"p: {test}, corrected for {tests} (Holm).",
            f"*: p below {SIGNIFICANCE:g}.",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON holds it."""
        return {
            "format": 1,
            "runs": list(self.runs),
            "seeds": list(self.seeds),
            "confidence": self.confidence,
            "resamples": self.resamples,
            "permutations": self.permutations,
            "seed": self.seed,
            "metrics": [
                {
                    "target": metric.target,
                    "direction": metric.direction,
                    "metric": metric.name,
                    "higher_is_better": metric.higher_is_better,
                    "runs": [_figure_as_dict(figure) for figure in metric.figures],
                }
                for metric in self.metrics
            ],
        }

    def __str__(self) -> str:
        return self.to("text")


def _cells(metric: ComparedMetric, figure: Figure) -> Iterator[str]:
    """Yield the cells of a figure: itself and, for all runs but the first, its difference and p-value."""

    def show(value: float) -> str:
        return formats.format_value(value, metric.format)

    yield f"{show(figure.value)} ± {show(figure.interval.half_width)}"
    if found := figure.difference:
        sign = "+" if found.value > 0 else "−" if found.value < 0 else ""
        yield f"{sign}{show(abs(found.value))} ± {show(found.interval.half_width)}"
        yield f"{found.corrected_p_value:.2g}{' *' if found.is_significant else ''}"


def _figure_as_dict(figure: Figure) -> dict[str, Any]:
    stored: dict[str, Any] = {"value": figure.value, "interval": list(figure.interval), "difference": None}
    if figure.difference:
        stored["difference"] = {
            "value": figure.difference.value,
            "interval": list(figure.difference.interval),
            "p": figure.difference.p_value,
            "corrected_p": figure.difference.corrected_p_value,
        }
    return stored
