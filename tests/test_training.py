"""Training learns, repeats exactly, and goes on after anything as if nothing had been."""

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

import mlcmr
import processes
from mlcmr.cli import main
from mlcmr.data.batches import BatchKey, PairDataset
from mlcmr.data.collection import open_collection
from mlcmr.data.features import write_features
from mlcmr.data.scenario import read_training_pairs, read_validation
from mlcmr.display import Display
from mlcmr.errors import UserError
from mlcmr.evaluation.metrics import chance
from mlcmr.evaluation.validate import validation_scores
from mlcmr.model import checkpoint
from mlcmr.model.config import LossConfig, ModelConfig, NewEncoder, TextConfig, VideoConfig
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training import callbacks
from mlcmr.training import train as train_module
from mlcmr.training.config import OptimizerConfig, TrainConfig
from mlcmr.training.module import TrainingModule
from mlcmr.training.optimizer import Schedule
from mlcmr.training.run import Run, open_run, record_start
from mlcmr.training.state import read_state
from mlcmr.training.train import build_model, train
from tiny import (
    COLLECTION,
    FEATURE,
    SPLITS,
    tiny_config,
    tiny_model,
    video_name,
    write_collection,
    write_recipe,
)

STEPS = 6  # of an epoch


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("collections")
    write_collection(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(root) -> Path:
    """A run of four epochs that nothing happened to."""
    return train(tiny_config(root, root / "undisturbed", epochs=4)).folder


@pytest.fixture(scope="module")
def first_half(root) -> Path:
    """The same run after two epochs."""
    return train(tiny_config(root, root / "first_half", epochs=2)).folder


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def tensors(content: Any, name: str = "") -> dict[str, torch.Tensor]:
    """All tensors in nested containers, by their path."""
    if isinstance(content, torch.Tensor):
        return {name: content}
    items = content.items() if isinstance(content, dict) else []
    return {path: one for key, inner in items for path, one in tensors(inner, f"{name}/{key}").items()}


def assert_same(run: Path, other: Path) -> None:
    """Both runs ended with the same weights, optimizer, progress and metrics, to the last bit."""
    for name in ("metrics.jsonl", "model/model.safetensors", "model/text_encoder/tokenizer.json"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    state, expected = (torch.load(one / "checkpoints/last.ckpt", weights_only=True) for one in (run, other))
    assert state["progress"] == expected["progress"]
    assert state["metrics_bytes"] == expected["metrics_bytes"]
    ours, theirs = tensors(state), tensors(expected)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 20
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def leftovers(run: Path) -> list[Path]:
    return [path for path in run.rglob("*") if path.name.endswith(".tmp")]


# ─── learning ────────────────────────────────────────────────────────────────────────────────────────────


def test_it_learns(undisturbed):
    steps = [record["loss"] for record in records(undisturbed) if "loss" in record]
    assert len(steps) == 4 * STEPS
    assert np.mean(steps[-STEPS:]) < 0.7 * np.mean(steps[:STEPS])
    owners = np.repeat(np.arange(len(SPLITS["val"])), 2)
    by_chance = 2 * chance(owners, len(SPLITS["val"])).sum_recalls
    scores = [record["val/score"] for record in records(undisturbed) if "val/score" in record]
    assert len(scores) == 4
    assert max(scores) > by_chance + 100
    assert all(
        record["val/score"] == pytest.approx(record["val/en"] + record["val/zh"])
        for record in records(undisturbed)
        if "val/score" in record
    )


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({}, ["en→v", "zh→v", "en~en'", "zh~zh'", "v~v'"]),
        ({"scenario": "pseudo-parallel", "target": "zh"}, ["en→v", "zh→v", "en~en'", "zh~zh'", "v~v'"]),
        ({"scenario": "pseudo-parallel", "target": "en"}, ["en→v", "zh→v", "en~en'", "zh~zh'", "v~v'"]),
        ({"scenario": "unparallel"}, ["mixed→v", "mixed~mixed'", "v~v'"]),
        ({"languages": ["zh"]}, ["zh→v", "zh~zh'", "v~v'"]),
    ],
    ids=["parallel", "pseudo-zh", "pseudo-en", "unparallel", "one language"],
)
def test_scenarios(root, tmp_path, changes, terms):
    train(tiny_config(root, tmp_path / "run", epochs=1, **changes))
    first, *_, last = records(tmp_path / "run")
    assert [name for name in first if "v" in name or "~" in name] == terms
    assert first["loss"] == pytest.approx(sum(first[name] for name in terms), rel=1e-5)
    assert last["step"] == STEPS
    assert MLCMR.from_pretrained(tmp_path / "run/model").encode_texts(["A dog runs."], "en").shape == (1, 32)


