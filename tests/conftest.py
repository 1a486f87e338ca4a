"""The setting of all tests: one thread, no network, reference data beside the checkout, models in runs."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything imports torch or the hub's client; the programs that tests start inherit it too. What tests
# name must not be remembered in the state folder of who runs them, nor be found there.
os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    XDG_STATE_HOME=tempfile.mkdtemp(prefix="mlcmr-state-"),
)

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# No test hangs on how fast the machine is, nor fails where nothing changed: the same examples each time.
# `--hypothesis-profile random` looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None)
settings.load_profile("steady")

# Arrays that the published code wrote, and real data: too large for the repository.
REFERENCE_DATA = Path(os.environ.get("MLCMR_TEST_DATA") or Path(__file__).parents[2] / "shared")
# The markers of tests that need what a machine may lack, by the fixtures that provide it.
MARKERS = {"reference_data": "reference_data", "ffmpeg": "programs", "chromium": "programs"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, marker in MARKERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.fixture(scope="session")
def reference_data() -> Callable[[str], Path]:
    """Finds a file or folder of the reference data; skips the test if it is absent."""

    def find(name: str) -> Path:
        path = REFERENCE_DATA / name
        if not path.exists():
            pytest.skip(f"needs {name} of the reference data; the variable MLCMR_TEST_DATA names its folder")
        return path

    return find


@pytest.fixture(scope="session", autouse=True)
def state() -> Iterator[Path]:
    """The folder in which it is recorded what tests have named."""
    folder = Path(os.environ["XDG_STATE_HOME"])
    yield folder / "mlcmr"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder with small files of the kinds that went wrong."""
    return Path(__file__).parent / "cases"


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    found = shutil.which("ffmpeg")
    if found is None:
        pytest.skip("needs the program ffmpeg")
    return found


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A run, beside the tiny collection that it was trained on."""
    from mlcmr.training import train
    from tests.helpers.tiny import tiny_config, write_collection

    place = tmp_path_factory.mktemp("index")
    write_collection(place)
    return train(tiny_config(place, place / "run", epochs=8)).folder


@pytest.fixture(scope="session")
def indexed(trained) -> Path:
    """An index that tests only read."""
    import mlcmr

    mlcmr.index(trained.parent / "tiny", trained.parent / "index", run=trained)
    return trained.parent / "index"


@pytest.fixture
def place(tmp_path) -> Path:
    """A copy of the collection that a test may change."""
    from tests.helpers.tiny import write_collection

    write_collection(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A small sample, and a run trained on it."""
    from mlcmr.sample import make_sample
    from mlcmr.training import train
    from tests.helpers.tiny import tiny_config

    folder = tmp_path_factory.mktemp("drawn")
    make_sample(folder, videos=20, captions=1)
    train(tiny_config(folder, folder / "run", collection="sample", feature="hues228", epochs=1))
    return folder


@pytest.fixture
def films(drawn, tmp_path) -> Path:
    """A folder of six videos, and a photograph."""
    from tests.helpers.videos import write_films

    return write_films(drawn, tmp_path / "films")
