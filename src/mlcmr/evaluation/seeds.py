"""The results of runs with several seeds: the mean of each figure, and how much it varies."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from mlcmr.data.run_settings import runs_of_seeds
from mlcmr.evaluation.metrics import RetrievalMetrics, combine_metrics, mean_metrics
from mlcmr.evaluation.path_or_run import PathOrRun, folder_of
from mlcmr.evaluation.report.html import write_report
from mlcmr.evaluation.results import EvaluationResults
from mlcmr.evaluation.target_results import SeedVariation, TargetResults
from mlcmr.files import write_text
from mlcmr.model.protocol import TextVideoModel

_Evaluate = TypeVar("_Evaluate", bound=Callable[..., EvaluationResults])


def for_each_seed(evaluate: _Evaluate) -> _Evaluate:
    """Let a function that evaluates a run also take the folder of a training with several seeds.

    Each run is evaluated. The results are the means, written into the folder of the training.
    """

    @wraps(evaluate)
    def evaluated(run: PathOrRun | TextVideoModel, *args: Any, **settings: Any) -> EvaluationResults:
        folder = folder_of(run)
        runs = [] if folder is None else runs_of_seeds(folder)
        if folder is None or not runs:
            return evaluate(run, *args, **settings)
        each = [evaluate(one, *args, **settings) for one in runs]
        means = [average([one[target] for one in each], str(folder)) for target in each[0]]
        texts = [
            replace(
                first,
                metrics=mean_metrics([one.text_to_text[place].metrics for one in each]),
                intervals=None,
            )
            for place, first in enumerate(each[0].text_to_text)
        ]
        results = EvaluationResults(means, folder, texts)
        _write(results, folder)
        return results

    return cast("_Evaluate", evaluated)


def average(results: Sequence[TargetResults], run: str) -> TargetResults:
    """Return the mean results of runs with several seeds, in one target language, and their variation.

    Args:
        results: The results of the runs.
        run: The folder that holds the runs.
    """
    first = results[0]
    weights = [one.fusion_weight for one in results if one.fusion_weight is not None]
    labels = [*first.scored(), *first.using_all_test_queries()]
    figures = {label: [_figures(one)[label] for one in results] for label in labels}
    return replace(
        first,
        target_only=mean_metrics([one.target_only for one in results]),
        fused=mean_metrics([one.fused for one in results if one.fused]) if first.fused else None,
        fusion_weight=float(np.mean(weights)) if weights else None,
        normalised=[
            replace(
                each,
                beta=float(np.mean([one.normalised[place].beta for one in results])),
                metrics=mean_metrics([one.normalised[place].metrics for one in results]),
                intervals=None,
            )
            for place, each in enumerate(first.normalised)
        ],
        run=run,
        seed=None,
        seeds=SeedVariation(
            tuple(one.seed for one in results if one.seed is not None),
            {label: _deviation(each) for label, each in figures.items()} if len(results) > 1 else {},
        ),
        intervals=None,
        target_only_intervals=None,
        ranked=None,
    )


def _figures(results: TargetResults) -> dict[str, RetrievalMetrics]:
    return {**results.scored(), **results.using_all_test_queries()}


def _deviation(each: Sequence[RetrievalMetrics]) -> RetrievalMetrics:
    """Return the standard deviation between runs, of a sample."""
    return combine_metrics(each, lambda values: float(np.std(values, ddof=1)))


def _write(results: EvaluationResults, folder: Path) -> None:
    write_text(folder / "results.json", json.dumps(results.to_dict(), indent=2, ensure_ascii=False) + "\n")
    write_report(folder / "report.html", list(results.values()), text_to_text=results.text_to_text)
