"""`mlcmr reproduce`: train and evaluate recipes, and compare the results with the published ones."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlcmr.arguments import check_arguments
from mlcmr.data.text_table import TextTable
from mlcmr.errors import InvalidValueError
from mlcmr.evaluation.intervals import RetrievalIntervals
from mlcmr.evaluation.metrics import RetrievalMetrics
from mlcmr.evaluation.pipeline import evaluate
from mlcmr.evaluation.reference_results import published_results
from mlcmr.evaluation.report import formats
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.text import printable
from mlcmr.training.config import TrainConfig
from mlcmr.training.recipes import RECIPES, read_recipe
from mlcmr.training.run_training import train

_SPLIT = "test"


@dataclass(frozen=True)
class ReproducedRow:
    """A published row beside the results of a training here.

    Attributes:
        recipe: The recipe.
        target: The target language.
        run: The run folder.
        published: The published figures.
        metrics: The figures of the run.
        intervals: Their intervals, of a bootstrap over videos.
    """

    recipe: str
    target: str
    run: str
    published: RetrievalMetrics
    metrics: RetrievalMetrics
    intervals: RetrievalIntervals

    @property
    def verdict(self) -> Literal["within", "above", "below"]:
        """The place of the published SumR: within, above or below the interval of the run."""
        low, high = self.intervals.sum_recalls
        if self.published.sum_recalls > high:
            return "above"
        return "below" if self.published.sum_recalls < low else "within"


@dataclass(frozen=True)
class Reproduction:
    """The published rows beside the results of trainings here; `str` gives the table.

    Attributes:
        rows: The rows.
    """

    rows: tuple[ReproducedRow, ...]

    def to(self, kind: str) -> str:
        """Return the table as `text`, `markdown`, `latex`, `html` or `json`.

        Raises:
            InvalidValueError: If `kind` is another format.
        """
        return formats.convert(kind, self.table(), self.notes(), self.to_dict(), "Published and reproduced")

    def table(self) -> TextTable:
        """Return a table with a row for each recipe and target language."""
        columns = ["published SumR", "SumR", "95 % interval", "published is"]
        return TextTable(["recipe", "target"], columns, list(map(_cells, self.rows)))

    def notes(self) -> list[str]:
        """Return how to read the table."""
        return ["published is: within, above or below the interval, of a bootstrap over the test videos."]

    def to_dict(self) -> dict[str, Any]:
        """Return the rows as JSON holds them."""
        return {
            "format": 1,
            "rows": [
                {
                    "recipe": row.recipe,
                    "target": row.target,
                    "run": row.run,
                    "published": row.published.to_dict(),
                    "metrics": row.metrics.to_dict(),
                    "intervals": row.intervals.to_dict(),
                    "published_is": row.verdict,
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        return self.to("text")


def _cells(row: ReproducedRow) -> list[str]:
    low, high = row.intervals.sum_recalls
    return [
        printable(row.recipe),
        row.target,
        f"{row.published.sum_recalls:.1f}",
        f"{row.metrics.sum_recalls:.1f}",
        f"{low:.1f} – {high:.1f}",
        row.verdict,
    ]


@check_arguments
def reproduce(
    recipes: str | Sequence[str] = (),
    *,
    rootpath: str | os.PathLike[str] | None = None,
    runs: str | os.PathLike[str] | None = None,
    padding: Literal["masked", "published"] | None = None,
    epochs: int | None = None,
    progress: Progress = SILENT,
) -> Reproduction:
    """Train and evaluate recipes that have published results, and compare SumR.

    The same call continues after an interruption: finished trainings stay as they are.

    Example:
        >>> print(reproduce(["vatex/parallel"], rootpath="~/VisualSearch"))

    Args:
        recipes: The recipes, by path or by name; by default all that have published results.
        rootpath: The folder that holds the collections; by default that of each recipe.
        runs: The folder for the runs; by default each recipe names its own.
        padding: The padding of the model; by default that of each recipe. `published` gives every number of
            the published code.
        epochs: The largest number of epochs, to try the command out; by default that of each recipe.
        progress: The receiver of progress and messages.

    Raises:
        InvalidValueError: If a recipe has no published results.
        MlcmrError: If a recipe or its data cannot be used; nothing is trained then. If a training fails.
    """
    changes: dict[str, Any] = {}
    if rootpath is not None:
        changes["rootpath"] = os.fspath(rootpath)
    if padding is not None:
        changes["model"] = {"padding": padding}
    if epochs is not None:
        changes["epochs"] = epochs
    named = [recipes] if isinstance(recipes, str) else list(recipes) or _published_recipes()
    configs = {recipe: _read(recipe, changes, runs) for recipe in named}
    rows: list[ReproducedRow] = []
    for place, (recipe, config) in enumerate(configs.items(), 1):
        progress.message(f"{recipe}: recipe {place} of {len(configs)}")
        run = train(config, progress=progress)
        targets = list(_published(config))
        results = evaluate(run, targets=targets, split=_SPLIT, rootpath=config.rootpath, progress=progress)
        for target, result in results.items():
            assert result.published is not None
            assert result.intervals is not None
            rows.append(
                ReproducedRow(
                    recipe, target, str(run.folder), result.published, result.main, result.intervals
                )
            )
    return Reproduction(tuple(rows))


def _published_recipes() -> list[str]:
    """Return the recipes of the package that have published results."""
    names = [str(path.relative_to(RECIPES).with_suffix("")) for path in sorted(RECIPES.rglob("*.yaml"))]
    return [name for name in names if _published(read_recipe(name, {}))]


def _published(config: TrainConfig) -> dict[str, RetrievalMetrics]:
    """Return the published figures of a recipe by target language."""
    found = {target: published_results(config, _SPLIT, target) for target in config.languages}
    return {target: figures for target, figures in found.items() if figures is not None}


def _read(recipe: str, changes: dict[str, Any], runs: str | os.PathLike[str] | None) -> TrainConfig:
    """Return the settings of a recipe; refuse a recipe without published results or without its data."""
    config = read_recipe(recipe, changes)
    if runs is not None:
        config.run = str(user_path(runs) / Path(config.run).name)
    if not _published(config):
        raise InvalidValueError(
            f"{recipe}: no published results of this collection, feature and scenario; choose from "
            f"{', '.join(_published_recipes())}",
            parameter="recipes",
        )
    config.require_names()
    config.open_collection().open_features(config.feature)
    config.read_queries(_SPLIT, list(_published(config)))
    return config
