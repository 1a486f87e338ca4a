"""Recipes with published rows are trained and evaluated; made-up rows stand in for the published ones."""

import json

import pytest

from mlcmr import errors
from mlcmr.cli import main
from mlcmr.evaluation import evaluate, reference_results
from mlcmr.evaluation.metrics import RetrievalMetrics
from mlcmr.training import reproduce, run_training
from mlcmr.training.reproduction import _published_recipes
from tests.helpers.runs import files
from tests.helpers.tiny import tiny_config, write_recipe


@pytest.fixture
def publish(monkeypatch):
    """Publish the SumR of a target language of the tiny collection."""

    def published(target: str, sum_recalls: float) -> None:
        row = RetrievalMetrics({"R@1": 50.0}, {"R@1": 50.0}, sum_recalls)
        monkeypatch.setitem(reference_results.PUBLISHED, ("tiny", "feat", "parallel", target), row)

    return published


@pytest.fixture
def recipe(root, tmp_path):
    return write_recipe(tmp_path / "recipe.yaml", tiny_config(root, tmp_path / "run", epochs=2))


@pytest.mark.parametrize(("sum_recalls", "verdict"), [(100, "below"), (600, "above"), (None, "within")])
def test_the_published_figure_beside_the_interval(publish, recipe, first_half, sum_recalls, verdict):
    ours = evaluate(first_half, targets=["zh"])["zh"]
    publish("zh", sum_recalls or ours.intervals.sum_recalls.low)
    (row,) = reproduce(str(recipe)).rows
    assert (row.target, row.verdict) == ("zh", verdict)
    assert row.metrics == ours.main
    assert row.intervals == ours.intervals


def test_every_published_target_of_a_recipe(publish, recipe, tmp_path, capsys):
    publish("zh", 600)
    publish("en", 0)
    table = tmp_path / "table.md"
    words = ["reproduce", str(recipe), "--runs", str(tmp_path / "elsewhere"), "--epochs", "1"]
    assert main([*words, "--format", "markdown", "--output", str(table)]) == 0
    rows = [line.split(" | ") for line in table.read_text().splitlines()[2:4]]
    assert [(row[1], row[2], row[-1]) for row in rows] == [
        ("en", "0.0", "below |"),
        ("zh", "600.0", "above |"),
    ]
    run = tmp_path / "elsewhere" / "run"
    before = files(run / "model")
    capsys.readouterr()
    assert main([*words, "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert "is trained already" in printed.err
    stored = json.loads(printed.out)
    assert [row["published_is"] for row in stored["rows"]] == ["below", "above"]
    assert stored["rows"][0]["run"] == str(run)
    assert files(run / "model") == before


def test_recipes_that_cannot_be_used_are_refused_before_any_training(root, publish, recipe, monkeypatch):
    publish("zh", 400)
    monkeypatch.setattr(run_training, "_train", lambda *_: pytest.fail("a training began"))
    with pytest.raises(
        errors.InvalidValueError, match=r"sample/parallel: no published results .*vatex/parallel"
    ):
        reproduce([str(recipe), "sample/parallel"])
    with pytest.raises(errors.NotFoundError, match="vatex: no such collection"):
        reproduce([str(recipe), "vatex/parallel"], rootpath=root)
    with pytest.raises(errors.NotFoundError, match="no such recipe"):
        reproduce(["vatex/paralel"])


def test_recipes_by_default():
    assert _published_recipes() == [
        *(f"msrvtt/pseudo-parallel-{target}" for target in ("en", "zh")),
        *(f"vatex/{name}" for name in ("parallel", "pseudo-parallel-en", "pseudo-parallel-zh", "unparallel")),
    ]


def test_settings(publish, recipe):
    publish("zh", 400)
    run = reproduce(str(recipe), padding="published", epochs=1).rows[0].run
    config = (recipe.parent / "run" / "config.yaml").read_text()
    assert run == str(recipe.parent / "run")
    assert "padding: published" in config
    assert "epochs: 1" in config
