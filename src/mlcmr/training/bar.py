"""The progress of training: how far the epoch is, and a line for each that is done."""

import time
from typing import Any

import lightning.pytorch as pl

from mlcmr.display import Display
from mlcmr.training.module import TrainingModule


class ProgressBar(pl.Callback):
    """Shows loss, learning rate, samples per second and time left; says after each epoch how it went."""

    def __init__(self, display: Display, epochs: int, batches: int) -> None:
        self._display = display
        self._epochs = epochs
        self._batches = batches
        self._task: Any = None
        self._loss = 0.0
        self._samples = 0
        self._steps = 0
        self._began = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Begins an epoch, at the batch where a continued run goes on."""
        assert isinstance(pl_module, TrainingModule)
        progress = pl_module.progress
        self._task = self._display.begin(
            f"epoch {progress.epoch + 1}/{self._epochs}", self._batches, progress.batch
        )
        self._loss, self._samples, self._steps, self._began = 0.0, 0, 0, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:  # noqa: ARG002
        """Says that a batch is done."""
        assert isinstance(pl_module, TrainingModule)
        self._steps += 1
        self._samples += pl_module.examples
        self._loss += float(pl_module.terms["loss"])
        rate = self._samples / (time.monotonic() - self._began)
        note = (
            f"loss {self._loss / self._steps:.2f}, lr {pl_module.progress.schedule.learning_rate:.2e}, "
            f"{rate:,.0f} samples/s"
        )
        self._display.bars.update(self._task, advance=1, note=note)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Says how the epoch went. The counters stand at the next epoch already."""
        assert isinstance(pl_module, TrainingModule)
        self._display.bars.remove_task(self._task)
        schedule = pl_module.progress.schedule
        loss = f"loss {self._loss / self._steps:.2f}, " if self._steps else ""
        scores = ", ".join(f"{language} {score:.1f}" for language, score in pl_module.scores.items())
        standing = "best so far" if schedule.without_best == 0 else f"best is {schedule.best:.1f}"
        total = sum(pl_module.scores.values())
        self._display.say(
            f"epoch {pl_module.progress.epoch}/{self._epochs}: {loss}validation {total:.1f} ({scores}), "
            f"{standing}, {time.monotonic() - self._began:.0f} s"
        )
