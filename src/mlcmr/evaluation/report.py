"""A run's results as one HTML page that needs nothing beside itself: no network, no fonts, no scripts."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from mlcmr.evaluation import figures
from mlcmr.evaluation.examples import RankedQueries
from mlcmr.evaluation.results import Results, RetrievalMetrics
from mlcmr.evaluation.table import COLUMNS, printed, rows_of
from mlcmr.files import write_text

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("mlcmr", "evaluation"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Drawing:
    """A drawing with its words.

    Attributes:
        title: what it shows.
        note: how to read it.
        svg: the drawing.
    """

    title: str
    note: str
    svg: Markup


def write_report(
    path: str | os.PathLike[str],
    evaluations: Sequence[tuple[Results, RankedQueries | None]],
    curves: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Writes the report of one or more evaluations of a run, whole or not at all.

    Args:
        path: the HTML file.
        evaluations: what was measured, and the ranks with some queries to look at.
        curves: the records of the run's metrics.jsonl: training records with `step`, `examples`, `loss`, `lr`
            and the terms of the loss, validation records with `epoch`, `val/score` and `val/<language>`.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(path, render_report(evaluations, curves))


def render_report(
    evaluations: Sequence[tuple[Results, RankedQueries | None]],
    curves: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page that `write_report` writes."""
    return _TEMPLATES.get_template("report.html.jinja").render(
        evaluations=[
            {
                "results": results,
                "headline": _headline(results.main, results.chance),
                "rows": rows_of(results),
                "ranking": _ranking(queries, f"target-{number}-") if queries else [],
                "queries": queries,
            }
            for number, (results, queries) in enumerate(evaluations, 1)
        ],
        settings=_settings([results for results, _ in evaluations]),
        versions={name: version for results, _ in evaluations for name, version in results.versions.items()},
        columns=COLUMNS,
        printed=printed,
        learning=_learning(curves),
    )


def _headline(metrics: RetrievalMetrics, chance: RetrievalMetrics) -> list[tuple[str, str, str]]:
    """The figures to see first: name, value, what chance gives."""
    pairs = {
        "SumR": (metrics.sum_recalls, chance.sum_recalls),
        "t2v R@1": (metrics.t2v.recall_1, chance.t2v.recall_1),
        "t2v R@10": (metrics.t2v.recall_10, chance.t2v.recall_10),
        "v2t R@1": (metrics.v2t.recall_1, chance.v2t.recall_1),
        "v2t R@10": (metrics.v2t.recall_10, chance.v2t.recall_10),
    }
    return [(name, f"{value:.1f}", f"{expected:.1f}") for name, (value, expected) in pairs.items()]


def _settings(evaluations: Sequence[Results]) -> list[tuple[str, str]]:
    """Settings by name; where the evaluations differ, what each of them has."""
    each = [_settings_of(results) for results in evaluations]
    values = {name: dict.fromkeys(settings[name] for settings in each) for name in each[0]}
    return [(name, " · ".join(known)) for name in values if (known := [one for one in values[name] if one])]


def _settings_of(results: Results) -> dict[str, str | None]:
    weight = "none: no translations" if results.fusion_weight is None else f"{results.fusion_weight:g}"
    return {
        "run": results.run,
        "collection": results.collection,
        "feature": results.feature,
        "scenario": results.scenario,
        "split": results.split,
        "target": results.target,
        "captions": f"{results.queries:,}",
        "videos": f"{results.videos:,}",
        "captions per video": f"{results.captions_per_video:.4g}",
        "fusion weight": weight,
        "checkpoint chosen on": results.chosen_on,
        "seed": None if results.seed is None else str(results.seed),
    }


def _learning(curves: Sequence[Mapping[str, Any]]) -> list[Drawing]:
    steps = [record for record in curves if "loss" in record]
    epochs = [record for record in curves if "val/score" in record]
    drawings = []
    if steps:
        full = _of_full_batches(steps)
        at = _column(full, "step")
        smooth = len(full) >= figures.SMOOTH_FROM
        note = "Of full batches, and its running mean." if smooth else "Of full batches."
        drawings.append(_drawing("Loss", note, figures.loss_curve(at, _column(full, "loss"))))
        names = [name for name in full[0] if name not in ("step", "epoch", "examples", "loss", "lr")]
        if len(names) > 1:
            terms = {name: _column(full, name) for name in names}
            what = "Running means over full batches." if smooth else "Of full batches."
            note = f"{what} → ranks captions and videos, ~ holds a view to its masked view."
            drawings.append(_drawing("Terms of the loss", note, figures.term_curves(at, terms)))
    if epochs:
        names = [name for name in epochs[0] if name.startswith("val/") and name != "val/score"]
        scores = {name.removeprefix("val/"): _column(epochs, name) for name in names or ["val/score"]}
        note = "Each language by itself, after every epoch; the checkpoint with the best sum is the result."
        total = _column(epochs, "val/score")
        drawing = figures.validation_curves(_column(epochs, "epoch"), scores, total)
        drawings.append(_drawing("Validation score", note, drawing))
    rated = [record for record in steps if "lr" in record]
    if rated:
        drawing = figures.rate_curve(_column(rated, "step"), _column(rated, "lr"))
        drawings.append(_drawing("Learning rate", "By step.", drawing))
    return drawings


def _of_full_batches(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without the last batches of epochs that were short: losses are sums, and would dip there."""
    sizes = _column(steps, "examples")
    full = max((size for size in sizes if math.isfinite(size)), default=-math.inf)
    return [record for record, size in zip(steps, sizes, strict=True) if not size < full]


def _ranking(queries: RankedQueries, prefix: str) -> list[Drawing]:
    directions = {"t2v": queries.ranks.t2v, "v2t": queries.ranks.v2t}
    note = "The share of queries with a right answer among the first K. Dots: R@1, R@5, R@10."
    drawings = [_drawing("Recall at K", note, figures.recall_curves(directions, prefix))]
    for name, ranks in directions.items():
        what = {"t2v": "Rank of each caption's video", "v2t": "Best rank among each video's captions"}[name]
        note = f"Share of queries by rank, of {ranks.candidates:,}. Strokes: what chance gives."
        drawings.append(_drawing(f"{what} ({name})", note, figures.rank_histogram(name, ranks, prefix)))
    return drawings


def _column(records: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    values = (record.get(name) for record in records)
    return [float(value) if isinstance(value, int | float) else math.nan for value in values]


def _drawing(title: str, note: str, svg: str) -> Drawing:
    return Drawing(title, note, Markup(svg))  # noqa: S704 - drawn here; texts in it are escaped by Matplotlib
