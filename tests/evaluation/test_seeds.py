"""The results of several seeds: means and standard deviations of the runs' own results."""

import json
import shutil
import statistics
from pathlib import Path

import jsonschema
import pytest
import yaml

from mlcmr.cli import main
from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.evaluation import NormalisationSettings, evaluate
from mlcmr.training import SeedRuns, train_seeds
from tests.evaluation.test_ranks_file import SCHEMA
from tests.helpers.tiny import tiny_config, write_collection


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> SeedRuns:
    folder = tmp_path_factory.mktemp("seeds")
    write_collection(folder)
    return train_seeds(tiny_config(folder, folder / "run", epochs=1), 3)


def test_means_and_deviations_are_those_of_the_runs(several):
    settings = NormalisationSettings(["inverted-softmax", "sinkhorn"], beta=5)
    results = evaluate(several, normalisation=settings, resamples=10, device="cpu")
    each = [evaluate(run.folder, normalisation=settings, resamples=0, device="cpu") for run in several.runs]
    assert list(results) == list(each[0]) == ["en", "zh"]
    for target, result in results.items():
        assert result.seeds.seeds == (0, 1, 2)
        assert (result.seed, result.run) == (None, str(several.folder))
        assert result.seeds.deviations.keys() == {"fused", "target only", "inverted-softmax", "sinkhorn"}
        for label, mean in {**result.scored(), **result.using_all_test_queries()}.items():
            deviation = result.seeds.deviations[label]
            runs = [{**one[target].scored(), **one[target].using_all_test_queries()}[label] for one in each]
            for direction in ("t2v", "v2t"):
                for name, value in getattr(mean, direction).items():
                    values = [getattr(one, direction)[name] for one in runs]
                    assert value == pytest.approx(statistics.mean(values))
                    assert getattr(deviation, direction)[name] == pytest.approx(statistics.stdev(values))
            sums = [one.sum_recalls for one in runs]
            assert mean.sum_recalls == pytest.approx(statistics.mean(sums))
            assert deviation.sum_recalls == pytest.approx(statistics.stdev(sums))
            assert len(set(sums)) > 1 or label == "sinkhorn"


def test_what_is_written_and_printed(several, capsys):
    assert main(["evaluate", str(several.folder), "--target", "zh", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "± SD" in printed
    assert "zh: mean of 3 seeds: 0, 1, 2; ± SD: the standard deviation between them" in printed
    stored = json.loads((several.folder / "results.json").read_text())
    jsonschema.validate(stored, json.loads(SCHEMA.read_text()))
    (evaluation,) = stored["evaluations"]
    assert evaluation["seeds"]["seeds"] == [0, 1, 2]
    assert evaluation["seeds"]["deviations"]["fused"]["SumR"] > 0
    assert evaluation["intervals"] is None
    page = (several.folder / "report.html").read_text()
    assert 'href="seed-2/report.html"' in page
    assert "± SD" in page
    for run in several.runs:  # each has its own results and ranks
        own = json.loads((run.folder / "results.json").read_text())["evaluations"][0]
        assert own["seeds"] is None
        assert own["intervals"]
        assert (run.folder / "ranks.npz").exists()


def test_a_single_seed_has_no_deviation(several, tmp_path):
    shutil.copytree(several.runs[1].folder, tmp_path / "run" / "seed-1")
    result = evaluate(tmp_path / "run", targets=["zh"], device="cpu", resamples=0)["zh"]
    assert result.seeds.seeds == (1,)
    assert result.seeds.deviations == {}
    assert result.fused == evaluate(several.runs[1], targets=["zh"], device="cpu", resamples=0)["zh"].fused


def test_a_run_that_has_no_model_yet(several, tmp_path):
    folder = Path(shutil.copytree(several.folder, tmp_path / "run"))
    shutil.rmtree(folder / "seed-1" / "model")
    with pytest.raises(NotFoundError, match="seed-1/model: no model yet"):
        evaluate(folder, targets=["zh"], device="cpu")


def test_other_trainings_are_no_seeds(several, tmp_path, capfd):
    folder = Path(shutil.copytree(several.folder, tmp_path / "run"))
    config = folder / "seed-2" / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings |= {"rootpath": str(several.folder.parent), "workers": 2, "logger": "csv"}
    config.write_text(yaml.safe_dump(settings))
    evaluate(folder, targets=["zh"], device="cpu", resamples=0)  # they may differ
    settings["optimizer"]["clip"] = 0.5
    config.write_text(yaml.safe_dump(settings))
    line = f"{folder}: seed-0 and seed-2 are different trainings (optimizer.clip: 2.0 and 0.5)"
    for command in (["evaluate", str(folder)], ["compare", str(folder), str(several.folder)]):
        assert main(command) == 2
        assert capfd.readouterr().err.strip() == f"mlcmr: {line}; evaluate each run alone"


def test_a_run_that_is_not_finished(several, tmp_path):
    folder = Path(shutil.copytree(several.folder, tmp_path / "run"))

    def change(epochs: int, patience: int) -> None:
        for config in folder.glob("*/config.yaml"):
            settings = yaml.safe_load(config.read_text())
            settings["epochs"], settings["optimizer"]["patience"] = epochs, patience
            config.write_text(yaml.safe_dump(settings))

    change(epochs=3, patience=1)
    with pytest.raises(InvalidValueError, match=r"seed-0: the training is not finished \(1 of 3 epochs\)"):
        evaluate(folder, targets=["zh"], device="cpu", resamples=0)
    for log in folder.glob("*/metrics.jsonl"):  # two more epochs without a new best score
        line = json.dumps({"step": 9, "epoch": 1, "val/score": 0, "best": False})
        log.write_text(f"{log.read_text()}{line}\n{line}\n")
    change(epochs=50, patience=1)  # ended early
    evaluate(folder, targets=["zh"], device="cpu", resamples=0)
    change(epochs=50, patience=2)
    with pytest.raises(InvalidValueError, match=r"3 of 50 epochs"):
        evaluate(folder, targets=["zh"], device="cpu", resamples=0)


def test_a_folder_without_runs(tmp_path):
    (tmp_path / "seed-x").mkdir()
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(NotFoundError, match=r"config\.yaml: no such file; name the folder of a run"):
        evaluate(tmp_path)
