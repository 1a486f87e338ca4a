"""The state of training on disk, from which a killed run continues."""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired

import torch
from pydantic import InstanceOf
from typing_extensions import TypedDict

from mlcmr.errors import CorruptFileError, MlcmrError, OutOfResourcesError, reason, unreadable
from mlcmr.files import replacing
from mlcmr.reading import Count, Name, Text, check, open_regular, parse_json, require_stored
from mlcmr.training.schedule import Schedule

_FORMAT = 1


@dataclass
class LoopState:
    """The counters of the training loop.

    Attributes:
        schedule: The learning rate and the counters that determine it.
        epoch: The current epoch, from 0.
        batch: The number of finished batches of this epoch.
        step: The number of finished steps.
    """

    schedule: Schedule
    epoch: Count = 0
    batch: Count = 0
    step: Count = 0

    def batch_done(self) -> None:
        """Count a step."""
        self.batch += 1
        self.step += 1

    def epoch_done(self, score: float) -> bool:
        """Count an epoch with its validation score; return whether the score is the best so far."""
        self.epoch += 1
        self.batch = 0
        return self.schedule.epoch_done(score)


@dataclass
class TrainingState:
    """Everything that the next step depends on.

    Attributes:
        loop: The counters of the training loop.
        model: The weights.
        average: The moving average of the weights, if there is one.
        optimizer: The state of the optimizer.
        precision: The state of the gradient scaler, for `16-mixed`.
        metrics_bytes: The size of `metrics.jsonl`; a continued run writes later lines again.
        inputs: The hashes of the training inputs (see `hash_inputs`).
    """

    loop: LoopState
    model: dict[str, Any]
    average: dict[str, Any] | None
    optimizer: dict[str, Any]
    precision: dict[str, Any]
    metrics_bytes: int
    inputs: dict[str, str]


class _StoredState(TypedDict):
    """The content of the file: `torch.save` writes names, texts, numbers and tensors."""

    format: Literal[1]
    progress: Text
    model: dict[str, InstanceOf[torch.Tensor]]
    average: NotRequired[dict[str, InstanceOf[torch.Tensor]] | None]  # older files have none
    optimizer: dict[str, Any]
    precision: dict[str, Any]
    metrics_bytes: Count
    data: dict[str, Name]


def write_state(path: Path, state: TrainingState) -> None:
    """Write the state; the old file stays until the new file is whole.

    Raises:
        MlcmrError: If the file cannot be written, for example because the disk is full.
    """
    content = {
        "format": _FORMAT,
        "progress": json.dumps(asdict(state.loop)),
        "model": state.model,
        "average": state.average,
        "optimizer": state.optimizer,
        "precision": state.precision,
        "metrics_bytes": state.metrics_bytes,
        "data": state.inputs,
    }
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch raises it if the disk is full
            raise OutOfResourcesError(
                f"{path}: cannot be written, is the disk full? The state before it stays: {reason(error)}",
                path=path,
            ) from error


def read_state(path: Path) -> TrainingState:
    """Read a file of `write_state`; nothing in it is executed.

    Raises:
        MlcmrError: If the file cannot be read.
        CorruptFileError: If the file is damaged or of another kind.
    """
    try:
        open_regular(path).close()
    except OSError as error:
        raise MlcmrError(f"{path}: {unreadable(error)}", path=path) from error
    try:
        require_stored(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that `torch.save` does not write
            content = torch.load(path, map_location="cpu", weights_only=True)
        check(content, _StoredState)
        loop = parse_json(content["progress"].encode(), LoopState, "progress", "")
    except Exception as error:  # reading random bytes raises nearly anything
        raise CorruptFileError(
            f"{path}: damaged ({reason(error)[:120]}); remove it to begin the run again", path=path
        ) from error
    return TrainingState(
        loop,
        content["model"],
        content.get("average"),
        content["optimizer"],
        content["precision"],
        content["metrics_bytes"],
        content["data"],
    )
