"""No settings, from a file or a command line, import or run code: values are data."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlcmr.errors import InvalidValueError
from mlcmr.losses import LossConfig
from mlcmr.settings import from_dict
from tests.helpers.small_models import make_model

CODE = {"class_path": "evilmod.X", "init_args": {}}
RECIPES: dict[str, dict[str, Any]] = {
    "top": CODE,
    "options": {"loss": {"options": CODE}},
    "in an option": {"loss": {"options": {"x": CODE}}},
    "deep in options": {"loss": {"options": {"x": [{"y": CODE}]}}},
    "text": {"model": {"text": CODE}},
    "name of text": {"model": {"text": "evilmod.X"}},
    "new": {"model": {"text": {"new": CODE}}},
    "name of new": {"model": {"text": {"new": "evilmod.X"}}},
    "dotted": {"model.text.class_path": "evilmod.X"},
    "dotted name": {"model.text": "evilmod.X"},
    "optimizer": {"optimizer": CODE},
    "scalar": {"rootpath": CODE},
    "list": {"languages": [CODE]},
}


@pytest.fixture
def trace(tmp_path, monkeypatch) -> Path:
    """The file that exists once `evilmod` has been imported."""
    path = tmp_path / "trace"
    (tmp_path / "evilmod.py").write_text(f"open({str(path)!r}, 'w')\nclass X: pass\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    return path


def require_refused(trace: Path, *words: str | Path) -> str:
    """Check that a command ends with status 2 and one line, and leaves no trace; return the line."""
    command = [sys.executable, "-m", "mlcmr", *words]
    done = subprocess.run(command, check=False, cwd=trace.parent, capture_output=True, text=True, timeout=120)
    assert not trace.exists(), done.stderr
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("mlcmr: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("content", RECIPES.values(), ids=RECIPES)
def test_a_recipe(content, trace, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(content))
    message = require_refused(trace, "train", recipe, "--rootpath", "/nonexistent")
    assert "class_path" in message or "evilmod.X" in message


def test_a_recipe_starts_no_program(trace, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    start = {"class_path": "subprocess.Popen", "init_args": {"args": f"touch {trace}", "shell": True}}
    recipe.write_text(yaml.safe_dump({"loss": {"options": {"x": start}}}))
    message = require_refused(trace, "train", recipe, "--rootpath", "/nonexistent")
    assert "loss.options.x.class_path" in message


@pytest.mark.parametrize(
    "words",
    [
        ["--model.text.class_path", "evilmod.X"],
        ["--model.text.class-path=evilmod.X"],
        ["--model.text", "evilmod.X"],
        ["--model.text+.class_path", "evilmod.X"],
        ["--model.text", json.dumps(CODE)],
        ["--model", json.dumps({"text": CODE})],
        ["--model.text.new", "evilmod.X"],
        ["--model.text.new", json.dumps(CODE)],
        ["--model.text.new.class_path", "evilmod.X"],
        ["--model.text.new.init_args.layers", "3"],
        ["--model.text.new.help=evilmod.X"],
        ["--optimizer", "{class_path: evilmod.X}"],
        ["--loss.options", json.dumps({"x": CODE})],
        ["--loss.options", json.dumps(CODE)],
        ["--loss.options.x", json.dumps(CODE)],
        ["--loss.options.x.class_path", "evilmod.X"],
        ["--loss.options.class_path", "evilmod.X"],
        ["--class_path", "evilmod.X"],
        ["--logger", json.dumps([CODE])],
    ],
    ids=" ".join,
)
def test_a_command_line(words, trace):
    require_refused(trace, "train", *words, "--rootpath", "/nonexistent")


@pytest.mark.parametrize("command", ["check", "extract", "evaluate", "index", "search", "serve"])
@pytest.mark.parametrize("content", [CODE, {"collection": CODE}, {"batch_size": CODE}], ids=str)
def test_a_file_of_options(command, content, trace, tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text(yaml.safe_dump(content))
    assert "class_path" in require_refused(trace, command, "--config", file)


def test_settings_named_by_an_option(trace, tmp_path):
    (tmp_path / "text.yaml").write_text(yaml.safe_dump(CODE))
    assert "class_path" in require_refused(trace, "train", "--model.text", "text.yaml")


@pytest.mark.parametrize("content", [CODE, {"model": {"text": CODE}}, {"languages": CODE}], ids=str)
def test_the_settings_of_a_run(content, trace, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    settings = {"rootpath": str(tmp_path), "collection": "c", "feature": "f", "languages": ["en", "zh"]}
    (run / "config.yaml").write_text(yaml.safe_dump(settings | content))
    require_refused(trace, "evaluate", run)


@pytest.mark.parametrize("text", [CODE, "evilmod.X", {"new": CODE}, {"new": "evilmod.X"}], ids=str)
def test_the_configuration_of_a_model(text, trace, tmp_path):
    folder = tmp_path / "model"
    make_model().save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    content["model"]["text"] = text
    (folder / "config.json").write_text(json.dumps(content))
    (tmp_path / "videos").mkdir()
    assert "config.json: not the config" in require_refused(
        trace, "index", "videos", "--encoder", "histogram", "--model", folder
    )
    lines = "import sys; from mlcmr import MLCMR; MLCMR.from_pretrained(sys.argv[1])"
    command = [sys.executable, "-c", lines, folder]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert not trace.exists()
    assert "CorruptFileError" in done.stderr


def test_settings_from_python(trace):
    lines = """
import json, sys
from mlcmr.errors import InvalidValueError
from mlcmr.settings import from_dict
from mlcmr.training.config import TrainConfig
for content in json.loads(sys.argv[1]):
    try:
        print(from_dict(TrainConfig, content))
    except InvalidValueError as error:
        assert len(str(error).splitlines()) == 1
"""
    command = [sys.executable, "-c", lines, json.dumps([*RECIPES.values()])]
    done = subprocess.run(command, check=False, cwd=trace.parent, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert not trace.exists()


def test_options_of_a_loss_are_plain_data():
    options = {"a": 1, "b": 0.5, "c": json.dumps(CODE), "d": None, "e": True, "f": [1, {"g": []}]}
    assert LossConfig(options=options).options == options
    assert from_dict(LossConfig, {"options": options}).options == options
    with pytest.raises(InvalidValueError, match=r"loss\.options\.h is .*, but must be plain data"):
        LossConfig(options={"h": object()})


def test_words_that_look_like_settings_are_words(trace):
    message = require_refused(trace, "search", "{class_path: evilmod.X}", "--index", "nowhere")
    assert "nowhere" in message
