"""A recipe is found by its path or its name, and settings of the caller replace its own."""

import pytest
import yaml

from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training import OptimizerConfig, TrainConfig, train
from mlcmr.training.recipes import RECIPES, change_settings, find_recipe, read_recipe
from tests.helpers.runs import assert_same
from tests.helpers.tiny import tiny_config, write_recipe


def test_train_takes_a_recipe(root, first_half, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config("elsewhere", tmp_path / "run", epochs=9))
    run = train(recipe, rootpath=str(root), epochs=2)
    assert_same(run.folder, first_half)
    assert str(run) == f"best model: {run.folder}/model\nevaluate:   mlcmr evaluate {run.folder}"
    assert run.to_dict() == {"run": str(run.folder), "model": f"{run.folder}/model"}
    assert MLCMR.from_pretrained(run.model).feature_size == 12


def test_train_takes_settings(root, first_half, tmp_path):
    run = train(tiny_config(root, tmp_path / "other", epochs=9), run=str(tmp_path / "run"), epochs=2)
    assert run.folder == tmp_path / "run"
    assert_same(run.folder, first_half)


def test_a_dictionary_replaces_only_what_it_holds():
    recipe = "sample/parallel"
    whole = read_recipe(recipe, {})
    changed = read_recipe(recipe, {"optimizer": {"clip": 1.0}, "epochs": 3})
    assert (changed.optimizer.clip, changed.epochs) == (1.0, 3)
    assert changed.optimizer.learning_rate == whole.optimizer.learning_rate == 2e-3
    assert changed.model == whole.model
    assert change_settings(whole, {"optimizer": {"clip": 1.0}, "epochs": 3}) == changed
    fresh = read_recipe(recipe, {"optimizer": OptimizerConfig(clip=1.0)})
    assert fresh.optimizer == OptimizerConfig(clip=1.0)
    assert change_settings(whole, {"optimizer": OptimizerConfig(clip=1.0)}) == fresh


def test_settings_may_hold_paths(tmp_path):
    assert change_settings(TrainConfig(rootpath=tmp_path), {"run": tmp_path / "run"}) == TrainConfig(
        rootpath=str(tmp_path), run=str(tmp_path / "run")
    )


def test_changes_of_settings_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(InvalidValueError, match="clop"):
        train(TrainConfig(run=str(tmp_path / "run")), optimizer={"clop": 1.0})
    assert not (tmp_path / "run").exists()


def test_recipes_of_the_package_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("vatex/parallel", "configs/vatex/parallel.yaml"):
        assert find_recipe(name) == RECIPES / "vatex" / "parallel.yaml"
    (tmp_path / "configs" / "vatex").mkdir(parents=True)
    (tmp_path / "configs" / "vatex" / "parallel.yaml").write_text(yaml.safe_dump({"epochs": 7}))
    assert read_recipe("configs/vatex/parallel.yaml", {}).epochs == 7


@pytest.mark.parametrize("name", ["no/such/recipe.yaml", "vatex"])
def test_no_such_recipe(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="no such recipe"):
        find_recipe(name)


@pytest.mark.parametrize("changes", [{"colection": "x"}, {"epochs": "many"}, {"optimizer": {"clips": 1}}])
def test_unknown_settings(changes):
    with pytest.raises(InvalidValueError):
        read_recipe("sample/parallel", changes)
    with pytest.raises(InvalidValueError):
        change_settings(TrainConfig(), changes)
