"""From a run to its figures: the table's numbers, results.json, report.html."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mlcmr import MLCMR
from mlcmr.cli import main
from mlcmr.data.config import DataConfig
from mlcmr.data.features import write_features
from mlcmr.data.scenario import ScenarioKind
from mlcmr.errors import UserError
from mlcmr.evaluation.evaluate import evaluate, evaluate_run
from mlcmr.training.train import train
from tiny import FEATURE, tiny_config, write_collection


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    write_collection(folder)
    return train(tiny_config(folder, folder / "run", epochs=4)).folder


def lines(trained: Path, name: str) -> list[tuple[str, str, str]]:
    """(video, number, text) of each line of a caption file."""
    found = []
    for line in (trained.parent / "tiny" / "TextData" / name).read_text().splitlines():
        caption_id, text = line.split(" ", 1)
        video, _, number = caption_id.split("#")
        found.append((video, number, text))
    return found


def test_figures_are_those_of_the_embeddings(trained):
    """Fused and alone, against a direct computation without any of the evaluation's code."""
    queries = lines(trained, "tinytest_zh.caption.txt")
    translated = {
        (video, number): text for video, number, text in lines(trained, "tinytest_google_zhc2en.caption.txt")
    }
    model = MLCMR.from_pretrained(trained / "model")
    features = trained.parent / "tiny" / "FeatureData" / FEATURE
    matrix = np.fromfile(features / "feature.bin", "<f4").reshape(-1, 12)
    names = (features / "id.txt").read_text().split()
    videos = list(dict.fromkeys(video for video, _, _ in queries))
    clips = [matrix[[name.rpartition("_")[0] == video for name in names]] for video in videos]
    seen = model.encode_videos(clips).numpy().astype(np.float64)
    alone = model.encode_texts([text for *_, text in queries], "zh").numpy() @ seen.T
    other = (
        model.encode_texts([translated[video, number] for video, number, _ in queries], "en").numpy() @ seen.T
    )
    (evaluation,) = evaluate_run(trained, targets=["zh"], device="cpu")
    for metrics, scores in (
        (evaluation.results.target_only, alone),
        (evaluation.results.fused, 0.85 * alone + 0.15 * other),
    ):
        right = np.array([videos.index(video) for video, _, _ in queries])
        ranks = 1 + (scores > scores[np.arange(len(right)), right][:, None]).sum(1)
        assert metrics.t2v.recall_1 == pytest.approx(100 * np.mean(ranks == 1))
        assert metrics.t2v.recall_5 == pytest.approx(100 * np.mean(ranks <= 5))
        assert metrics.t2v.median_rank == np.median(ranks)
        assert metrics.t2v.mean_precision == pytest.approx(100 * np.mean(1 / ranks))
        best = [
            1 + (np.sort(scores[:, v])[::-1] > scores[right == v, v].max()).sum() for v in range(len(videos))
        ]
        assert metrics.v2t.recall_1 == pytest.approx(100 * np.mean(np.array(best) == 1))


def test_what_is_written(trained):
    evaluate_run(trained, targets=["en", "zh"], device="cpu")
    stored = json.loads((trained / "results.json").read_text())
    assert [one["target"] for one in stored["evaluations"]] == ["en", "zh"]
    for one in stored["evaluations"]:
        assert one["collection"] == "tiny"
        assert one["split"] == "test"
        assert one["captions_per_video"] == 2
        assert (one["trained_on"], one["validated_on"]) == ("tiny", "val")
        assert one["fusion_weight"] == 0.85
        assert one["metrics"]["fused"]["SumR"] > one["chance"]["SumR"]
        assert {"mlcmr", "torch"} <= one["versions"].keys()
    report = (trained / "report.html").read_text()
    assert "tiny" in report
    assert "<script" not in report
    assert "http://" not in report.replace("http://www.w3.org", "")


def test_what_chose_the_checkpoint_is_of_the_training(trained, tmp_path):
    """Not of the collection that is measured, whose split may have the same name."""
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    other = Path(shutil.copytree(trained.parent / "tiny", tmp_path / "other"))
    for file in (other / "TextData").iterdir():
        file.rename(file.with_name(file.name.replace("tiny", "other", 1)))
    elsewhere = {"rootpath": str(tmp_path), "collection": "other", "validation_split": "test"}
    for data, chosen, same in (({}, "val", True), (elsewhere, "tiny val", False)):
        (one,) = evaluate_run(run, data, targets=["en"], split="val", device="cpu")
        assert one.results.chosen_on == chosen
        report = (run / "report.html").read_text()
        assert f"The checkpoint was chosen on {chosen}." in report
        assert ("the split that is measured here" in report) == same


