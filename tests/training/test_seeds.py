"""A training with several seeds: each run is the one that its seed gives alone."""

import os
import shutil

import pytest

from mlcmr.cli import main
from mlcmr.errors import InvalidValueError
from mlcmr.training import train, train_seeds
from tests.helpers.runs import assert_same, files
from tests.helpers.tiny import tiny_config, write_recipe


@pytest.fixture(scope="module")
def several(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds") / "run"
    return train_seeds(tiny_config(root, folder, epochs=2), 2)


def test_each_run_is_that_of_its_seed_alone(root, several, first_half, tmp_path):
    assert [run.folder.name for run in several.runs] == ["seed-0", "seed-1"]
    assert_same(several.runs[0].folder, first_half)
    alone = train(tiny_config(root, tmp_path / "alone", epochs=2, seed=1))
    assert_same(several.runs[1].folder, alone.folder)
    assert os.fspath(several) == str(several.folder)
    assert str(several).splitlines()[-1] == f"evaluate:   mlcmr evaluate {several.folder}"


def test_the_same_command_trains_what_is_missing(root, several, tmp_path, capfd):
    folder = tmp_path / "run"
    shutil.copytree(several.folder / "seed-1", folder / "seed-1")
    before = files(folder)
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, folder, epochs=2))
    assert main(["train", str(recipe), "--seeds", "1", "4"]) == 0
    printed = capfd.readouterr()
    assert "seed-1 is trained already" in printed.err
    assert f"best model: {folder}/seed-4/model" in printed.out
    assert files(folder / "seed-1") == {
        name.removeprefix("seed-1/"): content for name, content in before.items()
    }
    assert sorted(path.name for path in folder.iterdir()) == ["seed-1", "seed-4"]


def test_a_number_counts_from_the_seed_of_the_settings(root, tmp_path):
    runs = train_seeds(tiny_config(root, tmp_path / "run", epochs=1, seed=6), 2).runs
    assert [run.folder.name for run in runs] == ["seed-6", "seed-7"]


@pytest.mark.parametrize("seeds", [0, -1, [], [1, 1], [-1, 2]])
def test_wrong_seeds(root, tmp_path, seeds):
    with pytest.raises(InvalidValueError, match="`seeds` is"):
        train_seeds(tiny_config(root, tmp_path / "run"), seeds)
    assert not (tmp_path / "run").exists()


def test_one_number_on_the_command_line_is_a_count(root, tmp_path, capfd):
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run", epochs=1))
    assert main(["train", str(recipe), "--seeds", "0"]) == 2
    assert "is 0, but must be the number of runs" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_recipe_lists_the_seeds(root, tmp_path, capfd):
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run", epochs=1))
    recipe.write_text(f"{recipe.read_text()}\nseeds: 2\n")
    assert main(["train", str(recipe)]) == 2
    line = "mlcmr: seeds is a single value, but must be a list, such as '[a, b]'\n"
    assert capfd.readouterr().err == line


def test_a_wrong_seed_is_found_before_the_first_training(root, tmp_path):
    with pytest.raises(InvalidValueError, match="seed is 18446744073709551616, but"):
        train_seeds(tiny_config(root, tmp_path / "run"), [0, 2**64])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("seeds", "name"), [([2, 0], "batch_size"), ([2], "epochs")])
def test_runs_with_other_settings(root, several, tmp_path, seeds, name):
    folder = shutil.copytree(several.folder, tmp_path / "run")
    changed = {"batch_size": 3, "epochs": 2} if name == "batch_size" else {"epochs": 3}
    with pytest.raises(InvalidValueError, match=rf"begun with other settings \({name}: "):
        train_seeds(tiny_config(root, folder, **changed), seeds)
    assert not (folder / "seed-2").exists()


def test_a_run_is_no_folder_of_runs(root, several, first_half):
    with pytest.raises(InvalidValueError, match="holds a single run; choose another `run`"):
        train_seeds(tiny_config(root, first_half), 2)
    with pytest.raises(InvalidValueError, match="holds the runs of several seeds; name `seeds`, or choose"):
        train(tiny_config(root, several.folder))


def test_recipes_stay_settings(root, tmp_path, capsys):
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run"))
    with pytest.raises(SystemExit):
        main(["train", str(recipe), "--print-config"])
    assert "seeds" not in capsys.readouterr().out
