"""A limit on the size of a model while it is built."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn.modules import module as registration

from mlcmr.errors import reason
from mlcmr.model.foreign.files import HINT
from mlcmr.model.foreign.weights import Shapes
from mlcmr.model.hf_errors import ForeignModelError

# Tied weights are built several times, and a file may lack a pooler; absurd sizes are larger by far.
_TIMES, _MORE_TENSORS, _MORE_NUMBERS = 8, 256, 1 << 22
_BUFFERS = 1 << 28  # numbers that no file holds, such as masks


class _Budget:
    """The tensors and numbers that the current thread may still allocate for a model."""

    def __init__(self, shapes: Shapes, subject: str) -> None:
        numbers = _TIMES * sum(map(math.prod, shapes.values())) + _MORE_NUMBERS
        self._tensors = _TIMES * len(shapes) + _MORE_TENSORS
        self._left = {"numbers": numbers, "buffers": max(numbers, _BUFFERS)}
        self._subject = subject
        self._builder = threading.get_ident()

    def take(self, what: str, _module: Any, _name: str, tensor: torch.Tensor | None) -> None:
        """Count a tensor that a module registers."""
        if tensor is None or threading.get_ident() != self._builder:
            return
        self._tensors -= 1
        self._left[what] -= tensor.numel()
        if self._tensors < 0 or self._left[what] < 0:
            raise ForeignModelError(
                f"{self._subject}: its settings describe a model much larger than its weights; {HINT}"
            )


@contextmanager
def building(shapes: Shapes, subject: str) -> Iterator[None]:
    """Stop the building of a model that is much larger than its weights, before it fills the memory.

    Args:
        shapes: The shapes of the weights.
        subject: The model, for the message.

    Raises:
        ForeignModelError: If the model is much larger than its weights.
    """
    budget = _Budget(shapes, subject)
    handles = [
        registration.register_module_parameter_registration_hook(partial(budget.take, "numbers")),
        registration.register_module_buffer_registration_hook(partial(budget.take, "buffers")),
    ]
    try:
        yield
    except RuntimeError as error:  # torch cannot even count, or ask for, so many numbers
        raise ForeignModelError(
            f"{subject}: its settings describe no model: {reason(error)}; {HINT}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
