"""What all tests share: one thread, no network, and the reference data where it lies beside the checkout."""

import os
from pathlib import Path

# Before anything imports torch or the hub's client; the programs that tests start inherit it too.
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None)  # no test hangs on how fast the machine is
settings.load_profile("untimed")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the published code's arrays and with real data, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the reference data in ../shared")
    return SHARED
