"""The part of a run folder that other commands need: its data, and the runs of several seeds in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from annotated_types import Len

from mlcmr.data.config import DataConfig
from mlcmr.reading import Count, Name, read_yaml
from mlcmr.settings import from_dict


@dataclass(kw_only=True)
class RunSettings(DataConfig):
    """The data that a run was trained on, from its `config.yaml`.

    Attributes:
        seed: The seed of the run.
    """

    feature: Name = field()
    languages: Annotated[list[Name], Len(1, 1000)] = field()
    seed: Count | None = None

    def __post_init__(self) -> None:
        self.as_scenario()  # checked here, so that the message names the file


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run."""
    return (folder / "config.yaml").exists()


def folder_of_seed(folder: Path, seed: int) -> Path:
    """Return the run of a seed in a folder that holds a run per seed."""
    return folder / f"seed-{seed}"


def runs_of_seeds(folder: Path) -> list[Path]:
    """Return the runs in a folder that holds a run per seed, by seed; of any other folder, no run."""
    if is_run(folder):
        return []
    runs = {
        int(found[1]): run
        for run in folder.glob("seed-*")
        if (found := re.fullmatch(r"seed-([0-9]{1,20})", run.name)) and is_run(run)
    }
    return [runs[seed] for seed in sorted(runs)]


def read_run(run: Path) -> RunSettings:
    """Read the data settings of a run.

    Args:
        run: The run folder.

    Raises:
        MlcmrError: If the folder is not a run, or its `config.yaml` is damaged.
    """
    path = run / "config.yaml"
    hint = "name the folder of a run (mlcmr train writes it)"
    return read_yaml(path, RunSettings, hint)


def data_of_run(run: Path, changed: Mapping[str, object]) -> DataConfig:
    """Return the data that a run is evaluated on.

    Args:
        run: The run folder.
        changed: Settings that differ from those of training, for example another `rootpath`.

    Raises:
        NotFoundError: If the collection or the feature does not exist.
        MlcmrError: If the folder is not a run, or its `config.yaml` is damaged.
    """
    trained = read_run(run)
    content = {item.name: getattr(trained, item.name) for item in fields(DataConfig)} | dict(changed)
    data = from_dict(DataConfig, content)
    data.require_names()
    return data
