"""The loss of a training, by name or as an object."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature
from typing import Any, Protocol

from torch import Tensor, nn

from mlcmr.errors import InvalidValueError, reason
from mlcmr.losses.config import LossConfig
from mlcmr.losses.mlcmr import MLCMRLoss
from mlcmr.losses.sigmoid import Sigmoid
from mlcmr.losses.softmax import Softmax
from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.registry import resolve

_BUILT_IN = {"mlcmr": MLCMRLoss, "softmax": Softmax, "sigmoid": Sigmoid}


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
        InvalidValueError: If the name is unknown, or names neither a class nor a function; if the options do
            not fit; or if the loss has weights.
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
                "`loss.options` are for other losses; set `loss.margin` and the like of the loss mlcmr",
                parameter="loss.options",
            )
        return MLCMRLoss(config)
    found = resolve(config.name, _BUILT_IN, parameter="loss.name", source=None)
    if not callable(found):
        raise InvalidValueError(
            f"`loss.name` is {config.name!r}, which is neither a class nor a function", parameter="loss.name"
        )
    _require_known_options(found, config)
    if not isinstance(found, type):
        return partial(found, **config.options) if config.options else found
    try:
        return found(**config.options)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"`loss.options` do not fit {config.name}: {reason(error)}", parameter="loss.options"
        ) from error


def _require_known_options(found: Callable[..., Any], config: LossConfig) -> None:
    try:
        parameters = list(signature(found).parameters.values())
    except ValueError:  # a function written in C
        return
    if not isinstance(found, type):
        parameters = parameters[1:]  # a function gets the embeddings first
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    unfit = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
    known = [parameter.name for parameter in parameters if parameter.kind not in unfit]
    for name in config.options:
        if name not in known:
            raise InvalidValueError(
                f"`loss.options` do not fit {config.name}: {name!r} is not an option; "
                f"options are {', '.join(known) or 'not taken'}",
                parameter="loss.options",
            )
