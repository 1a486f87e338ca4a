"""`train` reports an error that a user can fix in one line."""

import errno
import os
import signal
from pathlib import Path
from time import monotonic, sleep
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml
from transformers import BertConfig, BertModel

from mlcmr.cli import main
from mlcmr.cli.display import Display
from mlcmr.data.batches import PairDataset
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError, OutOfResourcesError
from mlcmr.evaluation import Ranks
from mlcmr.model.config import TextConfig
from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.training import train
from mlcmr.training.step import TrainingStep
from tests.helpers import processes
from tests.helpers.golden_model import tiny_tokenizer
from tests.helpers.runs import assert_same, records
from tests.helpers.tiny import (
    tiny_config,
    tiny_model,
    write_recipe,
)


@pytest.mark.slow
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


def test_an_encoder_beside_a_new_one_is_not_silently_left_out(root, tmp_path, capfd):
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run"))
    assert main(["train", str(recipe), "--model.text.encoder", "xlm-roberta-base"]) == 2
    said = capfd.readouterr().err.strip()
    assert said.startswith("mlcmr: --model.text.encoder is 'xlm-roberta-base', but --model.text.new asks for")
    assert "\n" not in said
    assert not (tmp_path / "run").exists()


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
        patch.setattr(TrainingStep, "forward", lambda *_: fail())
        with pytest.raises(OutOfResourcesError, match=r"^out of memory \(.+\): lower `batch_size` \(now 8\)"):
            train(tiny_config(root, tmp_path / "run"))
    train(tiny_config(root, tmp_path / "run", batch_size=4, epochs=1))  # as one is told to


def test_a_loading_process_that_dies(root, tmp_path, monkeypatch):
    monkeypatch.setattr(PairDataset, "__getitem__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(OutOfResourcesError, match=r"lower `workers` \(now 1\)"):
        train(tiny_config(root, tmp_path / "run", workers=1))


def test_an_error_of_a_loading_process_is_raised_as_it_is(root, tmp_path, monkeypatch):
    """PyTorch would pass on the class, and the traceback as the message."""
    message = f"{'long ' * 200}message"
    error = NotFoundError(message, path="a", line=3, parameter="b")
    monkeypatch.setattr(PairDataset, "__getitem__", Mock(side_effect=error))
    with pytest.raises(NotFoundError) as caught:
        train(tiny_config(root, tmp_path / "run", workers=1))
    error = caught.value
    assert (str(error), error.path, error.line, error.parameter) == (message, "a", 3, "b")


def test_a_fault_of_the_disk_in_a_loading_process(root, tmp_path, monkeypatch):
    fault = OSError(errno.EIO, "Input/output error", "feature.bin")
    monkeypatch.setattr(PairDataset, "__getitem__", Mock(side_effect=fault))
    with pytest.raises(MlcmrError, match=r"^feature\.bin: Input/output error") as caught:
        train(tiny_config(root, tmp_path / "run", workers=1))
    assert caught.value.path == "feature.bin"


def test_other_errors_are_not_hidden(root, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingStep, "forward", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        train(tiny_config(root, tmp_path / "run"))


@pytest.mark.parametrize(
    "changes",
    [
        {"accelerator": "abacus"},
        {"accelerator": "cpu", "devices": 0},
        {"accelerator": "cpu", "devices": -1},
    ],
)
def test_settings_that_the_machine_cannot(root, tmp_path, changes):
    with pytest.raises(InvalidValueError, match="not on this machine"):
        train(tiny_config(root, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"languages_per_step": 3}, "is 3, but the languages are en, zh; set it to all, or to a smaller"),
        ({"languages_per_step": 1, "scenario": "unparallel"}, "has one caption; set it to all"),
    ],
)
def test_more_languages_in_a_step_than_there_are(root, tmp_path, changes, said):
    config = tiny_config(root, tmp_path / "run", **changes)
    for start in (config.require_names, lambda: train(config)):
        with pytest.raises(InvalidValueError, match=said) as caught:
            start()
        assert caught.value.parameter == "languages_per_step"
    assert not (tmp_path / "run").exists()
    with pytest.raises(InvalidValueError, match="languages_per_step is 0, but must be at least 1"):
        tiny_config(root, tmp_path / "run", languages_per_step=0)


