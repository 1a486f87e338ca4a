"""Loggers receive what `metrics.jsonl` holds."""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.loggers.logger import Logger
from lightning.pytorch.loggers import mlflow, wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mlcmr.errors import InvalidValueError, MissingDependencyError
from mlcmr.testing import check_logger
from mlcmr.training import train
from mlcmr.training.loggers import make_loggers
from tests.helpers.runs import assert_same, records
from tests.helpers.tiny import tiny_config

received: list[tuple[int, dict[str, float]]] = []


class RecordingLogger(Logger):
    """A logger of another package."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self.started = folder, first_step

    @property
    def name(self) -> str:
        return "recording"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        received.append((step, dict(metrics)))

    def log_hyperparams(self, *_: Any) -> None:
        raise NotImplementedError


def measured(run: Path) -> list[tuple[int, dict[str, float]]]:
    """Return the values of `metrics.jsonl` that loggers receive, with their steps."""
    facts = {"step", "epoch", "examples", "best"}
    return [(line["step"], {k: v for k, v in line.items() if k not in facts}) for line in records(run)]


def test_tensorboard_by_default(undisturbed):
    events = EventAccumulator(str(undisturbed / "tensorboard"), {"scalars": 0})
    events.Reload()
    for name in ("loss", "lr", "val/score"):
        shown = {event.step: event.value for event in events.Scalars(name)}
        expected = {step: values[name] for step, values in measured(undisturbed) if name in values}
        assert shown == pytest.approx(expected)


def test_tensorboard_keeps_the_last_step_of_an_interrupted_run(root, tmp_path):
    for epochs in (1, 2):
        train(tiny_config(root, tmp_path / "run", epochs=epochs))
        time.sleep(1)  # TensorBoard orders the files of one second by a process's count, as text: 10 before 9
    events = EventAccumulator(str(tmp_path / "run/tensorboard"), {"scalars": 0})
    events.Reload()
    for name in ("loss", "val/score"):
        shown = [event.step for event in events.Scalars(name)]
        assert shown == [step for step, values in measured(tmp_path / "run") if name in values]


def test_csv(root, tmp_path):
    for epochs in (1, 2):
        train(tiny_config(root, tmp_path / "run", epochs=epochs, logger="csv"))
    rows = []
    for start in ("from_step_1", "from_step_7"):
        with (tmp_path / "run" / "csv" / start / "metrics.csv").open(newline="") as file:
            rows += [
                (int(row.pop("step")), {name: float(value) for name, value in row.items() if value})
                for row in csv.DictReader(file)
            ]
    assert rows == measured(tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_logger_of_another_package(root, tmp_path):
    received.clear()
    name = f"{__name__}:{RecordingLogger.__name__}"
    train(tiny_config(root, tmp_path / "run", logger=[name, "csv"]))
    assert received == measured(tmp_path / "run")
    assert (tmp_path / "run" / "csv").is_dir()


def test_loggers_as_objects(root, tmp_path):
    received.clear()
    logger = RecordingLogger(tmp_path, 1)
    run = train(tiny_config(root, tmp_path / "run"), logger=logger)
    assert received == measured(run.folder)
    assert not (run.folder / "tensorboard").exists()  # the objects take the place of the setting
    received.clear()
    run = train(tiny_config(root, tmp_path / "other"), logger=[RecordingLogger, "csv"])
    assert received == measured(run.folder)
    assert (run.folder / "csv").is_dir()


@pytest.mark.parametrize("logger", [measured, lambda *_: None, [7]])
def test_an_object_that_is_no_logger(root, tmp_path, logger):
    with pytest.raises(InvalidValueError, match="`logger`") as caught:
        train(tiny_config(root, tmp_path / "run"), logger=logger)
    assert caught.value.parameter == "logger"
    assert not (tmp_path / "run").exists()


def test_a_logger_changes_nothing_else(root, first_half, tmp_path):
    """Neither the results nor whether a run may continue."""
    for epochs, logger in ((1, "none"), (2, "csv")):
        train(tiny_config(root, tmp_path / "run", epochs=epochs, logger=logger))
    assert_same(tmp_path / "run", first_half)


@pytest.mark.parametrize(("name", "module"), [("wandb", wandb), ("mlflow", mlflow)])
def test_a_package_that_is_not_installed(root, tmp_path, monkeypatch, name, module):
    monkeypatch.setattr(module, f"_{name.upper()}_AVAILABLE", False)
    with pytest.raises(MissingDependencyError, match=rf"`logger` {name}: .*: pip install {name}"):
        train(tiny_config(root, tmp_path / "run", logger=name))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("tensorbord", InvalidValueError),
        ("no.such.package:Logger", MissingDependencyError),
        (f"{__name__}:measured", InvalidValueError),
    ],
)
def test_a_logger_that_cannot_be_used(root, tmp_path, name, error):
    with pytest.raises(error, match="`logger`"):
        train(tiny_config(root, tmp_path / "run", logger=name))
    assert not (tmp_path / "run").exists()


# ─── the contract ────────────────────────────────────────────────────────────────────────────────────────


def built_in(name: str) -> Callable[[Path, int], Logger]:
    return lambda folder, first_step: make_loggers(name, folder, first_step)[0]


@pytest.mark.parametrize("logger", [built_in("tensorboard"), built_in("csv"), RecordingLogger])
def test_loggers_that_keep_the_contract(logger):
    check_logger(logger)


class ChangingLogger(RecordingLogger):
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        metrics.clear()


class OverwritingLogger(RecordingLogger):
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        (self.started[0] / "metrics.jsonl").write_text("{}\n")


class RemovingLogger(RecordingLogger):
    def __init__(self, folder: Path, first_step: int) -> None:
        super().__init__(folder, first_step)
        (folder / "config.yaml").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        (lambda *_: None, "a logger is a `lightning"),
        (ChangingLogger, "does not change the values"),
        (OverwritingLogger, "does not change metrics.jsonl"),
        (RemovingLogger, "does not remove config.yaml"),
    ],
)
def test_loggers_that_break_the_contract(logger, message):
    with pytest.raises(AssertionError, match=message):
        check_logger(logger)


def test_a_logger_that_cannot_log_again_in_the_folder_of_a_continued_run():
    def make(folder: Path, first_step: int) -> Logger:
        (folder / "once").mkdir()
        return RecordingLogger(folder, first_step)

    with pytest.raises(FileExistsError):
        check_logger(make)
