"""The contract of a logger."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from lightning.fabric.loggers.logger import Logger

from mlcmr.training.loggers import LoggerFactory

_FILES = {"config.yaml": b"seed: 0\n", "metrics.jsonl": b'{"step": 1}\n'}
"""Files of a run that do not belong to its loggers."""


def check_logger(logger: LoggerFactory) -> None:
    """Check that a logger can receive the losses and scores of trainings.

    Args:
        logger: A class or function that takes the folder of a run and the first step that is logged.

    Raises:
        AssertionError: If a property of a logger does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="mlcmr-logger-") as name:
        for run in ("one", "other"):  # a process may train several times
            folder = Path(name) / run
            folder.mkdir()
            for file, content in _FILES.items():
                (folder / file).write_bytes(content)
            _log(logger, folder, range(1, 6), "failed")
            _log(logger, folder, range(4, 8), "success")  # the state was saved after step 3
            _log(logger, folder, (), "failed")
            for file, content in _FILES.items():
                assert (folder / file).is_file(), f"a logger does not remove {file} of the run"
                assert (folder / file).read_bytes() == content, f"a logger does not change {file} of the run"


def _log(make: LoggerFactory, folder: Path, steps: Iterable[int], end: Literal["success", "failed"]) -> None:
    """Log steps and validations as a training does."""
    logger = make(folder, min(steps, default=8))
    assert isinstance(logger, Logger), "a logger is a `lightning.fabric.loggers.logger.Logger`"
    for step in steps:
        _log_values(logger, {"loss": 2.5 / step, "en→v": 1.5, "v~v'": 0.5, "lr": 1e-4}, step)
        if step % 3 == 0:  # at the end of an epoch, a step has scores besides losses
            _log_values(logger, {"val/score": 60.0 + step, "val/en": 60.0 + step}, step)
            logger.save()
    logger.finalize(end)


def _log_values(logger: Logger, values: dict[str, float], step: int) -> None:
    given = dict(values)
    logger.log_metrics(metrics=given, step=step)
    assert given == values, "a logger does not change the values that it receives"
