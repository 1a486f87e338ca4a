"""Loggers by name: where losses and scores go besides `metrics.jsonl`."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from lightning.fabric.loggers.logger import Logger

from mlcmr.errors import InvalidValueError, MissingDependencyError, reason
from mlcmr.registry import resolve

LoggerFactory = Callable[[Path, int], Logger]
"""Makes a logger from the folder of a run and the first step that is logged."""


def make_loggers(names: str | list[str], folder: Path, first_step: int) -> list[Logger]:
    """Return the loggers of a run.

    Args:
        names: `tensorboard`, `wandb`, `mlflow`, `csv`, `none`, or `package.module:Name`, a function or class
            that takes the folder and the first step and returns a logger of Lightning; or a list of them.
        folder: The folder of the run.
        first_step: The first step that is logged; later entries of a killed run are dropped.

    Raises:
        InvalidValueError: If a name is unknown or its code fails.
        MissingDependencyError: If the package of a logger is not installed.
    """
    return [
        _make_logger(name, folder, first_step)
        for name in dict.fromkeys([names] if isinstance(names, str) else names)
        if name != "none"
    ]


def _make_logger(name: str, folder: Path, first_step: int) -> Logger:
    factory: LoggerFactory = resolve(name, _BUILT_IN, parameter="logger", source=None)
    try:
        return factory(folder, first_step)
    except ImportError as error:
        hint = f"pip install {name}" if name in _BUILT_IN else reason(error)
        raise MissingDependencyError(
            f"`logger` {name}: a package is not installed: {hint}", parameter="logger"
        ) from error
    except Exception as error:  # another package may raise anything
        raise InvalidValueError(
            f"`logger` {name} cannot be used: {reason(error)}", parameter="logger"
        ) from error


def _tensorboard(folder: Path, first_step: int) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger  # noqa: PLC0415

    return TensorBoardLogger(folder, "tensorboard", version="", purge_step=first_step)


def _wandb(folder: Path, first_step: int) -> Logger:  # noqa: ARG001
    from lightning.pytorch.loggers import WandbLogger  # noqa: PLC0415

    class FinishingLogger(WandbLogger):
        """End the run with the training: the next training of this process is another run."""

        def finalize(self, status: str) -> None:
            """Send the remaining values, and end the run."""
            super().finalize(status)
            if self._experiment is not None:
                self._experiment.finish(exit_code=0 if status == "success" else 1)

    # The id follows from the folder, so that a continued run stays one run of Weights & Biases.
    run_id = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest()
    return FinishingLogger(name=folder.name, id=run_id, save_dir=folder, resume="allow")


def _mlflow(folder: Path, first_step: int) -> Logger:  # noqa: ARG001
    from lightning.pytorch.loggers import MLFlowLogger  # noqa: PLC0415

    server = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve() / 'mlflow.db'}"
    return MLFlowLogger("mlcmr", run_name=folder.name, tracking_uri=server)


def _csv(folder: Path, first_step: int) -> Logger:
    from lightning.fabric.loggers.csv_logs import CSVLogger  # noqa: PLC0415

    # Lightning's logger cannot append to the file of an earlier process.
    logger = CSVLogger(folder, "csv", version=f"from_step_{first_step}")
    Path(logger.log_dir, "metrics.csv").unlink(missing_ok=True)
    return logger


_BUILT_IN: dict[str, LoggerFactory] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "csv": _csv,
}
