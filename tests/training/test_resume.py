"""A run that was stopped at any moment ends like an uninterrupted run."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import pytest
import torch

from mlcmr.data.collection import open_collection
from mlcmr.model import checkpoint
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training import loop, metrics_log, train
from mlcmr.training.checkpoint import read_state
from mlcmr.training.run_folder import Run
from mlcmr.training.step import TrainingStep
from tests.helpers import processes
from tests.helpers.runs import STEPS, assert_same, damaged, files, leftovers, records
from tests.helpers.tiny import (
    COLLECTION,
    FEATURE,
    SPLITS,
    tiny_config,
    video_name,
    write_collection,
    write_recipe,
)


class StopTraining(BaseException):
    """Ends a training in these tests."""


def dying(function: Callable[..., Any], call: int, *, before: bool) -> Callable[..., Any]:
    """The function, but its call number `call` (from 1) ends the program, before or after its work."""
    calls = 0

    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and before:
            raise StopTraining
        done = function(*arguments, **options)
        if calls == call:
            raise StopTraining
        return done

    return wrapped


def test_stopped_after_every_single_step(root, first_half, tmp_path, monkeypatch):
    """Fourteen states are saved in two epochs; after each of them the training ends and begins again."""
    write_state = loop.write_state
    config = tiny_config(root, tmp_path / "run", checkpoint_minutes=0)
    stops = 0
    while True:
        monkeypatch.setattr(loop, "write_state", dying(write_state, 1, before=False))
        try:
            train(config)
        except StopTraining:
            stops += 1
            assert stops <= 2 * (STEPS + 1), "it does not get on"
            continue
        break
    assert stops == 2 * (STEPS + 1)
    assert_same(tmp_path / "run", first_half)


@pytest.mark.parametrize("minutes", [0, 10], ids=["saved every step", "saved every epoch"])
@pytest.mark.parametrize(
    ("owner", "name", "call", "before"),
    [
        (TrainingStep, "forward", 1, True),
        (TrainingStep, "forward", STEPS + 3, False),
        (loop.TrainingLoop, "_log_step", STEPS, False),
        (loop.TrainingLoop, "_log_step", 2 * STEPS, False),
        (loop, "validation_scores", 2, True),
        (loop, "validation_scores", 2, False),
        (checkpoint, "_take_over", 2, True),
        (checkpoint, "save_file", 2, True),
        (MLCMR, "save_pretrained", 2, False),
        (loop, "write_state", 2, True),
        (metrics_log.MetricsLog, "log", STEPS + 4, False),
    ],
)
def test_stopped_anywhere(root, first_half, tmp_path, monkeypatch, owner, name, call, before, minutes):
    config = tiny_config(root, tmp_path / "run", checkpoint_minutes=minutes)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying(getattr(owner, name), call, before=before))
        with pytest.raises(StopTraining):
            train(config)
    train(config)
    assert_same(tmp_path / "run", first_half)
    assert not leftovers(tmp_path / "run")


def test_more_epochs_go_on(root, first_half, undisturbed, tmp_path):
    shutil.copytree(first_half, tmp_path / "run")
    train(tiny_config(root, tmp_path / "run", epochs=4))
    assert_same(tmp_path / "run", undisturbed)


def test_double_precision_goes_on_exactly(root, tmp_path):
    """The saved state keeps all digits."""
    for name, epochs in (("whole", [2]), ("parts", [1, 2])):
        for last in epochs:
            train(tiny_config(root, tmp_path / name, epochs=last, precision="64-true"))
    assert_same(tmp_path / "parts", tmp_path / "whole")
    weights = read_state(Run(tmp_path / "whole").state).model.values()
    assert all(tensor.dtype == torch.float64 for tensor in weights if tensor.is_floating_point())


@pytest.mark.slow
def test_killed(root, undisturbed, tmp_path):
    """`kill -9` again and again: at startup, while files are written, while it validates, and at random."""
    run = Run(tmp_path / "run")
    config = tiny_config(root, run.folder, epochs=4, checkpoint_minutes=0)
    command = ["train", write_recipe(tmp_path / "recipe.yaml", config)]
    starting = subprocess.Popen([sys.executable, "-m", "mlcmr", *map(str, command)])
    time.sleep(1.5)
    starting.kill()
    assert starting.wait() == -signal.SIGKILL
    draw = random.Random(0)
    started = recorded = 0

    def writing(pattern: str) -> bool:
        """Return whether this process has written such a file; a killed one may have left an older file."""
        with suppress(FileNotFoundError):
            return any(path.stat().st_mtime_ns > started for path in run.folder.glob(pattern))
        return False

    def lines() -> list[bytes]:
        return run.metrics.read_bytes().splitlines() if run.metrics.exists() else []

    def validating() -> bool:
        step = lines()[-1:]
        return bool(step) and b'"loss"' in step[0] and step[0].startswith((b'{"step": 6,', b'{"step": 12,'))

    moments: list[Callable[[], bool]] = [
        lambda: writing("checkpoints/.last.ckpt.*.tmp"),
        lambda: len(lines()) > recorded and draw.random() < 0.02,
        validating,
        lambda: writing("model/.*.tmp"),
        lambda: len(lines()) > recorded and draw.random() < 0.02,
    ]
    kills = 0
    for moment in moments:
        started, recorded = time.time_ns(), len(lines())
        training = processes.start(command, tmp_path / "log")
        if training.wait_until(moment):
            training.kill()
            assert training.process.exitcode == -signal.SIGKILL
            kills += 1
            if run.state.exists():
                read_state(run.state)
    assert kills >= 3, "it ended too soon for this to mean anything"
    last = processes.run(command, tmp_path / "log")
    assert last.wait() == 0, last.output
    assert_same(run.folder, undisturbed)
    assert not leftovers(run.folder)


def test_killed_with_drawn_languages_and_missing_captions(tmp_path):
    """Each step draws the languages that it draws in an uninterrupted run."""
    text = write_collection(tmp_path) / "TextData" / "tinytrain_zh.caption.txt"
    text.write_text("".join(text.read_text().splitlines(keepends=True)[5:40]))
    settings: dict[str, Any] = {"missing_captions": "keep", "languages_per_step": 1, "checkpoint_minutes": 0}
    whole = train(tiny_config(tmp_path, tmp_path / "whole", **settings)).folder
    config = tiny_config(tmp_path, tmp_path / "run", **settings)
    command = ["train", write_recipe(tmp_path / "recipe.yaml", config)]
    training = processes.start(command, tmp_path / "log")
    assert training.wait_until((tmp_path / "run/checkpoints/last.ckpt").exists)
    training.kill()
    again = processes.run(command, tmp_path / "log")
    assert again.wait() == 0, again.output
    assert "zh: 18 of 24 videos have captions, 35 of 48 examples" in again.output
    assert "going on with" in again.output
    assert_same(tmp_path / "run", whole)
    terms = [{name[:2] for name in record if "→" in name} for record in records(whole) if "loss" in record]
    assert all(len(languages) == 1 for languages in terms)
    assert sum(languages == {"en"} for languages in terms) == len(terms) / 2 == STEPS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(root, undisturbed, tmp_path, number):
    config = tiny_config(root, tmp_path / "run", epochs=4, checkpoint_minutes=0)
    command = ["train", write_recipe(tmp_path / "recipe.yaml", config)]
    training = processes.start(command, tmp_path / "log")
    assert training.wait_until((tmp_path / "run/checkpoints/last.ckpt").exists)
    os.kill(training.process.pid, number)
    assert training.wait() == 130
    few, layers, *epochs, last = training.lines
    assert layers.startswith("text encoder: ")
    assert few.startswith("validating on 6 videos: so few can hardly choose")
    assert last.startswith("mlcmr: interrupted")
    assert all(line.startswith("epoch ") for line in epochs)
    again = processes.run(command, tmp_path / "log")
    assert again.wait() == 0, again.output
    assert "going on with" in again.output
    assert_same(tmp_path / "run", undisturbed)


def test_finished_already(root, first_half, tmp_path):
    shutil.copytree(first_half, tmp_path / "run")
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run"))
    command = processes.run(["train", recipe], tmp_path / "log")
    assert command.wait() == 0
    assert command.lines[0].startswith(f"{tmp_path / 'run'} is trained already: 2 epochs; remove the folder")
    assert files(tmp_path / "run") == files(first_half)  # the command that trained is still on record


def test_metrics_that_were_removed(root, first_half, tmp_path):
    run = damaged(first_half, tmp_path)
    (run / "metrics.jsonl").unlink()
    train(tiny_config(root, run, epochs=3))
    assert [record["epoch"] for record in records(run)] == [2] * (STEPS + 1)


def test_broken_features(root, first_half, undisturbed, tmp_path):
    """A value that is not a number stops the training with one line, and damages no file of the run."""
    run = damaged(first_half, tmp_path)
    shutil.copytree(root / COLLECTION, tmp_path / COLLECTION)
    config = tiny_config(tmp_path, run, epochs=4)
    state = (run / "checkpoints/last.ckpt").read_bytes()
    features = open_collection(tmp_path, COLLECTION).open_features(FEATURE)
    file = features.folder / "feature.bin"
    whole = file.read_bytes()
    for split, workers in (("train", 0), ("train", 1), ("val", 0)):
        matrix = np.frombuffer(whole, "<f4").reshape(-1, features.dimension).copy()
        video = video_name(*SPLITS[split][0])
        row = features.rows(video)[1]
        matrix[row, 0] = np.nan
        file.write_bytes(matrix.tobytes())
        message = f"{file}: frame 1 of video '{video}' (row index {row}): holds NaN"
        recipe = write_recipe(tmp_path / "recipe.yaml", replace(config, workers=workers))
        command = processes.run(["train", recipe], tmp_path / "log")
        assert command.wait() == 2
        assert command.lines[0].startswith("going on with")
        assert len(command.lines) == 3
        assert message in command.lines[2]
        assert (run / "checkpoints/last.ckpt").read_bytes() == state
    file.write_bytes(whole)
    train(config)
    assert_same(run, undisturbed)


@pytest.mark.parametrize("largest_file", [300_000, 100_000, 2_500], ids=["state", "model", "metrics"])
def test_full_disk(root, first_half, undisturbed, tmp_path, largest_file):
    run = damaged(first_half, tmp_path)
    state = (run / "checkpoints/last.ckpt").read_bytes()
    (run / "metrics.jsonl").write_bytes((first_half / "metrics.jsonl").read_bytes())
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, run, epochs=4, log_every=1))
    command = processes.run(["train", recipe], tmp_path / "log", largest_file=largest_file)
    assert command.wait() == 2, command.output
    begun, layers, *epochs, last = command.lines
    assert layers.startswith("text encoder: ")
    assert begun.startswith("going on with")
    assert all(line.startswith("epoch ") for line in epochs)
    assert last.startswith(f"mlcmr: {run}")
    assert "cannot be written" in last
    kept = read_state(Run(run).state)
    assert kept.loop.epoch >= 2
    if not epochs:
        assert (run / "checkpoints/last.ckpt").read_bytes() == state
    MLCMR.from_pretrained(run / "model")
    again = processes.run(["train", recipe], tmp_path / "log")
    assert again.wait() == 0, again.output
    assert_same(run, undisturbed)


def test_a_slurm_job_is_requeued_before_its_time_limit(root, undisturbed, tmp_path):
    """At SIGUSR1 the state is saved and the job is put back into the queue."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/requeued\n')
    scontrol.chmod(0o755)
    environment = {
        "PATH": f"{scontrol.parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "training",
        **dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0"),
        "SLURM_NTASKS": "1",
    }
    run = tmp_path / "run"
    command = ["train", write_recipe(tmp_path / "recipe.yaml", tiny_config(root, run, epochs=4))]
    training = processes.start(command, tmp_path / "log", environment=environment)
    assert training.wait_until((run / "metrics.jsonl").exists)
    os.kill(training.process.pid, signal.SIGUSR1)
    assert training.wait() == 130, training.output
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    assert read_state(Run(run).state).loop.step == records(run)[-1]["step"] < 4 * STEPS
    again = processes.run(command, tmp_path / "log")
    assert again.wait() == 0, again.output
    assert_same(run, undisturbed)
