"""The report of a run: one HTML page without scripts, fonts or anything from the network."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from markupsafe import Markup

from mlcmr.evaluation.metrics import Metric, RetrievalMetrics
from mlcmr.evaluation.ranks import RetrievalRanks
from mlcmr.evaluation.report import figures
from mlcmr.evaluation.report.table import (
    ALL_QUERIES,
    columns_of,
    printed,
    rows_of,
    rows_of_all,
    rows_of_texts,
    rows_with_all_queries,
)
from mlcmr.evaluation.report.templates import TEMPLATES
from mlcmr.evaluation.report.thumbnails import Thumbnails
from mlcmr.evaluation.target_results import TargetResults
from mlcmr.evaluation.text_to_text import TextToTextResults
from mlcmr.files import write_text

_RECALL = re.compile(r"R@([0-9]+)")


@dataclass(frozen=True)
class Drawing:
    """A drawing with its title.

    Attributes:
        title: The content of the drawing.
        note: How to read the drawing.
        svg: The drawing.
    """

    title: str
    note: str
    svg: Markup


def write_report(
    path: str | os.PathLike[str],
    results: Sequence[TargetResults],
    curves: Sequence[Mapping[str, Any]] = (),
    text_to_text: Sequence[TextToTextResults] = (),
    thumbnails: Thumbnails | None = None,
) -> None:
    """Write the report of an evaluation of a run; a write that fails leaves an old report as it is.

    Args:
        path: The HTML file.
        results: The results of each target language.
        curves: The records of the run's metrics.jsonl. Training records have `step`, `examples`, `loss`, `lr`
            and the terms of the loss; validation records have `epoch`, `val/score` and `val/<language>`.
        text_to_text: The results of text-to-text retrieval.
        thumbnails: The thumbnails of the videos; by default the examples have none.

    Raises:
        MlcmrError: If the file cannot be written.
    """
    write_text(path, render_report(results, curves, text_to_text, thumbnails))


def render_report(
    results: Sequence[TargetResults],
    curves: Sequence[Mapping[str, Any]] = (),
    text_to_text: Sequence[TextToTextResults] = (),
    thumbnails: Thumbnails | None = None,
) -> str:
    """Return the page that `write_report` writes."""
    columns = columns_of(results)
    cutoffs = _cutoffs(columns)
    return TEMPLATES.get_template("report.html.jinja").render(
        evaluations=[
            {
                "results": result,
                "headline": _headline(result, cutoffs),
                "rows": rows_of(result),
                "rows_with_all_queries": rows_with_all_queries(result),
                "ranking": _ranking(result.ranked.ranks, cutoffs, f"target-{number}-")
                if result.ranked
                else [],
            }
            for number, result in enumerate(results, 1)
        ],
        rows_of_all=rows_of_all(results),
        text_to_text=[(result, rows_of_texts(result)) for result in text_to_text],
        settings=_settings(results),
        versions={name: version for result in results for name, version in result.versions.items()},
        columns=columns,
        all_queries=ALL_QUERIES,
        others=[
            name for name in columns if name not in ("MedR", "MnR", "mAP") and not _RECALL.fullmatch(name)
        ],
        printed=printed,
        thumbnails=thumbnails or Thumbnails(),
        learning=_learning(curves),
    )


def _cutoffs(columns: Mapping[str, Metric]) -> list[int]:
    """Return the values of K of the columns R@K."""
    return [int(recall[1]) for name in columns if (recall := _RECALL.fullmatch(name))]


def _headline(results: TargetResults, cutoffs: Sequence[int]) -> list[tuple[str, str, str]]:
    """Return the most important figures: SumR and the first and the last R@K, as (name, value, note)."""
    names = [f"R@{cutoff}" for cutoff in dict.fromkeys((cutoffs[0], cutoffs[-1]))]

    def figures_of(metrics: RetrievalMetrics) -> list[tuple[str, str]]:
        found = [("SumR", metrics.sum_recalls)]
        for direction, values in (("t2v", metrics.t2v), ("v2t", metrics.v2t)):
            found += [(f"{direction} {name}", values[name]) for name in names]
        return [(name, f"{value:.1f}") for name, value in found]

    notes = [f"chance {value}" for _, value in figures_of(results.chance)]
    if results.intervals:
        widths = [value for _, value in figures_of(results.intervals.half_widths)]
        notes = [f"± {width} · {note}" for width, note in zip(widths, notes, strict=True)]
    if results.seeds and results.seeds.deviations:
        deviations = figures_of(next(iter(results.seeds.deviations.values())))
        notes = [f"± {value} · {note}" for (_, value), note in zip(deviations, notes, strict=True)]
    return [(*figure, note) for figure, note in zip(figures_of(results.main), notes, strict=True)]


def _settings(results: Sequence[TargetResults]) -> list[tuple[str, str]]:
    """Return the settings by name; a setting that differs between targets has several values."""
    each = [_settings_of(result) for result in results]
    values = {name: dict.fromkeys(settings[name] for settings in each) for name in each[0]}
    return [(name, " · ".join(known)) for name in values if (known := list(filter(None, values[name])))]


def _settings_of(results: TargetResults) -> dict[str, str | None]:
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
        "fusion weight": results.described_weight or "none: no translations",
        "checkpoint chosen on": results.chosen_on,
        "seed": None if results.seed is None else str(results.seed),
        "seeds": ", ".join(map(str, results.seeds.seeds)) if results.seeds else None,
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
        found = dict.fromkeys(chain.from_iterable(full))
        names = [name for name in found if name not in ("step", "epoch", "examples", "loss", "lr", "time")]
        if len(names) > 1:
            terms = {name: _column(full, name) for name in names}
            what = "Running means over full batches." if smooth else "Of full batches."
            note = f"{what} → ranks captions and videos, ~ compares a view with its masked view."
            drawings.append(_drawing("Terms of the loss", note, figures.term_curves(at, terms)))
    if epochs:
        names = [name for name in epochs[0] if name.startswith("val/") and name != "val/score"]
        scores = {name.removeprefix("val/"): _column(epochs, name) for name in names or ["val/score"]}
        note = "Each language alone, after every epoch; the checkpoint with the best sum is kept."
        total = _column(epochs, "val/score")
        drawing = figures.validation_curves(_column(epochs, "epoch"), scores, total)
        drawings.append(_drawing("Validation score", note, drawing))
    rated = [record for record in steps if "lr" in record]
    if rated:
        drawing = figures.rate_curve(_column(rated, "step"), _column(rated, "lr"))
        drawings.append(_drawing("Learning rate", "By step.", drawing))
    return drawings


def _of_full_batches(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out the short last batch of each epoch: its loss, a sum over the batch, is lower."""
    sizes = _column(steps, "examples")
    full = max((size for size in sizes if math.isfinite(size)), default=-math.inf)
    return [record for record, size in zip(steps, sizes, strict=True) if not size < full]


def _ranking(ranks: RetrievalRanks, cutoffs: Sequence[int], prefix: str) -> list[Drawing]:
    directions = {"t2v": ranks.t2v, "v2t": ranks.v2t}
    dots = ", ".join(f"R@{cutoff}" for cutoff in cutoffs)
    note = f"The share of queries with a relevant result among the first K. Dots: {dots}."
    drawings = [_drawing("Recall at K", note, figures.recall_curves(directions, cutoffs, prefix))]
    for name, direction in directions.items():
        title = {"t2v": "Rank of each caption's video", "v2t": "Best rank among each video's captions"}[name]
        note = f"The share of queries by rank, of {direction.candidates:,}. Strokes: chance."
        drawings.append(_drawing(f"{title} ({name})", note, figures.rank_histogram(name, direction, prefix)))
    return drawings


def _column(records: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    values = (record.get(name) for record in records)
    return [float(value) if isinstance(value, int | float) else math.nan for value in values]


def _drawing(title: str, note: str, svg: str) -> Drawing:
    return Drawing(title, note, Markup(svg))  # noqa: S704 - drawn by Matplotlib, which escapes texts
