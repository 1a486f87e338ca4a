"""Compare runs that ranked the same queries: paired differences and their significance."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from mlcmr.arguments import check_arguments
from mlcmr.data.languages import language_among
from mlcmr.data.run_settings import runs_of_seeds
from mlcmr.errors import CorruptFileError, InvalidValueError, NotFoundError
from mlcmr.evaluation.comparison import ComparedMetric, Comparison, Difference, Figure
from mlcmr.evaluation.intervals import RESAMPLES, SEED, interval_of, require_resamples
from mlcmr.evaluation.metrics import (
    Metric,
    MetricFunction,
    RetrievalMetrics,
    Values,
    choose_metrics,
    metrics_of_ranks,
)
from mlcmr.evaluation.min_f import variance_over_seeds, variance_over_videos
from mlcmr.evaluation.path_or_run import PathOrRun, folder_of
from mlcmr.evaluation.query_differences import RunDifferences, find_differences
from mlcmr.evaluation.ranks import Ranks, RetrievalRanks
from mlcmr.evaluation.ranks_file import RANKS_FILE, StoredRanks, read_ranks
from mlcmr.evaluation.report.comparison_page import write_comparison_page
from mlcmr.evaluation.report.thumbnails import Thumbnails
from mlcmr.evaluation.resampling import ResampledMetrics, Resampler, blocks
from mlcmr.evaluation.stored_results import (
    StoredEvaluation,
    data_of_evaluation,
    read_evaluated_captions,
    read_results,
)
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.text import printable

PERMUTATIONS = 9_999
_EQUAL = 1e-9
"""Two sums of the same numbers in another order differ by less."""


@check_arguments
def compare(
    runs: Sequence[PathOrRun],
    *,
    targets: str | Sequence[str] | None = None,
    recall_at: Sequence[int] = (1, 5, 10),
    metrics: str | Sequence[str | MetricFunction] = (),
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = SEED,
    report: str | os.PathLike[str] | None = None,
    rootpath: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare evaluated runs with the first one, by paired tests over the videos.

    Every run must have ranked the same queries: the same split of the same collection. The figures are those
    that the protocol reports. The folder of a training with several seeds counts as one run, whose figures
    are means; its intervals and tests count the variation of the videos and of the seeds.

    Example:
        >>> comparison = compare(["runs/published", "runs/mine"], targets=["zh"])
        >>> print(comparison)

    Args:
        runs: The run folders that `mlcmr evaluate` has written to, also folders of several seeds; all are
            compared with the first one. From Python also runs themselves.
        targets: The target languages; by default those in which every run was evaluated.
        recall_at: The values of K of R@K, by default 1, 5 and 10. SumR always adds up R@1, R@5 and R@10.
        metrics: Further metrics: nDCG, nDCG@K, or the `package.module:Name` of your own function of ranks.
        resamples: The number of bootstrap resamples for the 95 % intervals.
        permutations: The number of permutations of the test; the smallest p-value is 1 / (permutations + 1).
        seed: The seed of the resamples and permutations.
        report: An HTML file to write, with the table and the queries whose ranks differ most. The captions
            and the thumbnails are those of the collection.
        rootpath: The folder that holds the collection now, for the report; by default that of the first run.
        progress: Receives the progress.

    Raises:
        InvalidValueError: If an argument has a value that cannot be used, or if the runs ranked different
            queries.
        NotFoundError: If a run was not evaluated, or not in a target language.
        CorruptFileError: If the stored results of a run are damaged.
    """
    require_resamples(resamples, "resamples")
    require_resamples(permutations, "permutations")
    if seed < 0:
        raise InvalidValueError(f"`seed` is {seed}, but must be a whole number from 0", parameter="seed")
    folders = [_require_folder(run) for run in runs]
    if len(folders) < 2:
        raise InvalidValueError("`runs` names one run; name two or more to compare", parameter="runs")
    chosen = choose_metrics(recall_at, metrics)
    systems = [runs_of_seeds(folder) or [folder] for folder in folders]
    _require_different(folders, systems)
    results = {run: read_results(run) for system in systems for run in system}
    compared: list[ComparedMetric] = []
    differences: list[RunDifferences] = []
    languages = _shared_targets(results, targets)
    with progress.task("comparison", len(languages)) as task:
        for target in languages:
            stored = [[_read(run, results[run], target) for run in system] for system in systems]
            _require_same_queries({run: results[run][target] for system in systems for run in system})
            test = _PairedTest(stored, chosen, resamples, permutations, seed)
            compared += test.compare(target)
            if report is not None:
                queries = read_evaluated_captions(systems[0][0], results[systems[0][0]][target], rootpath)
                differences += [
                    find_differences(
                        target,
                        (printable(folders[0]), printable(folder)),
                        (stored[0], other),
                        texts=queries.texts,
                        video_ids=list(dict.fromkeys(queries.videos)),
                    )
                    for folder, other in zip(folders[1:], stored[1:], strict=True)
                ]
            task.advance()
    comparison = Comparison(
        tuple(map(printable, folders)),
        _corrected(compared),
        resamples,
        permutations,
        seed,
        seeds=tuple(map(len, systems)),
    )
    if report is not None:
        evaluation = results[systems[0][0]][languages[0]]
        data = data_of_evaluation(systems[0][0], evaluation, rootpath)
        thumbnails = Thumbnails(data.open_collection().folder, data.feature, progress)
        write_comparison_page(user_path(report), comparison, differences, thumbnails)
    return comparison


