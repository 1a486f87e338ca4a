"""The training step, as Lightning runs it."""

import hashlib
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from mlcmr.data.batches import PairBatch
from mlcmr.errors import UserError
from mlcmr.model.losses import MLCMRLoss
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training.config import TrainConfig
from mlcmr.training.gather import gather
from mlcmr.training.optimizer import make_optimizer
from mlcmr.training.progress import Progress


class TrainingModule(pl.LightningModule):
    """One step: embed all views of a batch, add up the losses.

    Attributes:
        model: What is trained.
        progress: Where the run stands; the callbacks keep it.
        terms: The loss terms of the last step, and `loss`, their sum.
        scores: The last validation scores, by language.
    """

    def __init__(
        self,
        model: MLCMR,
        config: TrainConfig,
        progress: Progress,
        optimizer_state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = MLCMRLoss(config.loss)
        self.config = config
        self.progress = progress
        self._optimizer_state = optimizer_state
        self.terms: dict[str, Tensor] = {}
        self.scores: dict[str, float] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer, at the rate that the schedule says."""
        # Scaled gradients (16-mixed) are clipped once they are unscaled, which the fused step does itself.
        fused = self.config.precision != "16-mixed"
        optimizer = make_optimizer(self.model, self.config.optimizer, fused=fused)
        if self._optimizer_state:
            optimizer.load_state_dict(self._optimizer_state)
        self.set_learning_rate(optimizer)
        return optimizer

    def set_learning_rate(self, optimizer: torch.optim.Optimizer) -> None:
        """Gives the optimizer the schedule's rate."""
        for group in optimizer.param_groups:
            group["lr"] = self.progress.schedule.learning_rate

    def transfer_batch_to_device(
        self, batch: PairBatch, device: torch.device, dataloader_idx: int
    ) -> PairBatch:
        """Moves a batch, in the precision of the weights."""
        del dataloader_idx
        moved = batch.to(device)
        for videos in (moved.video, moved.dropped):
            videos.frames = videos.frames.to(self.dtype)
            videos.means = videos.means.to(self.dtype)
        return moved

    def training_step(self, batch: PairBatch) -> Tensor:
        """The loss of a batch.

        Raises:
            UserError: it is not a finite number.
        """
        # Dropout as a function of (seed, step, process): a restart needs no generator's state.
        torch.manual_seed(_hash(self.config.seed, self.progress.step, self.global_rank))
        terms = self.loss(self.model(batch, gather))
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            broken = ", ".join(name for name, term in terms.items() if not torch.isfinite(term))
            raise UserError(
                f"the loss is not a finite number at step {self.progress.step} ({broken or 'the sum'}); "
                "lower --optimizer.learning_rate, or look for broken features with `mlcmr check`; "
                f"the last good state stays in {self.config.run}"
            )
        self.terms = {"loss": total.detach(), **{name: term.detach() for name, term in terms.items()}}
        return total


def _hash(*numbers: int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest(), "little")