def test_unparallel_batches_mix_languages(root):
    config = tiny_config(root, root / "unused", scenario="unparallel")
    collection = config.open_collection()
    pairs = read_training_pairs(collection, config.as_scenario())
    seen = []

    def tokenize(texts, languages):
        seen.append(set(languages))
        return [np.arange(5, dtype=np.int32) for _ in texts]

    dataset = PairDataset(pairs, collection.open_features(FEATURE), tokenize, 4, 0)
    order = np.random.default_rng(0).permutation(len(dataset))
    for start in range(0, len(dataset), 8):
        batch = dataset[BatchKey(0, order[start : start + 8])]
        assert list(batch.captions) == ["mixed"]
    assert set.union(*seen) == {"en", "zh"}
    assert {"en", "zh"} in seen


def test_lines_say_how_many_examples(root, tmp_path):
    """An epoch's last batch may be short."""
    train(tiny_config(root, tmp_path / "run", epochs=2, batch_size=20))
    sizes = [record["examples"] for record in records(tmp_path / "run") if "loss" in record]
    assert sizes == [20, 20, 8] * 2


# ─── the same again ──────────────────────────────────────────────────────────────────────────────────────


def test_an_epoch_that_takes_long_says_how_far_it_is(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mlcmr.display.FIRST", 0)
    train(tiny_config(root, tmp_path / "run", epochs=1))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch 1/1: ")]
    assert [line.partition(")")[0] for line in lines[:2]] == [
        "epoch 1/1: 1 of 6 (16 %",
        "epoch 1/1: 2 of 6 (33 %",
    ]
    assert "lr 3.00e-03" in lines[0]
    assert "samples/s" in lines[0]
    assert lines[-1].startswith("epoch 1/1: loss ")
    assert len(lines) == STEPS + 1


def test_the_same_command_gives_the_same_bits(root, undisturbed, tmp_path):
    assert_same(train(tiny_config(root, tmp_path / "run", epochs=4)).folder, undisturbed)


def test_another_seed_gives_other_numbers(root, undisturbed, tmp_path):
    train(tiny_config(root, tmp_path / "run", epochs=1, seed=1))
    assert records(tmp_path / "run")[0]["loss"] != records(undisturbed)[0]["loss"]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(root, first_half, tmp_path, workers):
    train(tiny_config(root, tmp_path / "run", workers=workers))
    assert_same(tmp_path / "run", first_half)


# ─── stopped and gone on ─────────────────────────────────────────────────────────────────────────────────


class StopTraining(BaseException):
    """What ends a training in these tests."""


def dying(function: Callable[..., Any], call: int, *, before: bool) -> Callable[..., Any]:
    """The function, but its call number `call` (from 1) ends the program, before or after its work."""
    calls = 0

    @wraps(function)  # Lightning looks at the arguments of its hooks
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
    write_state = callbacks.write_state
    config = tiny_config(root, tmp_path / "run", checkpoint_minutes=0)
    stops = 0
    while True:
        monkeypatch.setattr(callbacks, "write_state", dying(write_state, 1, before=False))
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
        (TrainingModule, "training_step", 1, True),
        (TrainingModule, "training_step", STEPS + 3, False),
        (callbacks.Record, "on_train_batch_end", STEPS, False),
        (callbacks.Record, "on_train_batch_end", 2 * STEPS, False),
        (callbacks, "validation_scores", 2, True),
        (callbacks, "validation_scores", 2, False),
        (checkpoint, "_take_over", 2, True),
        (checkpoint, "save_file", 2, True),
        (MLCMR, "save_pretrained", 2, False),
        (callbacks, "write_state", 2, True),
        (callbacks.MetricsFile, "write", STEPS + 4, False),
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


def test_killed(root, undisturbed, tmp_path):
    """`kill -9` again and again: at startup, while files are written, while it validates, and at random."""
    run = Run(tmp_path / "run")
    config = tiny_config(root, run.folder, epochs=4, checkpoint_minutes=0)
    command = ["train", write_recipe(tmp_path / "recipe.yaml", config)]
    starting = subprocess.Popen([sys.executable, "-m", "mlcmr", *map(str, command)])
    sleep(1.5)
    starting.kill()
    assert starting.wait() == -signal.SIGKILL
    draw = random.Random(0)
    known: set[Path] = set()
    recorded = 0

    def writing(pattern: str) -> bool:
        return bool(set(run.folder.glob(pattern)) - known)

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
        known, recorded = set(leftovers(run.folder)), len(lines())
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(root, undisturbed, tmp_path, number):
    config = tiny_config(root, tmp_path / "run", epochs=4, checkpoint_minutes=0)
    command = ["train", write_recipe(tmp_path / "recipe.yaml", config)]
    training = processes.start(command, tmp_path / "log")
    assert training.wait_until((tmp_path / "run/checkpoints/last.ckpt").exists)
    os.kill(training.process.pid, number)
    assert training.wait() == 130
    few, *epochs, last = training.lines
    assert few.startswith("validating on 6 videos: so few can hardly choose")
    assert last.startswith("mlcmr: interrupted")
    assert all(line.startswith("epoch ") for line in epochs)
    again = processes.run(command, tmp_path / "log")
    assert again.wait() == 0, again.output
    assert "going on with" in again.output
    assert_same(tmp_path / "run", undisturbed)


# ─── one line for people ─────────────────────────────────────────────────────────────────────────────────


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
    with pytest.raises(UserError, match=f"{tmp_path / 'run'}: {message}"):
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
        with open_run(config) as opened:
            record_start(opened, config)
            return json.loads((opened.folder / "environment.json").read_text())["git"]

    git("init", "--quiet")
    git("add", "thesis.txt")
    git("commit", "--quiet", "-m", "A thesis")
    assert revision("one") is None
    git("add", "--force", str(package))
    git("commit", "--quiet", "-m", "The package")
    assert revision("two") == git("rev-parse", "HEAD")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find processes")
def test_workers_end_with_a_killed_training(root, tmp_path):
    """Also where they are not its own forks, which is Python's way from 3.14 on."""
    config = tiny_config(root, tmp_path / "run", epochs=1000, workers=2)
    recipe = write_recipe(tmp_path / "recipe.yaml", config)
    training = processes.start(["train", recipe], tmp_path / "log", start_method="forkserver")
    assert training.wait_until((tmp_path / "run/checkpoints/last.ckpt").exists)
    workers = training.descendants
    assert len(workers) >= 2
    training.kill()
    end = monotonic() + 10
    while left := [worker for worker in workers if Path(f"/proc/{worker}").exists()]:
        assert monotonic() < end, f"still there: {left}"
        sleep(0.05)


def test_finished_already(root, first_half, tmp_path):
    shutil.copytree(first_half, tmp_path / "run")
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run"))
    command = processes.run(["train", recipe], tmp_path / "log")
    assert command.wait() == 0
    assert command.lines[0].startswith(f"{tmp_path / 'run'} is trained already: 2 epochs; remove the folder")
    assert files(tmp_path / "run") == files(first_half)  # the command that trained is still on record


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
    with pytest.raises(UserError, match=rf"begun with other settings \({what}\); choose another --run"):
        train(tiny_config(root, first_half, **changes))
    assert (first_half / "config.yaml").read_bytes() == before


def test_a_setting_that_was_not_there_needs_another_run(root, first_half, tmp_path):
    run = damaged(first_half, tmp_path)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["model"]["text"]["new"] = None
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match=r"other settings \(model\.text\.new\.dropout: None, now 0\.1\)"):
        train(tiny_config(root, run, epochs=3))


