"""One training several times, each time with another seed: how much the figures vary between trainings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcmr.arguments import check_arguments
from mlcmr.data.run_settings import MAY_DIFFER, find_seeds, folder_of_seed, is_run
from mlcmr.errors import InvalidValueError
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.training.config import TrainConfig
from mlcmr.training.distributed import is_first_process
from mlcmr.training.recipes import change_settings, read_recipe
from mlcmr.training.run_folder import Run, require_same
from mlcmr.training.run_training import train


@dataclass(frozen=True)
class SeedRuns:
    """The runs of one training with several seeds.

    Attributes:
        folder: The folder that holds the runs, `seed-0` and so on.
        runs: The runs, in the order of their seeds.
    """

    folder: Path
    runs: tuple[Run, ...]

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        models = [f"best model: {run.model}" for run in self.runs]
        return "\n".join([*models, f"evaluate:   mlcmr evaluate {self.folder}"])


@check_arguments
def train_seeds(
    config: TrainConfig | str | Path,
    seeds: int | Sequence[int],
    *,
    progress: Progress = SILENT,
    **overrides: Any,
) -> SeedRuns:
    """Train a model several times with different seeds, one run after another.

    The setting `run` names a folder that holds the runs as `seed-0`, `seed-1` and so on. Each equals the run
    that `train` makes with this seed. The same call continues an interrupted run, and trains missing ones.

    Example:
        >>> runs = train_seeds("configs/sample/parallel.yaml", 3, rootpath="demo")
        >>> print(evaluate(runs))

    Args:
        config: The settings, or the path of a recipe.
        seeds: The number of runs, with seeds from the setting `seed` on; or the seeds.
        progress: The receiver of progress and messages.
        **overrides: Settings that replace those of `config`; see `train`.

    Raises:
        InvalidValueError: If the seeds cannot be used, or if the folder holds a run itself or runs with
            other settings.
        MlcmrError: If a training fails; see `train`.
    """
    if isinstance(config, TrainConfig):
        settings = change_settings(config, overrides)
    else:
        settings = read_recipe(config, overrides)
    chosen = range(settings.seed, settings.seed + seeds) if isinstance(seeds, int) else seeds
    if not chosen or len(set(chosen)) < len(chosen) or min(chosen) < 0:
        raise InvalidValueError(
            f"`seeds` is {seeds}, but must be the number of runs, or different whole numbers from 0",
            parameter="seeds",
        )
    folder = user_path(settings.run)
    if is_run(folder):
        raise InvalidValueError(
            f"{folder}: holds a single run; choose another `run` for several seeds",
            path=folder,
            parameter="run",
        )
    # All settings are checked before the first training, which may take days.
    each = {
        run: change_settings(settings, {"run": str(run), "seed": seed})
        for seed in chosen
        for run in [folder_of_seed(folder, seed)]
    }
    for run in find_seeds(folder):
        if run in each:
            require_same(Run(run), each[run])
        else:
            require_same(Run(run), settings, MAY_DIFFER)
    runs = []
    for place, config_of_seed in enumerate(each.values(), 1):
        if is_first_process():
            progress.message(f"seed {config_of_seed.seed}: run {place} of {len(each)}")
        runs.append(train(config_of_seed, progress=progress))
    return SeedRuns(folder, tuple(runs))