def _require_folder(run: object) -> Path:
    folder = folder_of(run)
    if folder is None:
        raise InvalidValueError(f"`runs`: {run!r} is neither a run nor its folder", parameter="runs")
    return folder


def _require_different(folders: Sequence[Path], systems: Sequence[Sequence[Path]]) -> None:
    """Refuse a run of several seeds that is in two systems; a single run may stand beside itself."""
    for (one, first), (other, second) in combinations(zip(folders, systems, strict=True), 2):
        shared = {run.resolve() for run in first} & {run.resolve() for run in second}
        if shared and len(first) + len(second) > 2:
            raise InvalidValueError(
                f"{one} and {other} share the run {min(shared)}; name different runs",
                parameter="runs",
            )


def _shared_targets(
    results: Mapping[Path, Mapping[str, StoredEvaluation]], targets: str | Sequence[str] | None
) -> list[str]:
    """Return the target languages to compare."""
    if not targets:
        first, *others = results.values()
        shared = [target for target in first if all(target in other for other in others)]
        if not shared:
            each = "; ".join(f"{folder}: {', '.join(known)}" for folder, known in results.items())
            raise InvalidValueError(f"no target language in which every run was evaluated: {each}")
        return shared
    known = {target for evaluations in results.values() for target in evaluations}
    named = [targets] if isinstance(targets, str) else targets
    languages = list(dict.fromkeys(language_among(known, target) for target in named))
    for folder, evaluations in results.items():
        for target in languages:
            if target not in evaluations:
                raise NotFoundError(
                    f"{folder}: not evaluated in target '{target}', but in {', '.join(evaluations)}; run "
                    f"mlcmr evaluate {folder} again",
                    path=folder,
                )
    return languages


def _read(folder: Path, evaluations: Mapping[str, StoredEvaluation], target: str) -> StoredRanks:
    """Read the ranks of a run; refuse those of another evaluation than results.json."""
    evaluation = evaluations[target]
    stored = read_ranks(folder, target, captions=evaluation.queries, videos=evaluation.videos)
    path = folder / RANKS_FILE
    if abs(metrics_of_ranks(stored.ranks).sum_recalls - evaluation.sum_recalls) > _EQUAL:
        raise CorruptFileError(
            f"{path}: does not give the SumR of results.json; run mlcmr evaluate {folder} again", path=path
        )
    return stored


def _require_same_queries(evaluations: Mapping[Path, StoredEvaluation]) -> None:
    (named, first), *others = evaluations.items()
    for folder, other in [(named, first), *others]:
        if other.queries_digest is None or other.queries_digest != first.queries_digest:
            raise InvalidValueError(
                f"{folder} ranked other '{first.target}' queries ({_describe(other)}) than {named} "
                f"({_describe(first)}); evaluate both on the same split of the same collection"
            )


