"""The part of the `config.yaml` of a run that other commands need: the data that it was trained on."""

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
