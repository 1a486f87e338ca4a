"""The optimizer and the published schedule of its learning rate."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlcmr.errors import CorruptFileError, reason
from mlcmr.reading import Count, Number
from mlcmr.training.config import OptimizerConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig, *, fused: bool = True) -> torch.optim.Optimizer:
    """Return the optimizer of the trained parameters.

    Args:
        model: The model.
        config: The settings.
        fused: Use the faster variant of Adam. Lightning clips gradients of mixed precision only without it.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.name == "adam":
        return torch.optim.Adam(parameters, lr=config.learning_rate, fused=fused)
    return torch.optim.RMSprop(parameters, lr=config.learning_rate)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimizer.

    Raises:
        CorruptFileError: If the state does not fit the parameters of the optimizer.
    """
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CorruptFileError(f"the saved state of the optimizer does not fit: {reason(error)}") from error
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                raise CorruptFileError(
                    f"the saved state of the optimizer does not fit: {name} is {tuple(value.shape)}"
                )


@dataclass
class Schedule:
    """The published schedule of the learning rate and of the end of training.

    Attributes:
        config: The constants of the schedule.
        learning_rate: The learning rate of the next epoch.
        best: The best validation score so far.
        rate_epochs: The number of epochs since the learning rate was last halved.
        without_best: The number of epochs in a row without a new best score.
    """

    config: OptimizerConfig
    learning_rate: Number
    best: Number | None = None
    rate_epochs: Count = 0
    without_best: Count = 0

    def epoch_done(self, score: float) -> bool:
        """Update the schedule by the validation score of an epoch; return whether the score is a new best."""
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
        """Return whether training ends early."""
        return self.without_best > self.config.patience
