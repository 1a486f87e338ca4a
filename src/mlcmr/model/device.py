"""Where a model computes: a processor or a GPU, chosen by name, and what is said where its memory ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self, TypeVar

import torch

from mlcmr.errors import UserError


class _Movable(Protocol):
    def to(self, device: torch.device, /) -> Self: ...


Model = TypeVar("Model", bound=_Movable)


def find_device(name: str) -> torch.device:
    """The device of a name: `cpu`, `cuda`, `cuda:1`…; `auto` is a GPU where there is one.

    Raises:
        UserError: it is not on this machine.
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        number = torch.zeros(1, device=chosen)
        number.item()  # not all that has a name computes
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without it
        first = str(error).partition("\n")[0]
        raise UserError(f"--device {name}: not on this machine: {first}") from error
    return number.device


def on_device(model: Model, name: str) -> Model:
    """The model, moved to the device of a name (see `find_device`).

    Raises:
        UserError: the device is not on this machine, or has too little memory.
    """
    device = find_device(name)
    with enough_memory(device, "choose another --device, such as cpu"):
        return model.to(device)


@contextmanager
def enough_memory(device: torch.device, advice: str) -> Iterator[None]:
    """Says in one line that memory ended, and what to do.

    Raises:
        UserError: it ended.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"not enough memory on {device}: {advice}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ended; on a processor PyTorch has no class of its own for it."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error).partition("\n")[0] for sign in ("allocate memory", "out of memory"))
    )