def test_all_languages_are_all_languages(root, tmp_path):
    """The number of the languages is the same as `all`, to the last bit."""
    one = train(tiny_config(root, tmp_path / "one", epochs=1)).folder
    other = train(tiny_config(root, tmp_path / "other", epochs=1, languages_per_step=2)).folder
    assert_same(one, other)


@pytest.mark.parametrize("precision", ["nonsense", "16", "8-bit", "transformer-engine"])
def test_no_such_precision(root, tmp_path, capsys, precision):
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run"))
    assert main(["train", str(recipe), "--precision", precision]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"precision is {precision}, but must be 32-true or 64-true or bf16-mixed or 16-mixed" in message
    assert not (tmp_path / "run").exists()


def test_no_such_encoder_leaves_no_run(root, tmp_path):
    text = TextConfig(encoder=str(tmp_path / "encoder"))
    with pytest.raises(
        NotFoundError, match=rf"'{tmp_path}/encoder': no such folder; .*`model\.text\.encoder`"
    ):
        train(tiny_config(root, tmp_path / "run", model=tiny_model(text=text)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("padding", "trained_layers", "said"),
    [
        ("masked", 6, "text encoder: 6 of 8 layers are trained"),
        (
            "published",
            6,
            "6 of 8 layers are trained; the published code trains 2 (`model.text.trained_layers` 2)",
        ),
        (
            "published",
            "all",
            "trained, and the token embeddings; the published code trains 2 (`model.text.trained_layers` 2)",
        ),
        ("published", 2, "text encoder: 2 of 8 layers are trained\n"),
        ("masked", "all", "text encoder: 8 of 8 layers are trained, and the token embeddings\n"),
        ("masked", 1, "text encoder: 1 of 8 layers is trained"),
    ],
)
def test_the_start_says_how_many_layers_are_trained(root, tmp_path, capfd, padding, trained_layers, said):
    encoder = tmp_path / "encoder"
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 8, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=160, **size)).save_pretrained(encoder)
    tiny_tokenizer().save_pretrained(encoder)
    text = TextConfig(encoder=str(encoder), lowercase=None, trained_layers=trained_layers)
    model = tiny_model(text=text, padding=padding)
    with Display() as display:
        train(tiny_config(root, tmp_path / "run", model=model, epochs=1), progress=display)
    assert said in capfd.readouterr().err


def test_a_new_encoder_gets_no_advice_to_train_less(root, tmp_path, capfd):
    with Display() as display:
        model = tiny_model(padding="published")
        train(tiny_config(root, tmp_path / "run", model=model, epochs=1), progress=display)
    assert model.text.new is not None
    assert "trained, and the token embeddings\n" in capfd.readouterr().err


def distance(views: ViewEmbeddings) -> dict[str, torch.Tensor]:
    """A loss of the user's own."""
    return {"distance": sum((texts - views.video).pow(2).sum() for texts in views.captions.values())}


def first_ranks(ranks: Ranks) -> dict[str, float]:
    """A metric of the user's own."""
    return {"first": float((ranks.best == 1).mean())}


def test_a_validation_metric_of_the_users_own(root, tmp_path):
    run = train(tiny_config(root, tmp_path / "run", epochs=1), validation_metric=first_ranks)
    scores = [record["val/score"] for record in records(run.folder) if "val/score" in record]
    assert len(scores) == 1
    assert 0 <= scores[0] <= 4  # two directions of two languages
    with pytest.raises(InvalidValueError, match="begun with other validation metric; choose another `run`"):
        train(tiny_config(root, run.folder))
    train(tiny_config(root, run.folder), validation_metric=first_ranks)
    assert len(records(run.folder)) > 1


def test_a_validation_metric_by_name_is_a_setting(root, tmp_path):
    run = train(tiny_config(root, tmp_path / "run", epochs=1), validation_metric="mAP", logger="none")
    settings = yaml.safe_load(run.config.read_text())
    assert (settings["validation_metric"], settings["logger"]) == ("mAP", ["none"])
    assert not (run.folder / "tensorboard").exists()


def test_a_loss_of_the_users_own(root, tmp_path):
    run = train(tiny_config(root, tmp_path / "run", epochs=1), loss=distance)
    steps = [record for record in records(run.folder) if "loss" in record]
    assert all(record["distance"] == record["loss"] for record in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]
    with pytest.raises(InvalidValueError, match="begun with other loss; choose another `run`"):
        train(tiny_config(root, run.folder))
    train(tiny_config(root, run.folder), loss=distance)
    assert records(run.folder)[-1]["epoch"] == 1
