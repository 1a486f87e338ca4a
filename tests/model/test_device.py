"""A model computes on the chosen device, and a lack of memory is one line."""

import pytest
import torch

from mlcmr.errors import InvalidValueError, OutOfResourcesError
from mlcmr.model.device import enough_memory, find_device, on_device


def test_a_device_by_name():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert on_device(torch.nn.Linear(1, 1), "cpu").weight.device == torch.device("cpu")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "meta"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(InvalidValueError, match=f"^`device` {name}: not on this machine: [^\n]+$"):
        find_device(name)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB\nand more"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        MemoryError(),
    ],
)
def test_memory_that_ends(error):
    with (
        pytest.raises(OutOfResourcesError, match=r"^not enough memory on cpu: less$"),
        enough_memory(torch.device("cpu"), "less"),
    ):
        raise error


def test_memory_that_really_ends():
    with (
        pytest.raises(OutOfResourcesError, match=r"^not enough memory on cpu: less$"),
        enough_memory(torch.device("cpu"), "less"),
    ):
        torch.empty(1 << 60)


def test_other_errors_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match=r"shapes"), enough_memory(torch.device("cpu"), "less"):
        raise RuntimeError("shapes do not fit")

    class TooLarge(torch.nn.Linear):
        def to(self, device):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfResourcesError, match=r"^not enough memory on cpu: choose another `device`"):
        on_device(TooLarge(1, 1), "cpu")
