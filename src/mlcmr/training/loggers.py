"""Loggers by name or as objects: where losses and scores go besides `metrics.jsonl`."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning.fabric.loggers.logger import Logger

from mlcmr.errors import InvalidValueError, MissingDependencyError, reason
from mlcmr.registry import name_of, resolve

LoggerFactory = Callable[[Path, int], Logger]
"""Makes a logger from the folder of a run and the first step that is logged."""
GivenLogger = str | Logger | LoggerFactory
"""A logger by name, as an object, or as the class or function that makes it."""


def make_loggers(given: GivenLogger | Sequence[GivenLogger], folder: Path, first_step: int) -> list[Logger]:
    """Return the loggers of a run.

    Args:
        given: `tensorboard`, `wandb`, `mlflow`, `csv`, `none`, or `package.module:Name`, a function or class
            that takes the folder and the first step and returns a logger of Lightning; such a function or
            class itself; a logger of Lightning; or a list of them.
        folder: The folder of the run.
        first_step: The first step that is logged; later entries of a killed run are dropped.

    Raises:
        InvalidValueError: If a name is unknown, its code fails, or an object is no logger.
        MissingDependencyError: If the package of a logger is not installed.
    """
    names = dict.fromkeys(name for name in logger_names(given) if name != "none")
    objects = [each for each in _as_list(given) if not isinstance(each, str)]
    return [_make_logger(each, folder, first_step) for each in (*names, *objects)]


def logger_names(given: GivenLogger | Sequence[GivenLogger]) -> list[str]:
    """Return the names among loggers, which the settings of a run hold."""
    return [each for each in _as_list(given) if isinstance(each, str)]


def _as_list(given: GivenLogger | Sequence[GivenLogger]) -> Sequence[GivenLogger]:
    return given if isinstance(given, list | tuple) else [given]  # type: ignore[list-item]


def _make_logger(given: GivenLogger, folder: Path, first_step: int) -> Logger:
    if isinstance(given, Logger):
        return given
    name = given if isinstance(given, str) else name_of(given)
    factory = resolve(given, _BUILT_IN, parameter="logger", source=None) if isinstance(given, str) else given
    try:
        logger = factory(folder, first_step)
    except ImportError as error:
        hint = f"pip install {name}" if name in _BUILT_IN else reason(error)
        raise MissingDependencyError(
            f"`logger` {name}: a package is not installed: {hint}", parameter="logger"
        ) from error
    except Exception as error:  # another package may raise anything
        raise InvalidValueError(
            f"`logger` {name} cannot be used: {reason(error)}", parameter="logger"
        ) from error
    if not isinstance(logger, Logger):
        raise InvalidValueError(
            f"`logger` {name} returned {logger!r}, which is no logger of Lightning", parameter="logger"
        )
    return logger


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
