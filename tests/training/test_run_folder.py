"""A run folder: one process at a time, and no other run's settings."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
from unittest.mock import Mock

import pytest
import yaml

import mlcmr
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError
from mlcmr.model.config import TextConfig
from mlcmr.training import train
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.run_folder import open_run_folder, record_start
from tests.helpers import processes
from tests.helpers.runs import assert_same, damaged, files
from tests.helpers.tiny import (
    tiny_config,
    tiny_model,
    write_recipe,
)


def test_two_trainings_in_one_folder(root, tmp_path):
    endless = OptimizerConfig(patience=1_000_000)
    config = tiny_config(root, tmp_path / "run", epochs=1_000_000, optimizer=endless, workers=1)
    recipe = write_recipe(tmp_path / "recipe.yaml", config)
    first = processes.start(["train", recipe], tmp_path / "first")
    assert first.wait_until((tmp_path / "run/checkpoints/last.ckpt").exists)
    second = processes.run(["train", recipe], tmp_path / "second")
    assert second.wait() == 2
    assert second.lines == [f"mlcmr: {tmp_path / 'run'}: another process trains there; choose another --run"]
    first.kill()
    third = processes.start(["train", recipe], tmp_path / "third")  # at once: its workers may still be there
    assert third.wait_until(lambda: "going on with" in third.output), third.output
    third.kill()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EAGAIN, "another process trains there"),
        (errno.EACCES, "another process trains there"),
        (errno.ENOLCK, "cannot be locked: No locks available"),
    ],
)
def test_a_folder_that_cannot_be_locked(root, tmp_path, monkeypatch, number, message):
    monkeypatch.setattr(fcntl, "lockf", Mock(side_effect=OSError(number, os.strerror(number))))
    with pytest.raises(MlcmrError, match=f"{tmp_path / 'run'}: {message}"):
        train(tiny_config(root, tmp_path / "run"))


def test_the_revision_is_that_of_this_package(root, tmp_path, monkeypatch):
    """Not that of a repository of the user's which the package is installed somewhere inside."""
    package = tmp_path / ".venv/site-packages/mlcmr"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "thesis.txt").touch()
    monkeypatch.setattr(mlcmr, "__file__", str(package / "__init__.py"))

    def git(*words: str) -> str:
        name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *name, *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    def revision(run: str) -> str | None:
        config = tiny_config(root, tmp_path / run)
        with open_run_folder(config) as opened:
            record_start(opened, config)
            return json.loads((opened.folder / "environment.json").read_text())["git"]

    git("init", "--quiet")
    git("add", "thesis.txt")
    git("commit", "--quiet", "-m", "A thesis")
    assert revision("one") is None
    git("add", "--force", str(package))
    git("commit", "--quiet", "-m", "The package")
    assert revision("two") == git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"batch_size": 4}, r"batch_size: 8, now 4"),
        ({"seed": 3}, r"seed: 0, now 3"),
        ({"optimizer": OptimizerConfig(learning_rate=1e-3)}, r"optimizer\.learning_rate: 0\.003, now 0\.001"),
        ({"model": tiny_model(embedding_size=16)}, r"model\.embedding_size: 32, now 16"),
        (
            {"model": tiny_model(text=TextConfig(trained_layers="all"))},
            r"model\.text\.new\.dropout: 0\.1, now None",
        ),
    ],
)
def test_other_settings_need_another_run(root, first_half, changes, what):
    before = (first_half / "config.yaml").read_bytes()
    with pytest.raises(
        InvalidValueError, match=rf"begun with other settings \({what}\); choose another `run`"
    ):
        train(tiny_config(root, first_half, **changes))
    assert (first_half / "config.yaml").read_bytes() == before


def test_a_setting_that_was_not_there_needs_another_run(root, first_half, tmp_path):
    run = damaged(first_half, tmp_path)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["model"]["text"]["new"] = None
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(
        InvalidValueError, match=r"other settings \(model\.text\.new\.dropout: None, now 0\.1\)"
    ):
        train(tiny_config(root, run, epochs=3))


def test_a_run_of_an_older_version_goes_on(root, first_half, tmp_path):
    """Its settings lack those that came later; it was trained with what are their defaults."""
    run = damaged(first_half, tmp_path)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    del settings["model"]["text"]["pooling"], settings["loss"]["name"], settings["loss"]["options"]
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    text = TextConfig(new=tiny_model().text.new, trained_layers="all", pooling="max")
    with pytest.raises(InvalidValueError, match=r"other settings \(model\.text\.pooling: mean, now max\)"):
        train(tiny_config(root, run, epochs=3, model=tiny_model(text=text)))
    train(tiny_config(root, run, epochs=3))


@pytest.mark.parametrize("kept", [["config.yaml"], ["model"], ["metrics.jsonl"], ["model", "config.yaml"]])
def test_a_folder_that_is_no_run_stays(root, first_half, tmp_path, kept):
    """A recipe of the user's own, an imported checkpoint: nothing that training may replace."""
    run = tmp_path / "run"
    run.mkdir()
    for name in kept:
        copy = shutil.copytree if (first_half / name).is_dir() else shutil.copy
        copy(first_half / name, run / name)
    before = files(run)
    for _ in range(2):  # the first refusal leaves nothing that the second would take for a run
        with pytest.raises(
            InvalidValueError, match=r": not from a training that could go on; choose another `run`"
        ):
            train(tiny_config(root, run))
    assert files(run) == before


def test_a_model_whose_state_was_removed(root, first_half, tmp_path):
    """The run begins again; with other settings it would be another one, and the model stays."""
    run = damaged(first_half, tmp_path)
    (run / "checkpoints/last.ckpt").unlink()
    before = files(run)
    with pytest.raises(InvalidValueError, match=r"begun with other settings \(seed: 0, now 1\)"):
        train(tiny_config(root, run, seed=1))
    assert files(run) == before
    train(tiny_config(root, run))
    assert_same(run, first_half)


@pytest.mark.parametrize("content", ["", "[1, 2]", "seed: [", "\x00"])
def test_damaged_settings(root, first_half, tmp_path, content):
    run = damaged(first_half, tmp_path)
    (run / "config.yaml").write_text(content)
    with pytest.raises(
        CorruptFileError, match=r"config\.yaml.*; choose another `run`, or remove the folder$"
    ):
        train(tiny_config(root, run, epochs=3))
