"""Each script of `examples/` runs as a user would run it, on tiny data, and is short."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

import mlcmr
from tests.helpers.models import write_clip, write_siglip
from tests.helpers.tiny import tiny_config, write_collection, write_recipe

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
LONGEST = 60


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_is_short_has_a_test_and_says_how_to_run_it(script):
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert f"python {script.name}" in text
    assert f"def test_{script.stem}(" in Path(__file__).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_zero_shot_search(tmp_path, films, capsys):
    model = tmp_path / "model"
    write_siglip(model)
    load("zero_shot_search").main(str(films), ["a dog", "一只狗"], str(model))
    printed = capsys.readouterr().out
    assert printed.count(str(films)) == 6


def test_train_from_python(drawn, capsys):
    load("train_from_python").main(str(drawn), epochs=1, accelerator="cpu")
    printed = capsys.readouterr().out
    assert "R@1 of Chinese queries: " in printed
    assert Path("runs/from-python/model").is_dir()


def test_own_features(tmp_path, capsys):
    load("own_features").main(str(tmp_path))
    assert "No problems" in capsys.readouterr().out


def test_evaluate_another_model(drawn, tmp_path, capsys):
    model = write_clip(tmp_path / "model")
    mlcmr.extract(drawn / "sample/VideoData", tmp_path / "sample", encoder=model, feature="clip")
    shutil.copytree(drawn / "sample/TextData", tmp_path / "sample/TextData")
    load("evaluate_another_model").main(str(tmp_path), "sample", "clip", str(model))
    assert "SumR" in capsys.readouterr().out


def test_own_loss(tmp_path, capsys):
    write_collection(tmp_path)
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(tmp_path, tmp_path / "run", epochs=1))
    load("own_loss").main(str(recipe), str(tmp_path))
    assert "SumR" in capsys.readouterr().out