def replace_text(path: Path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")


def one_frame_less(collection: Path) -> None:
    features = open_collection(collection.parent, COLLECTION).open_features(FEATURE)
    blocks = [(video, features[video]) for video in features.videos]
    blocks[0] = (blocks[0][0], blocks[0][1][1:])
    shutil.rmtree(features.folder)
    write_features(
        features.folder,
        [([f"{video}_{frame}" for frame in range(len(block))], block) for video, block in blocks],
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: replace_text(text / "tinytrain.caption.txt", " runs", " walks"), "captions"),
        (lambda text: replace_text(text / "tinytrain_zh.caption.txt", "#zh#0", "#zh#7"), "captions"),
        (lambda text: replace_text(text / "tinyval_zh.caption.txt", "马", "牛"), "captions"),
        (lambda text: one_frame_less(text.parent), "frame features"),
    ],
    ids=["words", "examples", "validation", "frames"],
)
def test_other_data_needs_another_run(root, first_half, tmp_path, change, what):
    run = damaged(first_half, tmp_path)
    shutil.copytree(root / COLLECTION, tmp_path / COLLECTION)
    change(tmp_path / COLLECTION / "TextData")
    config = tiny_config(tmp_path, run, epochs=3, missing_captions="skip")
    replace_text(run / "config.yaml", "missing_captions: error", "missing_captions: skip")
    with pytest.raises(UserError, match=rf"{run}: this run was begun with other {what}[;,].* another --run"):
        train(config)
    for name in ("metrics.jsonl", "checkpoints/last.ckpt", "model/model.safetensors"):
        assert (run / name).read_bytes() == (first_half / name).read_bytes()


