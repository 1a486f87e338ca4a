"""The recipes load, say what they are, and the published command works as it is printed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlcmr.cli import main
from mlcmr.cli.app import parsers
from mlcmr.cli.argv import spelled
from mlcmr.data.captions import write_captions
from mlcmr.data.features.frame_features import write_features
from mlcmr.evaluation.reference_results import PUBLISHED, published_results
from mlcmr.settings import from_parsed
from mlcmr.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "configs").glob("*/*.yaml"))


def load(recipe: Path) -> TrainConfig:
    parsed = parsers()[0].parse_args(spelled(["train", str(recipe)]))
    return from_parsed(TrainConfig, parsed.train)


def header(recipe: Path) -> str:
    return "".join(line for line in recipe.read_text().splitlines(keepends=True) if line.startswith("#"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recipe(recipe):
    """It loads, and its header has the command that runs it, with the run that it writes."""
    config = load(recipe)
    languages = ("en", "zh", "de", "es") if recipe.stem == "four-languages" else ("en", "zh")
    assert config.as_scenario().languages == languages
    config.language_sampler()
    assert f"mlcmr train configs/{recipe.parent.name}/{recipe.name}" in header(recipe)
    for run in re.findall(r"mlcmr evaluate (\S+)", header(recipe)):
        assert run == config.run


def test_every_published_row_has_its_recipe_and_its_numbers():
    configs = {recipe: load(recipe) for recipe in RECIPES if recipe.parent.name != "sample"}
    rows = set()
    for recipe, config in configs.items():
        for target in ("zh", "en"):
            figures = published_results(config, "test", target)
            if figures is None:
                continue
            rows.add((config.collection, config.feature, config.scenario, target))
            line = next(line for line in header(recipe).splitlines() if line.startswith(f"#   {target}:"))
            for direction in (figures.t2v, figures.v2t):
                assert " / ".join(str(direction[name]) for name in ("R@1", "R@5", "R@10")) in line
            assert f"SumR {figures.sum_recalls:.1f}" in line
            assert re.search(rf"--target .*\b{target}\b", header(recipe))
    assert rows == set(PUBLISHED)


def test_published_settings():
    """The defaults are the published ones; a recipe changes data, nothing else."""
    for recipe in RECIPES:
        if recipe.parent.name == "sample":
            continue
        config = load(recipe)
        assert config.model == TrainConfig().model
        assert config.loss == TrainConfig().loss
        assert config.optimizer == TrainConfig().optimizer
        assert (config.epochs, config.batch_size) == (50, 64)
        assert config.validation_split == ("test" if recipe.parent.name == "msrvtt" else "val")


def tiny_collection(root: Path, folder: str, name: str, feature: str) -> None:
    """A collection in the published layout, with every file that any published scenario needs."""
    rng = np.random.default_rng(0)
    splits = {"train": range(8), "val": range(8, 12), "test": range(12, 16)}
    write_features(
        root / folder / "FeatureData" / feature,
        [
            ([f"video{v}_{i}" for i in range(3)], rng.normal(size=(3, 6)).astype(np.float32))
            for v in range(16)
        ],
    )
    files = {"": "enc", "_zh": "zh", "_google_enc2zh": "enc2zh", "_google_zhc2en": "zhc2en"}
    for split, videos in splits.items():
        for suffix, tag in files.items():
            text = "a dog runs {}" if tag.endswith(("en", "enc")) else "一只狗在跑{}"
            write_captions(
                root / folder / "TextData" / f"{name}{split}{suffix}.caption.txt",
                [(f"video{v}#{tag}#{k}", text.format(v * 2 + k)) for v in videos for k in range(2)],
            )
    write_captions(
        root / folder / "TextData" / f"{name}train_half.caption.txt",
        [
            (f"video{v}#{'enc' if v % 2 else 'zh'}#{k}", f"dog {v}" if v % 2 else f"狗{v}")
            for v in splits["train"]
            for k in range(2)
        ],
    )


SMALL = (
    "--epochs 1 --batch_size 8 --model.embedding_size 16 --model.video.gru_size 8 --model.video.filters 8 "
    "--model.text.trained_layers all --model.text.new.layers 1 --model.text.new.hidden_size 16 "
    "--model.text.new.heads 2 --model.text.new.vocabulary 200"
)
DO_ALL = ROOT / "do_all.sh"


def do_all(*words: str, script: Path = DO_ALL, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "MLCMR_OPTIONS": SMALL, "PATH": path, **environment}
    return subprocess.run([script, *words], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_published_command(tmp_path):
    """It trains, tests, prints the table and says how to test again."""
    tiny_collection(tmp_path, "vatex", "vatex", "i3d_kinetics")
    done = do_all("vatex", "i3d_kinetics", "parallel", "human_label", "zh", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "SumR" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["vatex"]  # the run lies in the collection's folder
    (run,) = (tmp_path / "vatex" / "runs").iterdir()
    assert (run / "report.html").exists()
    again = done.stdout.splitlines()[-1].removeprefix("test again: ").split(" ")
    assert Path(again[0]).name == "mlcmr"  # by its path in a checkout that has its own environment
    assert again[1:] == ["evaluate", str(run), "--target", "zh"]


@pytest.fixture(scope="module")
def visual_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both published collections, their folders and files named as in one of the ways there are."""
    root = tmp_path_factory.mktemp("VisualSearch")
    tiny_collection(root, "VATEX", "vatex", "i3d_kinetics")
    tiny_collection(root, "msrvtt", "msrvtt10kyu", "resnext101-resnet152")
    return root


