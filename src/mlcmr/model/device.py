"""The device on which a model computes, and errors where its memory is full."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self, TypeVar

import torch

from mlcmr.errors import InvalidValueError, OutOfResourcesError


class _Movable(Protocol):
    def to(self, device: torch.device, /) -> Self: ...


Model = TypeVar("Model", bound=_Movable)


def find_device(name: str) -> torch.device:
    """Return the device of a name.

    Args:
        name: `cpu`, `cuda`, `cuda:1`…, or `auto`: a GPU if this machine has one.

    Raises:
        InvalidValueError: If this machine has no such device.
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        number = torch.zeros(1, device=chosen)
        number.item()  # some devices have a name, but cannot compute
    except (RuntimeError, AssertionError) as error:  # AssertionError if torch was built without the device
        first = str(error).partition("\n")[0]
        raise InvalidValueError(
            f"`device` {name}: not on this machine: {first}", parameter="device"
        ) from error
    return number.device


def on_device(model: Model, name: str) -> Model:
    """Move a model to a device.

    Args:
        model: The model.
        name: The device; see `find_device`.

    Raises:
        InvalidValueError: If this machine has no such device.
        OutOfResourcesError: If the memory of the device is too small.
    """
    device = find_device(name)
    with enough_memory(device, "choose another `device`, such as cpu"):
        return model.to(device)


@contextmanager
def enough_memory(device: torch.device, advice: str) -> Iterator[None]:
    """Report that the memory is full in one line.

    Args:
        device: The device, for the message.
        advice: The end of the message: what to do.

    Raises:
        OutOfResourcesError: If the memory is full.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfResourcesError(f"not enough memory on {device}: {advice}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that memory is full.

    PyTorch raises a plain `RuntimeError` on CPUs, so its message is searched.
    """
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error).partition("\n")[0] for sign in ("allocate memory", "out of memory"))
    )
