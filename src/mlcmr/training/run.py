"""A run folder: everything to repeat a training and to judge it.

config.yaml            all settings, defaults included
environment.json       command, versions, git revision, machine
metrics.jsonl          losses by step, validation scores by epoch
tensorboard/           the same for TensorBoard
checkpoints/last.ckpt  the state of training, to go on from
model/                 the best model so far, for `MLCMR.from_pretrained`
results.json           what `mlcmr evaluate` found
report.html            the same to look at
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import mlcmr
from mlcmr.errors import UserError
from mlcmr.files import locked, write_text
from mlcmr.training.config import TrainConfig
from mlcmr.versions import versions

# Settings that may change when a run is continued. `accelerator` and `devices` change its numbers by rounding
# and by what dropout takes; the others leave them as they are.
_MAY_CHANGE = {"run", "rootpath", "epochs", "workers", "accelerator", "devices", "checkpoint_minutes"}


@dataclass(frozen=True)
class Run:
    """The paths of a run."""

    folder: Path

    @property
    def config(self) -> Path:
        """All settings."""
        return self.folder / "config.yaml"

    @property
    def environment(self) -> Path:
        """What it was trained with; only training writes it, and before anything that it learns."""
        return self.folder / "environment.json"

    @property
    def metrics(self) -> Path:
        """What training measured."""
        return self.folder / "metrics.jsonl"

    @property
    def state(self) -> Path:
        """The state of training."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def model(self) -> Path:
        """The best model so far."""
        return self.folder / "model"


@contextmanager
def open_run(config: TrainConfig) -> Iterator[Run]:
    """Opens the folder of a run, new or old, and keeps other processes out of it meanwhile.

    Raises:
        UserError: another process trains there, or the folder holds a run with other settings, or something
            that is no run.
    """
    run = Run(Path(config.run).expanduser())
    if not is_first_process():
        yield run
        return
    with locked(run.folder / ".lock", f"{run.folder}: another process trains there; choose another --run"):
        _remove_unfinished(run)
        if run.state.exists() or run.environment.exists():
            _require_same(run, asdict(config))
        else:
            _require_new(run)
        yield run


def record_start(run: Run, config: TrainConfig) -> None:
    """Writes down what trains from here on: settings, command, versions, machine.

    Raises:
        UserError: the folder cannot be written.
    """
    if is_first_process():
        write_text(run.environment, json.dumps(_environment(), indent=2) + "\n")
        write_text(run.config, yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))


def is_first_process() -> bool:
    """Whether this is the process that writes, where several train together.

    Lightning, torchrun and SLURM start the command once per device and number the processes so.
    """
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def _remove_unfinished(run: Run) -> None:
    """Removes the files that a killed training was writing (see `replacing`)."""
    for path in [*run.folder.glob(".*.tmp"), *run.folder.glob("*/.*.tmp")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _require_new(run: Run) -> None:
    for path in (run.config, run.model, run.metrics):
        if path.exists():
            raise UserError(
                f"{path}: not from a training that could go on; choose another --run, or remove the folder"
            )


def _require_same(run: Run, settings: dict[str, Any]) -> None:
    if not run.state.exists() and not run.model.exists():
        return  # nothing was learnt yet
    try:
        before = _by_option(yaml.safe_load(run.config.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{run.config}: damaged; choose another --run, or remove the folder") from error
    now = _by_option(yaml.safe_load(yaml.safe_dump(settings)))
    for name in sorted((before.keys() | now.keys()) - _MAY_CHANGE):
        if before.get(name) != now.get(name):
            raise UserError(
                f"{run.config}: this run was begun with other settings ({name}: {before.get(name)}, now "
                f"{now.get(name)}); choose another --run, or remove the folder"
            )


def _by_option(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings by the names that they have on the command line."""
    options: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            options |= {f"{name}.{inner}": one for inner, one in _by_option(value).items()}
        else:
            options[name] = value
    return options


def _environment() -> dict[str, Any]:
    return {
        "command": sys.argv,
        "git": _git_revision(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": versions(),
    }


def _git_revision() -> str | None:
    """The revision of this package, where it lies in a repository of its own and not just inside one."""
    source = Path(mlcmr.__file__)

    def git(*words: str) -> str:
        return subprocess.run(  # noqa: S603
            ["git", "-C", str(source.parent), *words],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", source.name)
        return git("describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.SubprocessError):
        return None
