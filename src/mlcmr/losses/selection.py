"""The loss of a training, by name or as an object."""

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from torch import Tensor, nn

from mlcmr.errors import InvalidValueError, reason
from mlcmr.losses.config import LossConfig
from mlcmr.losses.mlcmr import MLCMRLoss
from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.registry import resolve


class Loss(Protocol):
    """A loss of training: any function or `nn.Module` without weights of its own."""

    def __call__(self, views: ViewEmbeddings, /) -> Mapping[str, Tensor]:
        """Return the terms of the loss by name, each a scalar. Training minimises their sum."""
        ...


def select_loss(config: LossConfig, loss: Loss | None = None) -> Loss:
    """Return the loss of a training.

    Args:
        config: The settings, which name the loss.
        loss: A loss to use instead of the named one.

    Raises:
        InvalidValueError: If the name is unknown, the options do not fit, or the loss has weights.
    """
    found = _named_loss(config) if loss is None else loss
    if isinstance(found, nn.Module) and any(True for _ in found.parameters()):
        raise InvalidValueError(
            f"the loss {type(found).__name__} has weights of its own, which training neither trains nor "
            "saves; use constants or buffers",
            parameter="loss",
        )
    return found


def _named_loss(config: LossConfig) -> Loss:
    if config.name == "mlcmr":
        if config.options:
            raise InvalidValueError(
                "`loss.options` are for a loss of your own; set `loss.margin` and the like of the loss mlcmr",
                parameter="loss.options",
            )
        return MLCMRLoss(config)
    found = resolve(config.name, {"mlcmr": MLCMRLoss}, parameter="loss.name", source=None)
    if not isinstance(found, type):
        return partial(found, **config.options) if config.options else found
    try:
        return found(**config.options)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"`loss.options` do not fit {config.name}: {reason(error)}", parameter="loss.options"
        ) from error
