"""The training step, as Lightning runs it."""

import hashlib
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from mlcmr.data.batches import PairBatch
from mlcmr.errors import UserError
from mlcmr.model.losses import MLCMRLoss
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training.config import TrainConfig
from mlcmr.training.gather import gather
from mlcmr.training.optimizer import make_optimizer
from mlcmr.training.progress import RunProgress


class TrainingModule(pl.LightningModule):
    """One step: embed all views of a batch, add up the losses.

    Attributes:
        model: What is trained.
        progress: Where the run stands; the callbacks keep it.
        terms: The loss terms of the last step, and `loss`, their sum.
        examples: The examples of the last step, of all processes.
        scores: The last validation scores, by language.
    """

    def __init__(
        self,
        model: MLCMR,
        config: TrainConfig,
        progress: RunProgress,
        optimizer_state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = MLCMRLoss(config.loss)
        self.config = config
        self.progress = progress
        self._optimizer_state = optimizer_state
        self.terms: dict[str, Tensor] = {}
        self.examples = 0
        self.scores: dict[str, float] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer, at the rate that the schedule says."""
        # Lightning clips gradients of mixed precision only where the step does not unscale them itself.
        fused = not isinstance(self.trainer.precision_plugin, MixedPrecision)
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
        """Moves a batch."""
        del dataloader_idx
        return batch.to(device)

    def training_step(self, batch: PairBatch) -> Tensor:
        """The loss of a batch.

        Raises:
            UserError: it is not a finite number.
        """
        # Dropout as a function of (seed, step, process): a restart needs no generator's state, and no two
        # processes drop the same of different examples.
        torch.manual_seed(_hash(self.config.seed, self.progress.step, self.global_rank))
        embeddings = self.model(batch, gather)
        terms = self.loss(embeddings)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            broken = ", ".join(name for name, term in terms.items() if not torch.isfinite(term))
            raise self._diverged(f"the loss is not a finite number ({broken or 'the sum'})")
        self.examples = len(embeddings.video)
        self.terms = {"loss": total.detach(), **{name: term.detach() for name, term in terms.items()}}
        return total

    def require_finite_weights(self) -> None:
        """Checks what is about to be saved: a finite loss can have gradients that are not.

        Raises:
            UserError: a weight is not a finite number.
        """
        for name, weights in self.model.named_parameters():
            if not torch.isfinite(weights).all():
                raise self._diverged(f"the weights are no longer finite numbers ({name})")

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"{what} at step {self.progress.step}: lower --optimizer.learning_rate, or look for broken "
            f"features with `mlcmr check`; the last good state stays in {self.config.run}"
        )


def _hash(*numbers: int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest(), "little")
