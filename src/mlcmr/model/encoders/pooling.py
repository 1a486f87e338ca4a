"""Pooling: from the states of the tokens of a text to one vector."""

import os
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from mlcmr.errors import InvalidValueError, reason
from mlcmr.registry import resolve


class Pooling(Protocol):
    """A pooling: any function, or an `nn.Module`, whose weights are trained and saved with the model."""

    def __call__(self, states: Tensor, lengths: Tensor, /) -> Tensor:
        """Return one vector per text.

        Args:
            states: The last hidden states of B texts, (B, T, D), float.
            lengths: The number of tokens of each text, (B,), at least 1, on the same device. The states
                behind the length of a text belong to padding, and must not change the result.

        Returns:
            The features, (B, F); F may differ from D.
        """
        ...


def mean(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean over the tokens of each text, special tokens included."""
    real = _is_token(states, lengths).to(states)
    return (states * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True)


def cls(states: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG001 – all poolings take lengths
    """Return the state of the first token, `[CLS]` in models like BERT."""
    return states[:, 0]


def last(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the state of the last token, as models that read from left to right need."""
    return states[torch.arange(len(states), device=states.device), lengths - 1]


def maximum(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the maximum over the tokens of each text, number by number."""
    return states.masked_fill(~_is_token(states, lengths)[:, :, None], -torch.inf).amax(dim=1)


POOLINGS: dict[str, Pooling] = {"mean": mean, "cls": cls, "last": last, "max": maximum}


def open_pooling(name: str, size: int, *, source: str | os.PathLike[str] | None) -> Pooling:
    """Return the pooling of a name.

    Args:
        name: `mean`, `cls`, `last`, `max`, or `package.module:Name`, a function or a class that takes `size`.
        size: D, the size of one state.
        source: The file that the name comes from; None if the user gave the name.

    Raises:
        InvalidValueError: If the name is unknown, the class does not take a size, or a file names code that
            the user has not named.
    """
    found = resolve(name, POOLINGS, parameter="model.text.pooling", source=source)
    if not isinstance(found, type):
        return found  # type: ignore[no-any-return]
    try:
        return found(size)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"`model.text.pooling` is {name}, which does not take states of size {size}: {reason(error)}",
            parameter="model.text.pooling",
        ) from error


def require_allowed_pooling(name: str, source: Path) -> None:
    """Check the pooling that a model's file names.

    Raises:
        InvalidValueError: If the name is unknown, or code that this user has not named.
    """
    resolve(name, POOLINGS, parameter="model.text.pooling", source=source)


def _is_token(states: Tensor, lengths: Tensor) -> Tensor:
    """Return which states belong to tokens and not to padding, (B, T)."""
    return torch.arange(states.shape[1], device=states.device) < lengths[:, None]
