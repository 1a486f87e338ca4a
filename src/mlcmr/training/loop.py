"""The training loop: epochs of steps, each epoch validated and saved."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from lightning.fabric import Fabric
from torch.utils.data import DataLoader

from mlcmr.data.batches import EpochSampler, PairBatch
from mlcmr.data.features.frame_features import FrameFeatures
from mlcmr.data.scenarios import Queries
from mlcmr.errors import MlcmrError
from mlcmr.evaluation.validate import ValidationScore, validation_scores
from mlcmr.model.mlcmr import MLCMR
from mlcmr.progress import Progress
from mlcmr.training.averaging import WeightAverage
from mlcmr.training.checkpoint import LoopState, TrainingState, write_state
from mlcmr.training.config import TrainConfig
from mlcmr.training.distributed import requeue_slurm_job
from mlcmr.training.metrics_log import MetricsLog
from mlcmr.training.run_folder import Run
from mlcmr.training.step import StepLosses, TrainingStep, step_seed


@dataclass
class EpochMeter:
    """The mean loss and the speed of an epoch so far."""

    loss: float = 0.0
    steps: int = 0
    examples: int = 0
    start: float = field(default_factory=time.monotonic)

    def add(self, losses: StepLosses) -> None:
        """Count a step."""
        self.loss += float(losses.total.detach())
        self.steps += 1
        self.examples += losses.examples

    @property
    def seconds(self) -> float:
        """The time since the start of the epoch."""
        return time.monotonic() - self.start


@dataclass
class TrainingLoop:
    """Train a model from where its run stands to the end of the run.

    Attributes:
        config: The settings.
        run: The folder that receives the best model and the state.
        fabric: The devices and processes, and the precision.
        step: The model with its loss, set up by `fabric`.
        optimizer: The optimizer, set up by `fabric`.
        average: The moving average of the weights, which is validated and saved instead of them; or none.
        state: Where the run stands.
        sampler: The order of the examples.
        loader: The batches, in the order of `sampler`.
        validation: The queries of the validation split, by language.
        features: The frame features of the validation videos.
        score: The score that chooses the best model.
        metrics: The log of losses and scores.
        inputs: The hashes of the training inputs, saved with the state.
        progress: The receiver of progress.
        requeue: Set if SLURM asks to save the state and to requeue the job.
    """

    config: TrainConfig
    run: Run
    fabric: Fabric
    step: TrainingStep
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    state: LoopState
    sampler: EpochSampler
    loader: DataLoader[PairBatch]
    validation: Sequence[Queries]
    features: FrameFeatures
    score: ValidationScore
    metrics: MetricsLog
    inputs: dict[str, str]
    progress: Progress
    requeue: threading.Event

    def __post_init__(self) -> None:
        self._saved = time.monotonic()

    def fit(self) -> None:
        """Train epoch by epoch until the last epoch, or until validation has not improved for long.

        Raises:
            MlcmrError: If the loss or a weight is not a finite number; the state saved before stays.
        """
        self.step.train()
        self._set_learning_rate()
        while self.state.epoch < self.config.epochs and not self.state.schedule.stop:
            meter = self._train_epoch()
            self._validate(meter)
            self._save()

    def _train_epoch(self) -> EpochMeter:
        state, meter = self.state, EpochMeter()
        self.sampler.resume(state.epoch, state.batch)
        name = f"epoch {state.epoch + 1}/{self.config.epochs}"
        with self.progress.task(name, len(self.sampler), state.batch) as task:
            for batch in self.loader:
                losses = self._train_step(batch)
                state.batch_done()
                self._log_step(losses)
                meter.add(losses)
                task.advance(note=self._describe(meter))
                if time.monotonic() - self._saved >= 60 * self.config.checkpoint_minutes:
                    self._save()
                if self.requeue.is_set():
                    self._save_and_requeue()
        return meter

    def _train_step(self, batch: PairBatch) -> StepLosses:
        torch.manual_seed(step_seed(self.config.seed, self.state.step, self.fabric.global_rank))
        losses: StepLosses = self.step(batch.to(self.fabric.device))
        if not torch.isfinite(losses.total):
            broken = ", ".join(name for name, term in losses.terms.items() if not torch.isfinite(term))
            raise self._diverged(f"the loss is not a finite number ({broken or 'the sum'})")
        self.optimizer.zero_grad()
        self.fabric.backward(losses.total)
        if clip := self.config.optimizer.clip:
            # Mixed precision skips a step with gradients that are not finite, and lowers its scale.
            self.fabric.clip_gradients(self.step, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.step.model)
        return losses

    def _validate(self, meter: EpochMeter) -> None:
        self._require_finite_weights()
        model, state = self._model_to_keep(), self.state
        scores = validation_scores(model, self.features, self.validation, self.score, self.progress)
        # Devices may differ in the last bit, and processes must not disagree on when to stop.
        scores = self.fabric.broadcast(scores)
        epoch, total = state.epoch, sum(scores.values())
        best = state.epoch_done(total)
        self._set_learning_rate()
        if self.fabric.is_global_zero:
            by_language = {f"val/{language}": score for language, score in scores.items()}
            self.metrics.log(
                {"step": state.step, "epoch": epoch}, {"val/score": total, **by_language}, best=best
            )
            self.metrics.flush()
            if best:
                model.save_pretrained(self.run.model)
        loss = f"loss {meter.loss / meter.steps:.2f}, " if meter.steps else ""
        form = self.score.metric.format
        each = ", ".join(f"{language} {score:{form}}" for language, score in scores.items())
        standing = "best so far" if best else f"best is {state.schedule.best:{form}}"
        self.progress.message(
            f"epoch {state.epoch}/{self.config.epochs}: {loss}validation {total:{form}} ({each}), "
            f"{standing}, {meter.seconds:.0f} s"
        )

    def _model_to_keep(self) -> MLCMR:
        """Return the model that is validated and saved."""
        return self.step.model if self.average is None else self.average.module

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            self._require_finite_weights()
            state = TrainingState(
                self.state,
                self.step.model.state_dict(),
                None if self.average is None else self.average.module.state_dict(),
                self.optimizer.state_dict(),
                self.fabric.strategy.precision.state_dict(),
                self.metrics.size,
                self.inputs,
            )
            write_state(self.run.state, state)
        self._saved = time.monotonic()

    def _save_and_requeue(self) -> None:
        self._save()
        if self.fabric.is_global_zero:
            requeue_slurm_job()
        raise KeyboardInterrupt

    def _set_learning_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.state.schedule.learning_rate

    def _log_step(self, losses: StepLosses) -> None:
        state = self.state
        if self.fabric.is_global_zero and state.step % self.config.log_every == 0:
            place = {"step": state.step, "epoch": state.epoch, "examples": losses.examples}
            terms = {name: float(term) for name, term in losses.terms.items()}
            values = {"loss": float(losses.total.detach()), **terms, "lr": state.schedule.learning_rate}
            self.metrics.log(place, values)

    def _describe(self, meter: EpochMeter) -> str:
        rate, speed = self.state.schedule.learning_rate, meter.examples / meter.seconds
        return f"loss {meter.loss / meter.steps:.2f}, lr {rate:.2e}, {speed:,.0f} samples/s"

    def _require_finite_weights(self) -> None:
        """Check the weights before they are saved: a finite loss can have gradients that are not finite."""
        for name, weights in self.step.model.state_dict().items():
            if not torch.isfinite(weights).all():
                raise self._diverged(f"the weights are no longer finite numbers ({name})")

    def _diverged(self, fault: str) -> MlcmrError:
        return MlcmrError(
            f"{fault} at step {self.state.step}: lower `optimizer.learning_rate`, or look for broken "
            f"features with `mlcmr check`{self.run.saved_state_hint}"
        )