def test_another_vocabulary_needs_another_run(root, first_half, tmp_path, monkeypatch):
    """As another version of the library might learn one."""
    run = damaged(first_half, tmp_path)
    new_encoder = train_module.new_encoder
    monkeypatch.setattr(
        train_module,
        "new_encoder",
        lambda config, texts, lowercase: new_encoder(config, [*texts, "xyz " * 99], lowercase=lowercase),
    )
    with pytest.raises(UserError, match=f"{run}: this run was begun with other token ids; choose another"):
        train(tiny_config(root, run, epochs=3))


def test_a_grown_collection_is_no_other(root, first_half, undisturbed, tmp_path):
    """Features of videos that the run does not use may come and go."""
    run = damaged(first_half, tmp_path)
    shutil.copytree(root / COLLECTION, tmp_path / COLLECTION)
    features = open_collection(tmp_path, COLLECTION).open_features(FEATURE)
    used = [(video, features[video]) for video in features.videos[:30]]
    blocks = [("new-1", used[0][1]), *used[::-1]]
    shutil.rmtree(features.folder)
    write_features(
        features.folder,
        [([f"{video}_{frame}" for frame in range(len(block))], block) for video, block in blocks],
    )
    train(tiny_config(tmp_path, run, epochs=4))
    assert_same(run, undisturbed)


