"""The state of training on disk: what `kill -9` cannot take away."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mlcmr.errors import UserError, reason
from mlcmr.files import replacing
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.optimizer import Schedule
from mlcmr.training.progress import RunProgress

_FORMAT = 1


@dataclass
class TrainingState:
    """Everything that the next step depends on.

    Attributes:
        progress: Where the run stands.
        model: The weights.
        optimizer: The optimizer's state.
        precision: The gradient scaler's state, for `16-mixed`.
        metrics_bytes: How long `metrics.jsonl` was: what was written later will be written again.
        data: What it learns from (see `fingerprints`).
    """

    progress: RunProgress
    model: dict[str, Any]
    optimizer: dict[str, Any]
    precision: dict[str, Any]
    metrics_bytes: int
    data: dict[str, str]


def write_state(path: Path, state: TrainingState) -> None:
    """Writes the state; the old one stays until the new one is whole.

    Raises:
        UserError: it cannot be written, for example because the disk is full.
    """
    content = {
        "format": _FORMAT,
        "progress": json.dumps(asdict(state.progress)),
        "model": state.model,
        "optimizer": state.optimizer,
        "precision": state.precision,
        "metrics_bytes": state.metrics_bytes,
        "data": state.data,
    }
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # how torch says that the disk is full
            raise UserError(
                f"{path}: cannot be written, is the disk full? The state before it stays: {reason(error)}"
            ) from error


def read_state(path: Path) -> TrainingState:
    """Reads what `write_state` wrote; nothing in it is executed.

    Raises:
        UserError: the file is damaged or of another kind.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError("it holds something else")
        progress = json.loads(content["progress"])
        schedule = progress.pop("schedule")
        config = OptimizerConfig(**schedule.pop("config"))
        return TrainingState(
            RunProgress(Schedule(config, **schedule), **progress),
            content["model"],
            content["optimizer"],
            content["precision"],
            content["metrics_bytes"],
            dict(content["data"]),
        )
    except Exception as error:  # reading bytes at random raises nearly anything
        raise UserError(
            f"{path}: damaged ({str(error).partition(chr(10))[0][:120]}); remove it to begin the run again"
        ) from error
