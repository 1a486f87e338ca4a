"""A check that the output of a model is a function of its input alone."""

from collections.abc import Callable

import torch
from torch import Tensor

from mlcmr.errors import InvalidValueError

PROBES = ("a", "a " * 80)
"""Texts to try an encoder with: the first alone, and in a batch with the second, which is long.

Reformer is random for texts of more than 64 tokens only.
"""

_TOLERANCE = 1e-3  # of the largest number; kernels that add in another order differ by far less


def require_repeatable(encode: Callable[[], Tensor], subject: str) -> Tensor:
    """Return the result of `encode`, after a check that other random numbers give the same result.

    Args:
        encode: Encodes one input.
        subject: The model, such as `encoder 'name'`, for the message.

    Raises:
        InvalidValueError: If two results differ.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        first = encode()
        torch.manual_seed(1)
        second = encode()
    if not same(first, second):
        raise InvalidValueError(
            f"{subject}: its output for the same input differs each time (random masks or dropout); choose "
            "another model"
        )
    return first


def same(first: Tensor, second: Tensor) -> bool:
    """Return whether two results are equal up to rounding: additions in another order round differently."""
    tolerance = _TOLERANCE * float(first.nan_to_num(0, 0, 0).abs().max())
    return first.shape == second.shape and torch.allclose(
        first, second, rtol=0, atol=tolerance, equal_nan=True
    )