def files(folder: Path) -> dict[str, bytes]:
    """All files but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


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
        with pytest.raises(UserError, match=r": not from a training that could go on; choose another --run"):
            train(tiny_config(root, run))
    assert files(run) == before


def test_a_model_whose_state_was_removed(root, first_half, tmp_path):
    """The run begins again; with other settings it would be another one, and the model stays."""
    run = damaged(first_half, tmp_path)
    (run / "checkpoints/last.ckpt").unlink()
    before = files(run)
    with pytest.raises(UserError, match=r"begun with other settings \(seed: 0, now 1\)"):
        train(tiny_config(root, run, seed=1))
    assert files(run) == before
    train(tiny_config(root, run))
    assert_same(run, first_half)


def damaged(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.mark.parametrize("content", [b"", b"not a state", "half"])
def test_damaged_state(root, first_half, tmp_path, content):
    run = damaged(first_half, tmp_path)
    state = run / "checkpoints/last.ckpt"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(UserError, match=r"last\.ckpt: damaged .*; remove it to begin the run again"):
        train(tiny_config(root, run, epochs=3))


def test_state_of_another_kind(root, first_half, tmp_path):
    run = damaged(first_half, tmp_path)
    for content in ({"weights": torch.zeros(2)}, torch.zeros(2), [1, 2], "text"):
        torch.save(content, run / "checkpoints/last.ckpt")
        with pytest.raises(UserError, match=r"last\.ckpt: damaged"):
            train(tiny_config(root, run, epochs=3))


def test_random_bytes_in_a_state(first_half, tmp_path):
    """Whatever is wrong with the bytes, it is one clear error, or no harm."""
    state = damaged(first_half, tmp_path) / "checkpoints/last.ckpt"
    whole = bytearray(state.read_bytes())
    draw = random.Random(1)
    for _ in range(40):
        changed = bytearray(whole)
        for _ in range(20):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        state.write_bytes(changed)
        with suppress(UserError):
            read_state(state)


@pytest.mark.parametrize("content", ["", "[1, 2]", "seed: [", "\x00"])
def test_damaged_settings(root, first_half, tmp_path, content):
    run = damaged(first_half, tmp_path)
    (run / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=r"config\.yaml: damaged"):
        train(tiny_config(root, run, epochs=3))


def test_metrics_that_were_removed(root, first_half, tmp_path):
    run = damaged(first_half, tmp_path)
    (run / "metrics.jsonl").unlink()
    train(tiny_config(root, run, epochs=3))
    assert [record["epoch"] for record in records(run)] == [2] * (STEPS + 1)


def test_broken_features(root, first_half, undisturbed, tmp_path):
    """What is not a number stops the training in one line, and spoils nothing that is there."""
    run = damaged(first_half, tmp_path)
    shutil.copytree(root / COLLECTION, tmp_path / COLLECTION)
    config = tiny_config(tmp_path, run, epochs=4)
    state = (run / "checkpoints/last.ckpt").read_bytes()
    features = open_collection(tmp_path, COLLECTION).open_features(FEATURE)
    file = features.folder / "feature.bin"
    whole = file.read_bytes()
    for split, message in (("train", "the loss is not a finite number"), ("val", "not finite numbers")):
        matrix = np.frombuffer(whole, "<f4").reshape(-1, features.dimension).copy()
        matrix[features.rows(video_name(*SPLITS[split][0]))[0], 0] = np.nan
        file.write_bytes(matrix.tobytes())
        recipe = write_recipe(tmp_path / "recipe.yaml", config)
        command = processes.run(["train", recipe], tmp_path / "log")
        assert command.wait() == 2
        assert command.lines[0].startswith("going on with")
        assert len(command.lines) == 2
        assert message in command.lines[1]
        assert (run / "checkpoints/last.ckpt").read_bytes() == state
    file.write_bytes(whole)
    train(config)
    assert_same(run, undisturbed)


def test_a_training_that_diverges_leaves_finite_weights(root, tmp_path):
    optimizer = OptimizerConfig(learning_rate=1e38, clip=0)
    with pytest.raises(UserError, match=r"at step \d+: lower --optimizer\.learning_rate"):
        train(tiny_config(root, tmp_path / "run", optimizer=optimizer, checkpoint_minutes=0))
    state = Run(tmp_path / "run").state
    if state.exists():
        assert all(bool(torch.isfinite(weights).all()) for weights in read_state(state).model.values())


@pytest.mark.parametrize("largest_file", [300_000, 100_000, 2_500], ids=["state", "model", "metrics"])
def test_full_disk(root, first_half, undisturbed, tmp_path, largest_file):
    run = damaged(first_half, tmp_path)
    state = (run / "checkpoints/last.ckpt").read_bytes()
    (run / "metrics.jsonl").write_bytes((first_half / "metrics.jsonl").read_bytes())
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, run, epochs=4, log_every=1))
    command = processes.run(["train", recipe], tmp_path / "log", largest_file=largest_file)
    assert command.wait() == 2, command.output
    begun, *epochs, last = command.lines
    assert begun.startswith("going on with")
    assert all(line.startswith("epoch ") for line in epochs)
    assert last.startswith(f"mlcmr: {run}")
    assert "cannot be written" in last
    kept = read_state(Run(run).state)
    assert kept.progress.epoch >= 2
    if not epochs:
        assert (run / "checkpoints/last.ckpt").read_bytes() == state
    MLCMR.from_pretrained(run / "model")
    again = processes.run(["train", recipe], tmp_path / "log")
    assert again.wait() == 0, again.output
    assert_same(run, undisturbed)


@pytest.mark.parametrize(
    "fail",
    [
        lambda: torch.empty(10**15),
        lambda: np.ones(10**15),
        Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")),
    ],
    ids=["torch", "numpy", "GPU"],
)
def test_out_of_memory(root, tmp_path, monkeypatch, fail):
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", lambda *_: fail())
        with pytest.raises(UserError, match=r"^out of memory \(.+\): lower --batch-size \(now 8\)"):
            train(tiny_config(root, tmp_path / "run"))
    train(tiny_config(root, tmp_path / "run", batch_size=4, epochs=1))  # as one is told to


def test_a_loading_process_that_dies(root, tmp_path, monkeypatch):
    monkeypatch.setattr(PairDataset, "__getitem__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match=r"lower --workers \(now 1\)"):
        train(tiny_config(root, tmp_path / "run", workers=1))


def test_other_errors_are_not_hidden(root, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingModule, "training_step", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        train(tiny_config(root, tmp_path / "run"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: TrainConfig(seed=-1), "seed is -1, but must be between 0 and"),
        (lambda: TrainConfig(seed=2**64), "seed is 18446744073709551616"),
        (lambda: TrainConfig(batch_size=0), "batch_size is 0, but must be at least 1"),
        (lambda: TrainConfig(epochs=0), "epochs is 0"),
        (lambda: TrainConfig(workers=-1), "workers is -1"),
        (lambda: TrainConfig(log_every=0), "log_every is 0"),
        (lambda: TrainConfig(checkpoint_minutes=-1), "checkpoint_minutes is -1"),
        (lambda: OptimizerConfig(learning_rate=float("nan")), "learning_rate is nan"),
        (lambda: OptimizerConfig(decay=-0.1), "decay is -0.1"),
        (lambda: LossConfig(temperature=0), "temperature is 0"),
        (lambda: ModelConfig(embedding_size=0), "embedding_size is 0"),
        (lambda: ModelConfig(dropout=1.5), "dropout is 1.5, but must be between 0 and 1"),
        (lambda: VideoConfig(windows=()), "windows is "),
        (lambda: VideoConfig(windows=(2, 0)), "windows is "),
        (lambda: VideoConfig(max_frames=0), "max_frames is 0"),
        (lambda: TextConfig(trained_layers=-1), "trained_layers is -1"),
        (
            lambda: TextConfig(new=NewEncoder(), trained_layers=2),
            r"whole: set model\.text\.trained_layers to all",
        ),
        (lambda: TextConfig(new=NewEncoder(heads=3), trained_layers="all"), "multiple of heads"),
        (lambda: TextConfig(new=NewEncoder(layers=0), trained_layers="all"), "layers is 0"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(UserError, match=message):
        settings()


@pytest.mark.parametrize(
    "changes",
    [
        {"accelerator": "abacus"},
        {"accelerator": "cpu", "devices": 0},
        {"accelerator": "cpu", "devices": -1},
    ],
)
def test_settings_that_the_machine_cannot(root, tmp_path, changes):
    with pytest.raises(UserError, match="not on this machine"):
        train(tiny_config(root, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("precision", ["nonsense", "16", "bf16", "8-bit", "transformer-engine"])
def test_no_such_precision(root, tmp_path, capsys, precision):
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run"))
    assert main(["train", str(recipe), "--precision", precision]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"precision is {precision}, but must be 32-true or 64-true or bf16-mixed or 16-mixed" in message
    assert not (tmp_path / "run").exists()


def test_no_such_encoder_leaves_no_run(root, tmp_path):
    text = TextConfig(encoder=str(tmp_path / "encoder"))
    with pytest.raises(UserError, match=rf"'{tmp_path}/encoder': no such folder; .*--model\.text\.encoder"):
        train(tiny_config(root, tmp_path / "run", model=tiny_model(text=text)))
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_not_utf_8(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes("collection: vidéos\n".encode("latin-1"))
    assert main(["train", str(recipe)]) == 2
    assert capsys.readouterr().err == f"mlcmr: {recipe}: not UTF-8: byte 0xe9; save it as UTF-8\n"


def test_largest_seed(root, tmp_path):
    train(tiny_config(root, tmp_path / "run", epochs=1, seed=2**64 - 1))


# ─── what the numbers follow from ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "bf16"])  # the last in Python only
def test_half_precision(root, undisturbed, tmp_path, precision):
    train(tiny_config(root, tmp_path / "run", epochs=2, precision=precision))
    losses = [record["loss"] for record in records(tmp_path / "run") if "loss" in record]
    whole = [record["loss"] for record in records(undisturbed) if "loss" in record]
    assert losses[0] != whole[0]
    assert losses == pytest.approx(whole[: 2 * STEPS], rel=0.15)


def test_learning_rate_reaches_the_weights(root, tmp_path):
    """Adam's first step moves each weight by the learning rate."""
    config = tiny_config(root, tmp_path / "run", epochs=1, batch_size=48)
    train(config)
    pairs = read_training_pairs(config.open_collection(), config.as_scenario())
    before = build_model(config, pairs, 12).state_dict()
    after = read_state(Run(tmp_path / "run").state).model
    moved = (after["video_mapping.linear.weight"] - before["video_mapping.linear.weight"]).abs()
    assert moved.median().item() == pytest.approx(3e-3, rel=1e-2)
    assert moved.max().item() < 3.1e-3


