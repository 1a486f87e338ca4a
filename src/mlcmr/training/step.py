"""The training step: from a batch of examples to the terms of the loss."""

import hashlib
from collections.abc import Mapping

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from mlcmr.data.batches import PairBatch
from mlcmr.losses.selection import Loss
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training.distributed import gather


class StepLosses:
    """The losses of a step.

    This is no dataclass: Lightning casts the tensors of dataclasses and dictionaries to float32, and
    `64-true` would lose half of the digits.

    Attributes:
        total: The sum of the terms, which training minimises.
        terms: The terms by name, each a scalar without gradient.
        examples: The number of examples, of all processes.
    """

    def __init__(self, terms: Mapping[str, Tensor], examples: int) -> None:
        self.total = torch.stack(list(terms.values())).sum()
        self.terms = {name: term.detach() for name, term in terms.items()}
        self.examples = examples


class TrainingStep(nn.Module):
    """Compute the losses of a batch over the features of all processes.

    Args:
        model: The model to train.
        loss: The loss.
        fabric: The processes that share the batch.
    """

    def __init__(self, model: MLCMR, loss: Loss, fabric: Fabric) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self._fabric = fabric

    def forward(self, batch: PairBatch) -> StepLosses:
        """Return the losses of the batch of which `batch` is this process's part."""
        features = self.model.encode_views(batch)
        # Gathered before the projection, so that batch norm and losses see the whole batch.
        views = self.model.project_views(
            batch,
            (gather(view, self._fabric) for view in features),
            gather(batch.video_ids, self._fabric),
            {language: gather(rows, self._fabric) for language, rows in batch.has_caption.items()},
        )
        return StepLosses(self.loss(views), len(views.video))


def step_seed(seed: int, step: int, process: int) -> int:
    """Return the seed of a step's dropout.

    As a function of these three numbers, a restart needs no state of a random generator, and no two processes
    draw the same masks.
    """
    digest = hashlib.blake2b(repr((seed, step, process)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")
