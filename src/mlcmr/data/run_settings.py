"""The part of a run folder that other commands need: its data, and the runs of several seeds in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len

from mlcmr.data.config import DataConfig
from mlcmr.errors import InvalidValueError
from mlcmr.reading import Count, Name, open_regular, parse_json, read_yaml, show
from mlcmr.settings import from_dict

MAY_DIFFER = frozenset(
    ("run", "seed", "rootpath", "workers", "accelerator", "devices", "checkpoint_minutes", "logger")
)
"""The settings in which the runs of one training with several seeds may differ."""
_HINT = "name the folder of a run (mlcmr train writes it)"


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
    """Return the runs of one training with several seeds, by seed; of any other folder, no run.

    Raises:
        InvalidValueError: If the runs differ in more than their seeds, or if one is not finished.
        MlcmrError: If the `config.yaml` of a run is damaged.
    """
    runs = find_seeds(folder)
    configs = [read_yaml(run / "config.yaml", dict[str, Any], _HINT) for run in runs]
    for run, config in zip(runs[1:], configs[1:], strict=True):
        if found := _first_difference(configs[0], config):
            raise InvalidValueError(
                f"{folder}: {runs[0].name} and {run.name} are different trainings ({found}); evaluate each "
                "run alone",
                path=folder,
            )
    for run, config in zip(runs, configs, strict=True):
        _require_finished(run, config)
    return runs


@dataclass(frozen=True)
class _Validation:
    """A line of `metrics.jsonl` at the end of an epoch."""

    best: bool


def _require_finished(run: Path, config: Mapping[str, Any]) -> None:
    """Refuse a run whose log shows that epochs are missing; a run without a log is taken as finished."""
    log, epochs, optimizer = run / "metrics.jsonl", config.get("epochs"), config.get("optimizer")
    patience = optimizer.get("patience") if isinstance(optimizer, dict) else None
    if not log.is_file() or not isinstance(epochs, int) or not isinstance(patience, int):
        return
    with open_regular(log) as file:
        best = [
            parse_json(line, _Validation, str(log), _HINT).best for line in file if b'"val/score"' in line
        ]
    without_best = next((since for since, is_best in enumerate(reversed(best)) if is_best), len(best))
    if len(best) < epochs and without_best <= patience:
        raise InvalidValueError(
            f"{run}: the training is not finished ({len(best)} of {epochs} epochs); continue it with "
            "mlcmr train, or evaluate each run alone",
            path=run,
        )


def _first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the first setting in which two runs differ, with both values; or nothing.

    A setting that only one run has is passed over: the run of an older version lacks newer settings.
    """
    for name in sorted((one.keys() & other.keys()) - MAY_DIFFER):
        before, after = one[name], other[name]
        if isinstance(before, dict) and isinstance(after, dict):
            if found := _first_difference(before, after):
                return f"{name}.{found}"
        elif before != after:
            return f"{name}: {show(before)} and {show(after)}"
    return ""


def find_seeds(folder: Path) -> list[Path]:
    """Return the runs in a folder that holds a run per seed, by seed, whatever their settings."""
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
    return read_yaml(path, RunSettings, _HINT)


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
