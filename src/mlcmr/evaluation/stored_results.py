"""Read `results.json` back: the fields that a comparison of runs needs, and the captions that they are of."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Len
from pydantic import StringConstraints

from mlcmr.data.captions import Captions
from mlcmr.data.config import DataConfig
from mlcmr.data.run_settings import data_of_run
from mlcmr.errors import InvalidValueError
from mlcmr.evaluation.ranks_file import digest_ids
from mlcmr.reading import Many, Name, Number, Size, read_json


@dataclass(frozen=True)
class StoredMetrics:
    """A set of metrics; `SumR` identifies the ranks that they were computed from.

    Attributes:
        SumR: R@1, R@5 and R@10 of both directions added up.
    """

    SumR: Number


@dataclass(frozen=True)
class StoredFigures:
    """The metrics of an evaluation.

    Attributes:
        target_only: The metrics of the captions alone.
        fused: The metrics of captions fused with their translations, if there are any.
    """

    target_only: StoredMetrics
    fused: StoredMetrics | None


@dataclass(frozen=True)
class StoredEvaluation:
    """An evaluation in one target language; see `TargetResults`.

    Attributes:
        collection: The name of the collection.
        split: The split that was evaluated.
        target: The language of the queries.
        queries: The number of captions N.
        videos: The number of videos M.
        metrics: The metrics.
        feature: The frame feature; None if it is not known.
        queries_digest: The SHA-256 of the ids of the captions and videos; None in older files.
    """

    collection: Name
    split: Name
    target: Name
    queries: Size
    videos: Size
    metrics: StoredFigures
    feature: Name | None = None
    queries_digest: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None

    @property
    def sum_recalls(self) -> float:
        """The SumR that the protocol reports."""
        return (self.metrics.fused or self.metrics.target_only).SumR


@dataclass(frozen=True)
class StoredResults:
    """The content of results.json.

    Attributes:
        format: The version of the format.
        evaluations: The evaluation of each target language.
    """

    format: Literal[1]
    evaluations: Annotated[Many[StoredEvaluation], Len(1, 1000)]


def read_results(run: Path) -> dict[str, StoredEvaluation]:
    """Read the evaluations of a run by target language.

    Args:
        run: The run folder.

    Raises:
        NotFoundError: If the run has no results.json.
        CorruptFileError: If the file does not hold results.
        MlcmrError: If the file cannot be read.
    """
    path, hint = run / "results.json", f"run mlcmr evaluate {run} again"
    missing = f"{path}: no such file; run mlcmr evaluate {run} first"
    stored = read_json(path, StoredResults, hint, missing=missing)
    return {evaluation.target: evaluation for evaluation in stored.evaluations}


def data_of_evaluation(
    run: Path, evaluation: StoredEvaluation, rootpath: str | os.PathLike[str] | None
) -> DataConfig:
    """Return the data that a run was evaluated on.

    Args:
        run: The run folder.
        evaluation: The evaluation.
        rootpath: The folder that holds the collection now; by default that of the training.

    Raises:
        NotFoundError: If the collection or the feature does not exist.
    """
    changes = {"rootpath": rootpath, "collection": evaluation.collection, "feature": evaluation.feature}
    return data_of_run(run, {name: os.fspath(value) for name, value in changes.items() if value is not None})


def read_evaluated_captions(
    run: Path, evaluation: StoredEvaluation, rootpath: str | os.PathLike[str] | None
) -> Captions:
    """Read the captions that a run ranked; for the arguments see `data_of_evaluation`.

    Raises:
        InvalidValueError: If the collection has other captions now.
        MlcmrError: If the captions cannot be read.
    """
    data = data_of_evaluation(run, evaluation, rootpath)
    captions = data.read_queries(evaluation.split, [evaluation.target])[0].captions
    if digest_ids(captions.ids, list(dict.fromkeys(captions.videos))) != evaluation.queries_digest:
        raise InvalidValueError(
            f"{captions.path}: not the captions that {run} was evaluated on; name their `rootpath`, or run "
            f"mlcmr evaluate {run} again",
            path=captions.path,
            parameter="rootpath",
        )
    return captions
