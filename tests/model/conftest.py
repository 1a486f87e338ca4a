"""A small model, its folder, and videos for it."""

from pathlib import Path

import numpy as np
import pytest

from mlcmr.model.mlcmr import MLCMR
from tests.helpers.small_models import make_model, make_videos


@pytest.fixture(scope="module")
def videos() -> list[np.ndarray]:
    return make_videos()


@pytest.fixture(scope="module")
def model() -> MLCMR:
    return make_model()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder
