"""What happens around the steps: counting, recording, validating, saving."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from mlcmr.data.features import FrameFeatures
from mlcmr.data.scenario import Queries
from mlcmr.errors import UserError
from mlcmr.evaluation.encode import Work
from mlcmr.evaluation.validate import validation_scores
from mlcmr.training.module import TrainingModule
from mlcmr.training.state import TrainingState, write_state


class MetricsFile:
    """`metrics.jsonl`: one JSON object a line, what training measured.

    Args:
        path: The file.
        keep_bytes: How much of it to keep: what a killed run wrote after its last saved state is cut off.
    """

    def __init__(self, path: Path, keep_bytes: int) -> None:
        try:
            # Unbuffered: what could not be written is not tried again when the program ends.
            self._file = path.open("ab", buffering=0)
            self._file.truncate(min(keep_bytes, len(self)))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends a record."""
        line = json.dumps(record).encode() + b"\n"
        try:
            whole = self._file.write(line) == len(line)
        except OSError as error:
            raise UserError(f"{self._file.name}: cannot be written: {error.strerror}") from error
        if not whole:
            raise UserError(f"{self._file.name}: cannot be written: the disk is full")

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return self._file.seek(0, 2)


class Record(pl.Callback):
    """Counts steps, and writes the losses to `metrics.jsonl` and TensorBoard. Comes first."""

    def __init__(self, metrics: MetricsFile, every: int) -> None:
        self._metrics = metrics
        self._every = every

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Counts the step; writes a line every so many steps."""
        module = _ours(pl_module)
        module.progress.batch_done()
        if trainer.is_global_zero and module.progress.step % self._every == 0:
            progress = module.progress
            values = {name: float(term) for name, term in module.terms.items()}
            values["lr"] = progress.schedule.learning_rate
            place = {"step": progress.step, "epoch": progress.epoch, "examples": module.examples}
            self._metrics.write({**place, **values})
            _to_tensorboard(trainer, values, progress.step)


class Validate(pl.Callback):
    """After every epoch: the validation score, the learning rate, the best model, an early end."""

    def __init__(
        self,
        splits: Sequence[Queries],
        features: FrameFeatures,
        metrics: MetricsFile,
        best_model: Path,
        work: Work,
    ) -> None:
        self._splits = splits
        self._features = features
        self._metrics = metrics
        self._best_model = best_model
        self._work = work

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validates; keeps the model when it is the best so far."""
        module = _ours(pl_module)
        progress = module.progress
        scores = validation_scores(
            module.model, self._features, self._splits, module.config.validation_metric, self._work
        )
        # Devices may differ in the last bit, and processes must not disagree on when to stop.
        scores = module.scores = trainer.strategy.broadcast(scores)
        total = sum(scores.values())
        epoch = progress.epoch
        best = progress.epoch_done(total)
        module.set_learning_rate(trainer.optimizers[0])
        trainer.should_stop = progress.schedule.stop
        if trainer.is_global_zero:
            values = {"val/score": total, **{f"val/{language}": score for language, score in scores.items()}}
            self._metrics.write({"step": progress.step, "epoch": epoch, **values, "best": best})
            _to_tensorboard(trainer, values, progress.step)
            if best:
                module.model.save_pretrained(self._best_model)


class SaveState(pl.Callback):
    """Saves the state of training every so many minutes and after every epoch. Comes last."""

    def __init__(self, path: Path, metrics: MetricsFile, minutes: float, data: dict[str, str]) -> None:
        self._path = path
        self._metrics = metrics
        self._data = data
        self._seconds = 60 * minutes
        self._last = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Saves when it is time."""
        if time.monotonic() - self._last >= self._seconds:
            self._save(trainer, _ours(pl_module))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves after the epoch's validation."""
        self._save(trainer, _ours(pl_module))

    def _save(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if trainer.is_global_zero:
            module.require_finite_weights()
            state = TrainingState(
                module.progress,
                module.model.state_dict(),
                trainer.optimizers[0].state_dict(),
                trainer.precision_plugin.state_dict(),
                len(self._metrics),
                self._data,
            )
            write_state(self._path, state)
        self._last = time.monotonic()


def _ours(module: pl.LightningModule) -> TrainingModule:
    assert isinstance(module, TrainingModule)
    return module


def _to_tensorboard(trainer: pl.Trainer, values: Mapping[str, float], step: int) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_metrics(dict(values), step)