def _describe(evaluation: StoredEvaluation) -> str:
    size = f"{evaluation.queries:,} × {evaluation.videos:,}"
    return f"{evaluation.collection} {evaluation.split}, {size}"


class _System:
    """A run, or the runs of one training with several seeds, in one target language.

    Args:
        stored: The ranks of each run.
        metrics: The metrics.
    """

    def __init__(self, stored: Sequence[StoredRanks], metrics: Sequence[Metric]) -> None:
        self.stored = stored
        self.metrics = [metrics_of_ranks(one.ranks, metrics) for one in stored]
        self.figures = np.array([_flat(one) for one in self.metrics]).T
        """(metrics, runs), in the order of `_flat`."""
        self._resamplers = [Resampler(one.ranks, one.video_of_caption, metrics) for one in stored]

    def draw(self, resamples: int, seed: int) -> Iterator[Values]:
        """Yield the counts of resamples; see `Resampler.draw`."""
        return self._resamplers[0].draw(resamples, seed)

    def resample(self, counts: Values) -> Values:
        """Return the means, over the runs, of the figures of resamples, (metrics, B)."""
        figures = np.array([_flat(resampler(counts)) for resampler in self._resamplers], np.float64)
        means: Values = figures.mean(axis=0)
        return means


class _PairedTest:
    """Compares runs in one target language.

    Args:
        stored: The ranks of each run, or of each seed of a training with several seeds.
        metrics: The metrics.
        resamples: The number of bootstrap resamples.
        permutations: The number of permutations.
        seed: The seed of both.
    """

    def __init__(
        self,
        stored: Sequence[Sequence[StoredRanks]],
        metrics: Sequence[Metric],
        resamples: int,
        permutations: int,
        seed: int,
    ) -> None:
        self._metrics, self._permutations, self._seed = metrics, permutations, seed
        self._systems = [_System(runs, metrics) for runs in stored]
        self._videos = len(stored[0][0].ranks.v2t.relevant)
        # All runs are measured on the same resamples, so that their differences are paired.
        draws = [
            [system.resample(counts) for system in self._systems]
            for counts in self._systems[0].draw(resamples, seed)
        ]
        self._resampled = [np.concatenate(parts, axis=1) for parts in zip(*draws, strict=True)]

    def compare(self, target: str) -> Iterator[ComparedMetric]:
        """Yield the metrics of all runs; the p-values are not corrected yet."""
        first, *others = self._systems
        permuted = [None if _vary(first, other) else self._permute(first, other) for other in others]
        for place, (direction, name, metric) in enumerate(self._names()):
            values = [system.figures[place] for system in self._systems]
            resampled = [one[place] for one in self._resampled]
            figures = [self._figure(values[0], resampled[0])]
            for value, sample, swapped in zip(values[1:], resampled[1:], permuted, strict=True):
                pair = [values[0], value]
                differences = sample - resampled[0]
                if swapped is None:
                    tested = self._test_over_seeds(pair, differences)
                else:
                    tested = self._test_over_videos(pair, differences, _flat(swapped)[place])
                figures.append(replace(self._figure(value, sample), difference=tested))
            style, higher = (metric.format, metric.higher_is_better) if metric else (".1f", True)
            yield ComparedMetric(target, direction, name, style, higher, tuple(figures))

    def _figure(self, values: Values, resampled: Values) -> Figure:
        """Return the figure of a system: the mean of its runs."""
        mean, over_seeds = float(values.mean()), variance_over_seeds([values])
        if over_seeds is None:
            return Figure(mean, interval_of(resampled), None)
        return Figure(mean, (variance_over_videos(resampled, self._videos) + over_seeds).interval(mean), None)

    def _test_over_videos(self, pair: Sequence[Values], resampled: Values, permuted: Values) -> Difference:
        """Test the difference between two single runs."""
        difference = float(pair[1].mean() - pair[0].mean())
        extreme = np.abs(permuted) >= abs(difference) * (1 - _EQUAL) - _EQUAL
        p_value = (1 + np.count_nonzero(extreme)) / (1 + self._permutations)
        return Difference(difference, interval_of(resampled), p_value, p_value)

    def _test_over_seeds(self, pair: Sequence[Values], resampled: Values) -> Difference:
        """Test the difference between two groups of runs, or between a run and a group."""
        difference, over_seeds = float(pair[1].mean() - pair[0].mean()), variance_over_seeds(pair)
        variance = variance_over_videos(resampled, self._videos)
        if over_seeds is not None:
            variance += over_seeds
        p_value = variance.p_value(difference)
        return Difference(difference, variance.interval(difference), p_value, p_value)

    def _names(self) -> Iterator[tuple[str, str, Metric | None]]:
        """Yield direction, name and metric of each figure, in the order of `_flat`."""
        for direction in ("t2v", "v2t"):
            for name, metric in self._systems[0].metrics[0].metric_of.items():
                yield direction, name, metric
        yield "both", "SumR", None

    def _permute(self, one: _System, another: _System) -> ResampledMetrics:
        """Return the differences if each video, with its captions, swaps its two runs by the toss of a coin.

        Both runs become one evaluation of twice as many videos, from which each permutation takes half.
        """
        (first,), (other,), videos = one.stored, another.stored, self._videos
        owners = np.concatenate([first.video_of_caption, other.video_of_caption + videos])
        resampler = Resampler(_joined(first.ranks, other.ranks), owners, self._metrics)
        random = np.random.default_rng(self._seed)
        parts = []
        for rows in blocks(self._permutations, 2 * videos):
            swapped = random.integers(2, size=(rows, videos)).astype(np.float64)
            as_first = resampler(np.hstack([1 - swapped, swapped]))
            as_other = resampler(np.hstack([swapped, 1 - swapped]))
            parts.append(_difference(as_other, as_first))
        return ResampledMetrics.join(parts)


