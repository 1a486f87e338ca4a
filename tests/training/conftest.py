"""Runs that the tests of this folder only read."""

from pathlib import Path

import pytest

from mlcmr.training import train
from tests.helpers.tiny import (
    tiny_config,
    write_collection,
)


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("collections")
    write_collection(folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(root) -> Path:
    """A run of four epochs that nothing happened to."""
    return train(tiny_config(root, root / "undisturbed", epochs=4)).folder


@pytest.fixture(scope="session")
def first_half(root) -> Path:
    """The same run after two epochs."""
    return train(tiny_config(root, root / "first_half", epochs=2)).folder