def test_a_model_that_was_not_trained_here(trained, capfd):
    """Any model, from Python: nothing is printed, and nothing said of how its checkpoint was chosen."""
    data = DataConfig(rootpath=str(trained.parent), collection="tiny", feature=FEATURE)
    (one,) = evaluate(MLCMR.from_pretrained(trained / "model"), data, targets=["zh"], split="test")
    assert one.results.chosen_on is None
    assert one.results.target == one.queries.language == "zh"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "last", [b'{"step": 9, "lo', b"\xff\xfe\n", b"[1, 2]\n3\n", b'{"loss": "x", "val/score": null}\n']
)
def test_learning_curves_of_the_lines_that_are_whole(trained, tmp_path, last):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(last)
    evaluate_run(run, targets=["en"], device="cpu")
    report = (run / "report.html").read_text()
    assert "Validation score" in report
    assert "Learning rate" in report


def test_weight_one_is_the_target_alone(trained):
    (evaluation,) = evaluate_run(trained, targets=["zh"], fusion_weight=1.0, device="cpu")
    assert evaluation.results.fused == evaluation.results.target_only


def test_targets_by_default(trained):
    assert [one.results.target for one in evaluate_run(trained, device="cpu")] == ["en", "zh"]


def test_weights_are_the_published_ones(trained):
    for kind, weight in ((ScenarioKind.PARALLEL, 0.85), (ScenarioKind.UNPARALLEL, 0.55)):
        (one,) = evaluate_run(trained, {"scenario": str(kind)}, targets=["zh"], device="cpu")
        assert one.results.fusion_weight == weight


def test_without_translations_the_query_is_scored_alone(trained, tmp_path):
    write_collection(tmp_path)
    for file in (tmp_path / "tiny" / "TextData").glob("tinytest_google_*"):
        file.unlink()
    (one,) = evaluate_run(trained, {"rootpath": str(tmp_path)}, targets=["zh"], device="cpu")
    assert one.results.fused is None
    assert one.results.fusion_weight is None


def test_command(trained, capsys):
    assert main(["evaluate", str(trained), "--target", "zh", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    for word in ("fused", "target only", "chance", "SumR", "report.html", "results.json"):
        assert word in out
    assert main(["evaluate", str(trained), "--target", "zh", "--json", "--device", "cpu"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["target"] == "zh"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--target", "fr"], "tinytest_fr.caption.txt: no such file"),
        (["--split", "tset"], "tinytset.caption.txt: no such file"),
        (["--fusion-weight", "2"], "between 0 and 1"),
        (["--rootpath", "no/such"], "no such collection"),
        (["--feature", "nope"], "there is feat"),
    ],
)
def test_bad_input(trained, words, part, capsys):
    before = {path: path.read_bytes() for path in trained.glob("*.json")}
    assert main(["evaluate", str(trained), *words]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert before == {path: path.read_bytes() for path in trained.glob("*.json")}


def test_a_video_without_features(trained, tmp_path):
    write_collection(tmp_path)
    for translation in (tmp_path / "tiny" / "TextData").glob("tinytest_google_*"):
        translation.unlink()
    file = tmp_path / "tiny" / "TextData" / "tinytest.caption.txt"
    file.write_text(file.read_text() + "nowhere#enc#0 A dog.\n")
    with pytest.raises(UserError, match="the first is 'nowhere'"):
        evaluate_run(trained, {"rootpath": str(tmp_path)}, targets=["en"], device="cpu")


def test_an_unfinished_run(trained, tmp_path):
    settings = yaml.safe_load((trained / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match="no model yet"):
        evaluate_run(tmp_path)


def test_the_target_of_a_pseudo_parallel_run_by_default(trained):
    changed = {"scenario": "pseudo-parallel", "target": "zh"}
    assert [one.results.target for one in evaluate_run(trained, changed, device="cpu")] == ["zh"]


def test_another_split(trained):
    (one,) = evaluate_run(trained, targets=["en"], split="val", device="cpu")
    assert (one.results.split, one.results.videos, one.results.queries) == ("val", 6, 12)


def test_no_run(tmp_path):
    with pytest.raises(UserError, match=r"config\.yaml: no such file; name the folder of a run"):
        evaluate_run(tmp_path / "none")


@pytest.mark.parametrize(
    "content", [b"", b"[1, 2]", b"seed: [", b"\xff\xfe\x00", b"languages: 5", b"scenario: x"]
)
def test_damaged_settings(trained, tmp_path, content):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "config.yaml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        evaluate_run(run, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_model_without_weights(trained, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "model/model.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"model\.safetensors: no such file; this is not a complete model folder"
    ):
        evaluate_run(run, device="cpu")


@pytest.mark.parametrize("device", ["abacus", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there(trained, device):
    with pytest.raises(UserError, match=f"^--device {device}: not on this machine"):
        evaluate_run(trained, device=device)


def test_another_feature_size(trained, tmp_path):
    folder = write_collection(tmp_path)
    ids = (folder / f"FeatureData/{FEATURE}/id.txt").read_text().split()
    write_features(folder / "FeatureData/narrow", [(ids, np.ones((len(ids), 5), np.float32))])
    with pytest.raises(UserError, match=r"shape \(\d+, 5\), expected \(frames, 12\)"):
        evaluate_run(trained, {"rootpath": str(tmp_path), "feature": "narrow"}, device="cpu")
