"""The folder of a run, which holds everything to repeat the training and to judge it.

config.yaml            all settings, with the defaults
environment.json       command, versions, git revision, machine
metrics.jsonl          losses by step, validation scores by epoch
tensorboard/           the same values, for TensorBoard
checkpoints/last.ckpt  the state of training, from which a run continues
model/                 the best model so far, for `MLCMR.from_pretrained`
results.json           the results of `mlcmr evaluate`
ranks.npz              the ranks behind the results, for `mlcmr compare`
report.html            the results as a page

The runs of one training with several seeds lie in one folder, as `seed-0`, `seed-1` and so on.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlcmr
from mlcmr.data.run_settings import MAY_DIFFER, find_seeds
from mlcmr.errors import InvalidValueError
from mlcmr.files import locked, write_text
from mlcmr.paths import user_path
from mlcmr.reading import dump_yaml, parse_yaml, read_yaml
from mlcmr.training.config import TrainConfig
from mlcmr.training.distributed import is_first_process
from mlcmr.versions import versions

# Settings that may change when a run continues. `accelerator` and `devices` change its numbers, by rounding
# and by other dropout masks; the others do not.
MAY_CHANGE = (MAY_DIFFER | {"epochs"}) - {"seed"}


@dataclass(frozen=True)
class Run:
    """The folder of a run.

    Attributes:
        folder: Its path.
    """

    folder: Path

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return f"best model: {self.model}\nevaluate:   mlcmr evaluate {self.folder}"

    def to_dict(self) -> dict[str, str]:
        """Return the paths of the run and of its best model."""
        return {"run": str(self.folder), "model": str(self.model)}

    @property
    def config(self) -> Path:
        """The file with all settings."""
        return self.folder / "config.yaml"

    @property
    def environment(self) -> Path:
        """The file with command, versions and machine, which training writes first."""
        return self.folder / "environment.json"

    @property
    def metrics(self) -> Path:
        """The file with losses and validation scores."""
        return self.folder / "metrics.jsonl"

    @property
    def state(self) -> Path:
        """The file with the state of training."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def saved_state_hint(self) -> str:
        """The end of an error message: where the saved state is, or nothing if there is none."""
        return f"; the last saved state stays in {self.folder}" if self.state.exists() else ""

    @property
    def model(self) -> Path:
        """The folder of the best model so far."""
        return self.folder / "model"


@contextmanager
def open_run_folder(config: TrainConfig) -> Iterator[Run]:
    """Open the folder of a new run or of a run to continue, and lock it.

    Raises:
        InUseError: If another process trains in the folder.
        InvalidValueError: If the folder holds a run with other settings, or something that is no run.
    """
    run = Run(user_path(config.run))
    if not is_first_process():
        yield run
        return
    with locked(run.folder / ".lock", f"{run.folder}: another process trains there; choose another `run`"):
        _remove_unfinished(run)
        if run.state.exists() or run.environment.exists():
            require_same(run, config)
        else:
            _require_new(run)
        yield run


def record_start(run: Run, config: TrainConfig) -> None:
    """Write the settings, the command, the versions and the machine.

    Raises:
        MlcmrError: If the folder cannot be written.
    """
    if is_first_process():
        write_text(run.environment, json.dumps(_environment(), indent=2) + "\n")
        write_text(run.config, dump_yaml(asdict(config)))


def _remove_unfinished(run: Run) -> None:
    """Remove the temporary files of a killed training (see `replacing`)."""
    for path in [*run.folder.glob(".*.tmp"), *run.folder.glob("*/.*.tmp")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _require_new(run: Run) -> None:
    if find_seeds(run.folder):
        raise InvalidValueError(
            f"{run.folder}: holds the runs of several seeds; name `seeds`, or choose another `run`",
            path=run.folder,
            parameter="run",
        )
    for path in (run.config, run.model, run.metrics):
        if path.exists():
            raise InvalidValueError(
                f"{path}: not from a training that could go on; choose another `run`, or remove the folder",
                path=path,
                parameter="run",
            )


def require_same(run: Run, config: TrainConfig, may_change: Set[str] = MAY_CHANGE) -> None:
    """Check that a run was begun with the same settings.

    Args:
        run: The run.
        config: The settings now.
        may_change: The settings that may differ.

    Raises:
        InvalidValueError: If the run has a result, and another setting differs.
    """
    if not run.state.exists() and not run.model.exists():
        return  # no result would be lost
    hint = "choose another `run`, or remove the folder"
    # The run of an older version lacks newer settings; it was trained with their defaults.
    defaults = _flatten(parse_yaml(dump_yaml(asdict(TrainConfig())), str(run.config), hint))
    before = defaults | _flatten(read_yaml(run.config, dict[str, Any], hint))
    now = _flatten(parse_yaml(dump_yaml(asdict(config)), str(run.config), hint))
    for name in sorted((before.keys() | now.keys()) - may_change):
        if before.get(name) != now.get(name):
            raise InvalidValueError(
                f"{run.config}: this run was begun with other settings ({name}: {before.get(name)}, now "
                f"{now.get(name)}); choose another `run`, or remove the folder",
                path=run.config,
                parameter=name,
            )


def _flatten(settings: dict[str, Any]) -> dict[str, Any]:
    """Flatten nested settings: `model.dropout` is a key."""
    options: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            options |= {f"{name}.{inner}": setting for inner, setting in _flatten(value).items()}
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
    """Return the git revision of this package, or None if git does not track the package."""
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
