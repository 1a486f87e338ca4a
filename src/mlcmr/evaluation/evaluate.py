"""`mlcmr evaluate`: from a run to its figures on a split."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from mlcmr.config import from_dict
from mlcmr.data.config import DataConfig
from mlcmr.data.scenario import read_queries
from mlcmr.display import Display
from mlcmr.errors import UserError
from mlcmr.evaluation.encode import EncodedQueries, Work, encode_queries, silent
from mlcmr.evaluation.examples import RankedQueries, pick_queries
from mlcmr.evaluation.metrics import chance, compute_metrics, compute_ranks
from mlcmr.evaluation.published import published_results
from mlcmr.evaluation.report import write_report
from mlcmr.evaluation.results import Results
from mlcmr.evaluation.scores import embedding_scores
from mlcmr.files import write_text
from mlcmr.model.device import on_device
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.protocol import TextVideoModel
from mlcmr.versions import versions

# With the published padding the batch size changes the numbers; this is the published test's.
PUBLISHED_TEST_BATCH = 16


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: the figures, and some queries to look at."""

    results: Results
    queries: RankedQueries


def evaluate_run(
    run: str | Path,
    data: Mapping[str, Any] | None = None,
    *,
    targets: Sequence[str] = (),
    split: str = "test",
    fusion_weight: float | None = None,
    device: str = "auto",
) -> list[Evaluation]:
    """Evaluates a run's best model, and writes `results.json` and `report.html` into the run.

    Args:
        run: The run folder.
        data: Data settings that differ from those of training, for example another `rootpath`.
        targets: The languages to query in; by default the one that a pseudo-parallel scenario aims at, else
            all of the run.
        split: The split to evaluate on.
        fusion_weight: The weight of a query against its translation; by default the published one.
        device: `cpu`, `cuda`, or `auto`.

    Raises:
        UserError: the run is not complete, or the data cannot be used.
    """
    run = Path(run).expanduser()
    settings = _settings(run)
    stated = {one.name: settings[one.name] for one in fields(DataConfig) if one.name in settings}
    trained = from_dict(DataConfig, stated)
    config = from_dict(DataConfig, stated | dict(data or {}))
    if not (run / "model").is_dir():
        raise UserError(f"{run / 'model'}: no model yet; training writes one after its first epoch")
    model = on_device(MLCMR.from_pretrained(run / "model"), device)
    batch_size = PUBLISHED_TEST_BATCH if model.config.padding == "published" else 64
    default = [config.target] if config.target else config.languages
    with Display() as display:
        evaluations = evaluate(
            model,
            config,
            targets=targets or default,
            split=split,
            fusion_weight=fusion_weight,
            batch_size=batch_size,
            work=display.work,
            about={
                "run": str(run),
                "seed": settings.get("seed"),
                "trained_on": trained.collection,
                "validated_on": trained.validation_split,
                "versions": versions(),
            },
        )
    results = [evaluation.results.to_dict() for evaluation in evaluations]
    write_text(
        run / "results.json",
        json.dumps({"format": 1, "evaluations": results}, indent=2, ensure_ascii=False) + "\n",
    )
    write_report(
        run / "report.html",
        [(evaluation.results, evaluation.queries) for evaluation in evaluations],
        _curves(run / "metrics.jsonl"),
    )
    return evaluations


def evaluate(
    model: TextVideoModel,
    data: DataConfig,
    *,
    targets: Sequence[str],
    split: str,
    fusion_weight: float | None = None,
    batch_size: int = 64,
    work: Work = silent,
    about: Mapping[str, Any] | None = None,
) -> list[Evaluation]:
    """Evaluates any model on a split, once per target language; each video is embedded once.

    Args:
        model: What embeds.
        data: Where the captions and the features lie, and the scenario.
        targets: The languages to query in.
        split: The split.
        fusion_weight: The weight of a query against its translation; by default the published one.
        batch_size: Captions, or videos, at a time.
        work: Shows progress; by default nothing is shown.
        about: More to note in the results: `run`, `seed`, `trained_on`, `validated_on`, `versions`.

    Raises:
        UserError: a file is missing or malformed, or a caption's video has no features.
    """
    scenario = data.as_scenario()
    if fusion_weight is not None and not 0 <= fusion_weight <= 1:
        raise UserError(f"--fusion-weight {fusion_weight}: a weight lies between 0 and 1")
    collection = data.open_collection()
    features = collection.open_features(data.feature)
    queries = [read_queries(collection, scenario, split, target) for target in targets]
    encoded = encode_queries(model, features, queries, batch_size=batch_size, work=work)
    weight = scenario.fusion_weight if fusion_weight is None else fusion_weight
    return [_measure(one, data, split, weight, about or {}) for one in encoded]


def _measure(
    encoded: EncodedQueries,
    data: DataConfig,
    split: str,
    weight: float,
    about: Mapping[str, Any],
) -> Evaluation:
    owners = encoded.video_of_caption
    fusing = encoded.translations is not None
    scores = embedding_scores(encoded.fused(weight) if fusing else encoded.captions, encoded.videos)
    ranks = compute_ranks(scores, owners)
    alone = compute_metrics(embedding_scores(encoded.captions, encoded.videos), owners) if fusing else None
    captions, target = encoded.queries.captions, encoded.queries.language
    results = Results(
        collection=data.collection,
        feature=data.feature,
        split=split,
        target=target,
        scenario=data.scenario,
        queries=len(captions),
        videos=len(encoded.video_ids),
        captions_per_video=len(captions) / len(encoded.video_ids),
        target_only=alone or ranks.metrics(),
        chance=chance(owners, len(encoded.video_ids)),
        fused=ranks.metrics() if fusing else None,
        fusion_weight=weight if fusing else None,
        published=published_results(data, split, target),
        **about,
    )
    picked = pick_queries(
        scores,
        ranks,
        owners,
        texts=captions.texts,
        video_ids=encoded.video_ids,
        language=target,
    )
    return Evaluation(results, picked)


def _settings(run: Path) -> dict[str, Any]:
    path = run / "config.yaml"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: no such file; name the folder of a run (mlcmr train writes it)") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {str(error).partition(chr(10))[0]}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: not the settings of a run")
    return settings


def _curves(path: Path) -> list[dict[str, Any]]:
    records = []
    with suppress(OSError):  # an imported model has none
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):  # a training that still runs may be writing its last line
                records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict)]