def test_learning_rate_follows_the_schedule(undisturbed):
    rates = {record["epoch"]: record["lr"] for record in records(undisturbed) if "lr" in record}
    schedule = Schedule(OptimizerConfig(learning_rate=3e-3), 3e-3)
    for record in records(undisturbed):
        if "val/score" in record:
            assert rates[record["epoch"]] == schedule.learning_rate
            assert schedule.epoch_done(record["val/score"]) == record["best"]
    state = read_state(Run(undisturbed).state)
    assert [group["lr"] for group in state.optimizer["param_groups"]] == [schedule.learning_rate]
    assert state.progress.schedule == schedule


def test_best_model_is_that_of_the_best_epoch(root, tmp_path, monkeypatch):
    scores = iter([10.0, 30.0, 20.0])
    monkeypatch.setattr(callbacks, "validation_scores", lambda *_: {"en": next(scores)})
    for epochs in (2, 3):
        train(tiny_config(root, tmp_path / "run", epochs=epochs))
        if epochs == 2:
            best = read_state(Run(tmp_path / "run").state).model
    assert [record["best"] for record in records(tmp_path / "run") if "best" in record] == [True, True, False]
    kept = MLCMR.from_pretrained(tmp_path / "run/model").state_dict()
    last = read_state(Run(tmp_path / "run").state).model
    assert all(torch.equal(kept[name], best[name]) for name in best)
    assert not torch.equal(kept["video_mapping.linear.weight"], last["video_mapping.linear.weight"])


