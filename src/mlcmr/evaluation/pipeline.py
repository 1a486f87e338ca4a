"""Evaluation: embed a split, rank, measure, and write the results of a run."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from annotated_types import Len
from pydantic import AfterValidator

from mlcmr.arguments import check_arguments
from mlcmr.data.config import DataConfig
from mlcmr.data.run_settings import data_of_run, read_run
from mlcmr.data.scenarios import Queries
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError
from mlcmr.evaluation.encode import EncodedQueries, encode_queries
from mlcmr.evaluation.grid_search import choose_fusion_weight
from mlcmr.evaluation.intervals import RESAMPLES, intervals_if_wanted, require_resamples
from mlcmr.evaluation.metrics import Metric, MetricFunction, chance_metrics, choose_metrics, metrics_of_ranks
from mlcmr.evaluation.normalisation import Normalisation, NormalisationSettings, measure_normalised
from mlcmr.evaluation.path_or_run import PathOrRun, folder_of
from mlcmr.evaluation.ranks import compute_ranks
from mlcmr.evaluation.ranks_file import StoredRanks, digest_ids, write_ranks
from mlcmr.evaluation.reference_results import published_results
from mlcmr.evaluation.report.examples import pick_queries
from mlcmr.evaluation.report.html import write_report
from mlcmr.evaluation.report.thumbnails import Thumbnails
from mlcmr.evaluation.results import EvaluationResults
from mlcmr.evaluation.scores import embedding_scores
from mlcmr.evaluation.seeds import for_each_seed
from mlcmr.evaluation.target_results import TargetResults
from mlcmr.evaluation.text_to_text import measure_text_to_text
from mlcmr.files import write_text
from mlcmr.model.device import on_device
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.protocol import TextVideoModel
from mlcmr.progress import SILENT, Progress
from mlcmr.reading import Number, Text, read_json_lines, show
from mlcmr.text import plural
from mlcmr.versions import versions

BATCH = 64
# The batch size of the published test. With the published padding, the batch size changes the numbers.
PUBLISHED_TEST_BATCH = 16


def _require_numbers(record: dict[str, Any]) -> dict[str, Any]:
    for name, value in record.items():
        if isinstance(value, bool | str) and name not in ("best", "time"):
            raise ValueError(f"{name} is {show(value)}, but must be a number")
    return record


# A line of metrics.jsonl.
_CurvePoint = Annotated[
    dict[Annotated[str, Len(1, 200)], Number | bool | Text | None],
    Len(0, 200),
    AfterValidator(_require_numbers),
]
_RECORD_BYTES = 1 << 20


@check_arguments
@for_each_seed
def evaluate(
    run: PathOrRun | TextVideoModel,
    data: DataConfig | None = None,
    *,
    targets: str | Sequence[str] | None = None,
    split: str = "test",
    fusion_weight: float | Literal["auto"] | None = None,
    normalisation: NormalisationSettings | Normalisation | Sequence[Normalisation] | None = None,
    recall_at: Sequence[int] = (1, 5, 10),
    metrics: str | Sequence[str | MetricFunction] = (),
    resamples: int = RESAMPLES,
    text_to_text: bool = False,
    rootpath: str | os.PathLike[str] | None = None,
    collection: str | None = None,
    feature: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    progress: Progress = SILENT,
) -> EvaluationResults:
    """Evaluate a run or a model on a split, in one or more target languages.

    The results of a run are also written into its folder: `results.json`, `report.html`, and `ranks.npz` for
    `compare`.

    Example:
        >>> results = evaluate("runs/mine", targets=["zh"], metrics=["nDCG@10"])
        >>> results["zh"].t2v["R@1"]

    Args:
        run: The run folder that `mlcmr train` wrote. Of a training with several seeds, each run is evaluated,
            and the results are their means and standard deviations. From Python also the run itself, or any
            model with `encode_texts` and `encode_videos`.
        data: The collection, the features and the scenario; required for a model. By default the data that
            the run was trained on.
        targets: The languages to query in, by code or English name; by default the target of a
            pseudo-parallel scenario, else all languages of the run.
        split: The split to evaluate on.
        fusion_weight: The weight of a query against its machine translation, 0 … 1, or `auto`: the weight
            with the highest SumR on the validation split of the run. By default the published weight of the
            scenario.
        normalisation: The normalisations of the scores to measure, by name or with their settings; by default
            none.
        recall_at: The values of K of R@K, by default 1, 5 and 10. SumR always adds up R@1, R@5 and R@10.
        metrics: Further metrics: nDCG, nDCG@K, or the `package.module:Name` of your own function of ranks.
        resamples: The number of bootstrap resamples for the 95 % intervals; 0 for no intervals.
        text_to_text: Also measure how captions in each language find the captions of the same videos in each
            other language.
        rootpath: The folder that holds the collections now.
        collection: Another collection than in training.
        feature: Another frame feature than in training.
        device: The device: `cpu`, `cuda` or `auto`. A model that is given stays on its device.
        batch_size: The number of captions, or videos, in a batch. By default 16 for a model with the
            published padding, whose numbers depend on the batch size, else 64.
        progress: Receives the progress.

    Raises:
        InvalidValueError: If an argument has a value that cannot be used.
        NotFoundError: If a model is missing, or if a video has no features.
        MlcmrError: If the run or the data cannot be used.
    """
    measured = choose_metrics(recall_at, metrics)
    require_resamples(resamples, "resamples", least=0)
    _require_weight(fusion_weight)
    if not isinstance(normalisation, NormalisationSettings):
        normalisation = NormalisationSettings(normalisation or ())
    changes = _given(rootpath=rootpath, collection=collection, feature=feature)
    folder = folder_of(run)
    if folder is not None:
        trained = read_run(folder)
        data = data_of_run(folder, changes) if data is None else replace(data, **changes)
        model: TextVideoModel = _open_best_model(folder, device)
        origin = _Origin(str(folder), trained.seed, trained.collection, trained.validation_split)
    elif data is None:
        raise InvalidValueError("`data` is missing: a model needs a `DataConfig`", parameter="data")
    else:
        data, model, origin = replace(data, **changes), cast("TextVideoModel", run), _Origin()
    queries = data.read_queries(split, targets)
    if text_to_text and len(queries) < 2:
        raise InvalidValueError(
            f"`text_to_text` needs captions in two languages, but the only target is {queries[0].language}",
            parameter="text_to_text",
        )
    validation = _validation_queries(data, queries, fusion_weight, normalisation, progress)
    bank_size = normalisation.bank_size if normalisation.needs_bank else 0
    banks = [data.read_bank(each.language, bank_size) for each in queries if bank_size]
    opened = data.open_collection()
    features = opened.open_features(data.feature)

    def encode(part: Sequence[Queries]) -> dict[str, EncodedQueries]:
        if not part:  # a model need not embed nothing
            return {}
        encoded = encode_queries(
            model, features, part, batch_size=batch_size or _batch_size(model), progress=progress
        )
        return {each.queries.language: each for each in encoded}

    validated, bank = encode(validation), encode(banks)
    evaluated = encode(queries)
    results = EvaluationResults(
        [
            _measure(
                encoded,
                data,
                split=split,
                fusion_weight=fusion_weight,
                normalisation=normalisation,
                validation=validated.get(language),
                bank=bank.get(language),
                metrics=measured,
                resamples=resamples,
                origin=origin,
            )
            for language, encoded in evaluated.items()
        ],
        folder,
        measure_text_to_text(list(evaluated.values()), measured, resamples) if text_to_text else (),
    )
    if folder is not None:
        _write(results, folder, Thumbnails(opened.folder, data.feature, progress), progress)
    return results


@dataclass(frozen=True)
class _Origin:
    """The origin of a model; see `TargetResults`."""

    run: str | None = None
    seed: int | None = None
    trained_on: str | None = None
    validated_on: str | None = None


def _given(**changes: str | os.PathLike[str] | None) -> dict[str, Any]:
    return {name: os.fspath(value) for name, value in changes.items() if value is not None}


def _open_best_model(run: Path, device: str) -> MLCMR:
    if not (run / "model").is_dir():
        raise NotFoundError(
            f"{run / 'model'}: no model yet; training writes one after its first epoch", path=run / "model"
        )
    return on_device(MLCMR.from_pretrained(run / "model"), device)


def _batch_size(model: TextVideoModel) -> int:
    published = isinstance(model, MLCMR) and model.config.padding == "published"
    return PUBLISHED_TEST_BATCH if published else BATCH


def _require_weight(weight: float | Literal["auto"] | None) -> None:
    if weight is not None and weight != "auto" and not 0 <= weight <= 1:
        raise InvalidValueError(
            f"`fusion_weight` is {weight}, but must be between 0 and 1, or auto", parameter="fusion_weight"
        )


def _validation_queries(
    data: DataConfig,
    queries: Sequence[Queries],
    fusion_weight: float | Literal["auto"] | None,
    normalisation: NormalisationSettings,
    progress: Progress,
) -> list[Queries]:
    """Read the validation queries of the languages in which they choose a fusion weight or a temperature.

    Raises:
        InvalidValueError: If only the validation split lacks the translations to choose a fusion weight with.
    """
    fused = {each.language for each in queries if each.translations is not None}
    tuned = fused if fusion_weight == "auto" else set()
    targets = [each.language for each in queries if each.language in tuned or normalisation.needs_validation]
    if fusion_weight == "auto":
        for language in (each.language for each in queries if each.language not in fused):
            progress.message(f"{language}: no translations of the queries, so no fusion weight to choose")
    validation = data.read_queries(data.validation_split, targets) if targets else []
    for each in validation:
        if each.language in tuned and each.translations is None:
            raise InvalidValueError(
                f"`fusion_weight` is auto, but the captions of {each.captions.path.name} have no "
                "translations to choose it with: make them with `mlcmr translate`, or set a weight",
                parameter="fusion_weight",
            )
    return validation


def _measure(
    encoded: EncodedQueries,
    data: DataConfig,
    *,
    split: str,
    fusion_weight: float | Literal["auto"] | None,
    normalisation: NormalisationSettings,
    validation: EncodedQueries | None,
    bank: EncodedQueries | None,
    metrics: Sequence[Metric],
    resamples: int,
    origin: _Origin,
) -> TargetResults:
    owners = encoded.video_of_caption
    captions, target = encoded.queries.captions, encoded.queries.language
    fusing = encoded.translations is not None
    weight, chosen_on = _choose_weight(data, fusion_weight, validation) if fusing else (None, None)
    alone = embedding_scores(encoded.captions, encoded.videos)
    scores = embedding_scores(encoded.fused(weight), encoded.videos) if fusing else alone
    ranks = compute_ranks(scores, owners)
    main = metrics_of_ranks(ranks, metrics)
    intervals = intervals_if_wanted(ranks, owners, metrics, resamples)
    ranks_alone = compute_ranks(alone, owners) if fusing else ranks
    return TargetResults(
        collection=data.collection,
        feature=data.feature,
        split=split,
        target=target,
        scenario=data.scenario,
        queries=len(captions),
        videos=len(encoded.video_ids),
        captions_per_video=len(captions) / len(encoded.video_ids),
        target_only=metrics_of_ranks(ranks_alone, metrics) if fusing else main,
        chance=chance_metrics(owners, len(encoded.video_ids), metrics),
        fused=main if fusing else None,
        fusion_weight=weight,
        fusion_weight_chosen_on=chosen_on,
        published=published_results(data, split, target),
        trained_on=origin.trained_on,
        validated_on=origin.validated_on,
        versions=versions(),
        seed=origin.seed,
        run=origin.run,
        queries_digest=digest_ids(captions.ids, encoded.video_ids),
        intervals=intervals,
        target_only_intervals=intervals_if_wanted(ranks_alone, owners, metrics, resamples)
        if fusing
        else intervals,
        normalised=measure_normalised(
            normalisation,
            encoded,
            scores,
            weight,
            metrics,
            bank=bank,
            validation=validation,
            validation_split=data.validation_split,
            resamples=resamples,
        ),
        ranked=pick_queries(scores, ranks, owners, texts=captions.texts, video_ids=encoded.video_ids),
    )


def _choose_weight(
    data: DataConfig, fusion_weight: float | Literal["auto"] | None, validation: EncodedQueries | None
) -> tuple[float, str | None]:
    """Return the fusion weight, and the split that chose it, if one did."""
    published = data.as_scenario().fusion_weight
    if fusion_weight == "auto" and validation is not None:
        return choose_fusion_weight(validation, published), data.validation_split
    return (fusion_weight if isinstance(fusion_weight, float | int) else published), None


def _write(results: EvaluationResults, run: Path, thumbnails: Thumbnails, progress: Progress) -> None:
    """Write `ranks.npz`, `results.json` and `report.html` into a run folder."""
    curves = _read_curves(run / "metrics.jsonl", progress)
    write_ranks(
        run,
        {
            target: StoredRanks(result.ranked.ranks, result.ranked.video_of_caption, result.ranked.first)
            for target, result in results.items()
            if result.ranked
        },
    )
    write_text(run / "results.json", json.dumps(results.to_dict(), indent=2, ensure_ascii=False) + "\n")
    write_report(run / "report.html", list(results.values()), curves, results.text_to_text, thumbnails)


def _read_curves(path: Path, progress: Progress) -> list[_CurvePoint]:
    """Read the records of training; incomplete lines are left out and counted."""
    first, count = "", 0

    def refuse(error: MlcmrError) -> None:
        nonlocal first, count
        first, count = first or str(error), count + 1

    if not os.path.exists(path):  # an imported model has none
        return []
    try:
        curves = list(read_json_lines(path, _CurvePoint, "it is left out", most=_RECORD_BYTES, refuse=refuse))
    except MlcmrError as error:
        progress.message(f"the report has no learning curves: {error}")
        return []
    if count:
        progress.message(f"the report leaves out {plural(count, 'line')} of measurements: {first}")
    return curves
