"""The moving average of the weights over the steps of a training."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from mlcmr.model.mlcmr import MLCMR


class WeightAverage(AveragedModel):
    """A copy of a model that follows its weights as an exponential moving average.

    The first update by `update_parameters` copies the weights w. Update n (from 1) sets those of the copy, w̄,
    to d·w̄ + (1 − d)·w, with d = min(decay, (1 + n) / (10 + n)): the first weights, which are random, are soon
    forgotten. The statistics of batch norm are averaged as well, since they belong to the weights.

    Reference: A. Tarvainen and H. Valpola, "Mean teachers are better role models", NeurIPS 2017,
    arXiv:1703.01780.

    Attributes:
        module: The copy.

    Args:
        model: The model that is trained.
        decay: The largest share of the average that stays in an update, below 1.
    """

    module: MLCMR

    def __init__(self, model: MLCMR, decay: float) -> None:
        super().__init__(model, multi_avg_fn=self._update, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def _update(self, averages: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
        updates = int(count)
        stays = min(self.decay, (1 + updates) / (10 + updates))
        for average, weight in zip(averages, weights, strict=True):
            if average.is_floating_point():
                average.lerp_(weight, 1 - stays)
            else:  # the counters of batch norm
                average.copy_(weight)
