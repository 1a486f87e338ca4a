"""The optimizer and the published schedule of its learning rate."""

from dataclasses import dataclass

import torch
from torch import nn

from mlcmr.training.config import OptimizerConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimizer of all parameters that are trained; `fused` is Adam's faster variant."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.name == "adam":
        return torch.optim.Adam(parameters, lr=config.learning_rate, fused=fused)
    return torch.optim.RMSprop(parameters, lr=config.learning_rate)


@dataclass
class Schedule:
    """The published schedule: what happens to the learning rate, and to training, after an epoch.

    Attributes:
        config: Its constants.
        learning_rate: For the next epoch.
        best: The best validation score so far.
        rate_epochs: How many epochs have used the current rate since it was last halved.
        without_best: How many epochs in a row brought no new best.
    """

    config: OptimizerConfig
    learning_rate: float
    best: float | None = None
    rate_epochs: int = 0
    without_best: int = 0

    def epoch_done(self, score: float) -> bool:
        """Takes in the validation score of an epoch; true when it is a new best."""
        self.rate_epochs += 1
        self.learning_rate *= self.config.decay
        if self.best is None or score > self.best:
            self.best = score
            self.without_best = 0
            return True
        self.without_best += 1
        if not self.stop and self.rate_epochs >= self.config.halve_after:
            self.learning_rate /= 2
            self.rate_epochs = 0
        return False

    @property
    def stop(self) -> bool:
        """Whether training should end early."""
        return self.without_best > self.config.patience