def test_the_score_is_that_of_the_model(root, tmp_path):
    """What validation wrote is what the saved model scores."""
    config = tiny_config(root, tmp_path / "run", epochs=1)
    train(config)
    collection = config.open_collection()
    splits = read_validation(collection, config.as_scenario(), "val")
    model = MLCMR.from_pretrained(tmp_path / "run/model")
    with Display() as display:
        found = validation_scores(model, collection.open_features(FEATURE), splits, "recall", display.work)
    last = records(tmp_path / "run")[-1]
    assert found == {"en": last["val/en"], "zh": last["val/zh"]}


def test_validation_by_precision(root, tmp_path):
    train(tiny_config(root, tmp_path / "run", epochs=1, validation_metric="mAP"))
    assert 0 < records(tmp_path / "run")[-1]["val/score"] <= 400


def test_early_end(root, tmp_path):
    """Nothing is learnt without a learning rate: no epoch after the first is better."""
    optimizer = OptimizerConfig(learning_rate=0, patience=2)
    model = tiny_model(dropout=0.0)
    train(tiny_config(root, tmp_path / "run", epochs=50, optimizer=optimizer, model=model))
    epochs = [record for record in records(tmp_path / "run") if "val/score" in record]
    best = max(record["epoch"] for record in epochs if record["best"])
    assert len(epochs) == best + 1 + 3 < 50


SCORES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=40)


@given(scores=SCORES)
def test_schedule_is_the_published_one(scores):
    """Against the rules in words, from the whole history instead of counters."""
    config = OptimizerConfig()
    schedule = Schedule(config, config.learning_rate)
    used = 0  # epochs since the rate was last halved
    for epoch, score in enumerate(scores):
        if schedule.stop:
            break
        rate = schedule.learning_rate
        is_best = all(score > earlier for earlier in scores[:epoch])
        used += 1
        assert schedule.epoch_done(score) == is_best
        since_best = epoch - max(e for e in range(epoch + 1) if all(scores[e] > s for s in scores[:e]))
        assert schedule.stop == (since_best > 10)
        if not is_best and used >= 3 and not schedule.stop:
            assert schedule.learning_rate == pytest.approx(rate * 0.99 / 2)
            used = 0
        else:
            assert schedule.learning_rate == pytest.approx(rate * 0.99)
        assert schedule.best == max(scores[: epoch + 1])


def test_a_better_score_resets_the_patience():
    schedule = Schedule(replace(OptimizerConfig(), patience=1), 1.0)
    assert [schedule.epoch_done(score) for score in (1, 1, 2, 2, 2)] == [True, False, True, False, False]
    assert schedule.stop