VATEX, MSRVTT = "vatex i3d_kinetics", "msrvtt10k resnext101-resnet152"


@pytest.mark.parametrize("target", ["zh", "en"])
@pytest.mark.parametrize(
    ("words", "scenario"),
    [
        (f"{VATEX} parallel human_label", "parallel"),
        (f"{VATEX} parallel translate", "pseudo-parallel"),
        (f"{VATEX} unparallel human_label", "unparallel"),
        (f"{MSRVTT} parallel translate", "pseudo-parallel"),
    ],
)
def test_every_published_line(words, scenario, target, visual_search, tmp_path, capsys):
    """Each gives the figures of its published row. Its commands run in this process, which has torch."""
    script = Path(shutil.copy(DO_ALL, tmp_path))
    recorder, record = tmp_path / ".venv/bin/mlcmr", tmp_path / "commands"
    recorder.parent.mkdir(parents=True)
    recorder.write_text('#!/bin/sh\nprintf "%s\\t" "$@" >>"$RECORD"\necho >>"$RECORD"\n')
    recorder.chmod(0o755)
    done = do_all(*words.split(), target, str(visual_search), script=script, RECORD=str(record))
    assert done.returncode == 0, done.stderr
    training, evaluation = (line.rstrip("\t").split("\t") for line in record.read_text().splitlines())
    assert done.stdout == f"test again: {recorder} {' '.join(evaluation)}\n"
    assert main(training) == 0
    assert main(evaluation) == 0
    assert "SumR" in capsys.readouterr().out
    (one,) = json.loads((Path(evaluation[1]) / "results.json").read_text())["evaluations"]
    collection, feature = ("msrvtt10kyu" if words.startswith(MSRVTT) else "vatex"), words.split()[1]
    assert one["published"] == PUBLISHED[collection, feature, scenario, target].to_dict(
        ["R@1", "R@5", "R@10", "MedR", "MnR", "mAP"]
    )
    assert one["validated_on"] == ("val" if collection == "vatex" else "test")
    assert one["split"] == "test"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("vatex i3d_kinetics parallel", "five or six words"),
        ("vatex i3d_kinetics unparallel translate zh ROOT", "no scenario"),
        ("vatex i3d_kinetics parallel human_label fr ROOT", "expected zh or en"),
        ("vatex i3d_kinetics parallel human_label zh ROOT", "no such collection"),
    ],
)
def test_the_published_command_with_bad_words(tmp_path, words, part):
    done = do_all(*words.replace("ROOT", str(tmp_path)).split())
    assert done.returncode == 2
    assert part in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_tutorial_shows_the_lines_that_are_printed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "demo", "--videos", "40"]) == 0
    assert main(["train", "configs/sample/parallel.yaml", "--rootpath", "demo", "--epochs", "1"]) == 0

    def forms(text: str, *others: str) -> set[str]:
        """The lines without their numbers, and without those of other commands, samples or epochs."""
        lines = (line for line in text.splitlines() if not any(other in line for other in others))
        return {re.sub(r"\d([\d.,]*\d)?", "0", line) for line in lines}

    printed = forms("".join(capfd.readouterr()), "validating on")
    text = (ROOT / "docs/tutorial/index.md").read_text(encoding="utf-8")
    sample = text[text.index("$ mlcmr sample demo") : text.index("A *collection*")]
    training = text[text.index("$ mlcmr train configs/sample") : text.index("`configs/sample/parallel.yaml`")]
    assert forms(sample + training, "$ ", "```", "best is") - {""} == printed