def _vary(one: _System, other: _System) -> bool:
    """Return whether a comparison is one of several seeds, on one side or on both."""
    return len(one.stored) + len(other.stored) > 2


def _flat(metrics: RetrievalMetrics | ResampledMetrics) -> list[Any]:
    """Return the values of t2v, of v2t, and SumR."""
    return [*metrics.t2v.values(), *metrics.v2t.values(), metrics.sum_recalls]


def _difference(one: ResampledMetrics, other: ResampledMetrics) -> ResampledMetrics:
    t2v = {name: values - other.t2v[name] for name, values in one.t2v.items()}
    v2t = {name: values - other.v2t[name] for name, values in one.v2t.items()}
    return ResampledMetrics(t2v, v2t, one.sum_recalls - other.sum_recalls)


def _joined(one: RetrievalRanks, other: RetrievalRanks) -> RetrievalRanks:
    """Return the queries of one evaluation, followed by those of another with as many candidates."""

    def join(first: Ranks, second: Ranks) -> Ranks:
        values = np.concatenate([first.values, second.values])
        return Ranks(values, np.concatenate([first.relevant, second.relevant]), first.candidates)

    return RetrievalRanks(join(one.t2v, other.t2v), join(one.v2t, other.v2t))


def _corrected(metrics: Sequence[ComparedMetric]) -> tuple[ComparedMetric, ...]:
    """Correct the p-values of all comparisons by the method of Holm."""
    p_values = [figure.difference.p_value for one in metrics for figure in one.figures if figure.difference]
    corrected = iter(holm(p_values))

    def correct(figure: Figure) -> Figure:
        if figure.difference is None:
            return figure
        return replace(figure, difference=replace(figure.difference, corrected_p_value=next(corrected)))

    return tuple(replace(one, figures=tuple(map(correct, one.figures))) for one in metrics)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of tests: the step-down method of Holm (1979).

    Example:
        >>> holm([0.01, 0.5, 0.02])
        [0.03, 0.5, 0.04]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * np.asarray(p_values)[order]))
    return [float(value) for value in corrected]
