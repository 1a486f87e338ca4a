"""From a run to its figures: the table's numbers, results.json, report.html."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mlcmr import MLCMR
from mlcmr.cli import main
from mlcmr.cli.display import Display
from mlcmr.data.config import DataConfig
from mlcmr.data.features.frame_features import write_features
from mlcmr.data.run_settings import data_of_run
from mlcmr.data.scenarios import ScenarioKind, read_validation
from mlcmr.errors import (
    CorruptFileError,
    InvalidValueError,
    MissingDependencyError,
    NotFoundError,
)
from mlcmr.evaluation import compare, evaluate
from mlcmr.evaluation.grid_search import FUSION_WEIGHTS, choose_best
from mlcmr.evaluation.metrics import compute_metrics, metrics_of_ranks
from mlcmr.evaluation.normalisation import BETAS, NormalisationSettings
from mlcmr.evaluation.ranks_file import read_ranks
from mlcmr.evaluation.report.table import summary
from mlcmr.evaluation.validate import select_score, validation_scores
from mlcmr.training import train
from mlcmr.training.run_folder import Run
from tests.helpers.permissions import forbid
from tests.helpers.tiny import FEATURE, tiny_config, write_collection


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
    results = evaluate(trained, targets=["zh"], device="cpu")["zh"]
    for metrics, scores in (
        (results.target_only, alone),
        (results.fused, 0.85 * alone + 0.15 * other),
    ):
        right = np.array([videos.index(video) for video, _, _ in queries])
        ranks = 1 + (scores > scores[np.arange(len(right)), right][:, None]).sum(1)
        assert metrics.t2v["R@1"] == pytest.approx(100 * np.mean(ranks == 1))
        assert metrics.t2v["R@5"] == pytest.approx(100 * np.mean(ranks <= 5))
        assert metrics.t2v["MedR"] == np.median(ranks)
        assert metrics.t2v["mAP"] == pytest.approx(100 * np.mean(1 / ranks))
        best = [
            1 + (np.sort(scores[:, v])[::-1] > scores[right == v, v].max()).sum() for v in range(len(videos))
        ]
        assert metrics.v2t["R@1"] == pytest.approx(100 * np.mean(np.array(best) == 1))


def test_what_is_written(trained):
    evaluate(trained, targets=["en", "zh"], device="cpu")
    stored = json.loads((trained / "results.json").read_text())
    assert [evaluation["target"] for evaluation in stored["evaluations"]] == ["en", "zh"]
    for evaluation in stored["evaluations"]:
        assert evaluation["collection"] == "tiny"
        assert evaluation["split"] == "test"
        assert evaluation["captions_per_video"] == 2
        assert (evaluation["trained_on"], evaluation["validated_on"]) == ("tiny", "val")
        assert evaluation["fusion_weight"] == 0.85
        assert evaluation["metrics"]["fused"]["SumR"] > evaluation["chance"]["SumR"]
        assert {"mlcmr", "torch"} <= evaluation["versions"].keys()
        figures, intervals = evaluation["metrics"]["fused"], evaluation["intervals"]
        assert (intervals["confidence"], intervals["resamples"], intervals["seed"]) == (0.95, 1000, 0)
        low, high = intervals["SumR"]
        assert low <= figures["SumR"] <= high
        assert intervals["v2t"].keys() == figures["v2t"].keys()
        low, high = evaluation["target_only_intervals"]["SumR"]
        assert low <= evaluation["metrics"]["target_only"]["SumR"] <= high
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
    elsewhere = {"rootpath": str(tmp_path), "collection": "other"}
    for changes, chosen, same in (({}, "val", True), (elsewhere, "tiny val", False)):
        results = evaluate(run, targets=["en"], split="val", device="cpu", **changes)
        assert results["en"].chosen_on == chosen
        report = (run / "report.html").read_text()
        assert f"The checkpoint was chosen on {chosen}." in report
        assert ("the split that is evaluated here" in report) == same


def test_a_model_that_was_not_trained_here(trained, capfd):
    """Any model, from Python: nothing is printed, and the choice of its checkpoint is not known."""
    data = DataConfig(rootpath=str(trained.parent), collection="tiny", feature=FEATURE)
    results = evaluate(MLCMR.from_pretrained(trained / "model"), data, targets=["zh"])
    assert list(results) == ["zh"]
    assert results["zh"].chosen_on is None
    assert results.folder is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "last",
    [
        b'{"step": 9, "lo',
        b"\xff\xfe\n",
        b"[1, 2]\n3\n",
        b'{"epoch": 0, "val/score": null}\n',
        b'{"epoch": "x"}\n',
        b'{"loss": "x", "val/score": 1}\n',
        b'{"step": true}\n',
        b'{"step": 1%s}\n' % (b"0" * 400),
        b'{"loss": NaN}\n',
        b'{"step": {}}\n',
        b"[" * 5000 + b"\n",
        b'{"%s": 1}\n' % (b"x" * 1000),
        b"{%s}\n" % b",".join(b'"%d": 1' % name for name in range(999)),
    ],
)
def test_learning_curves_of_the_lines_that_are_whole(trained, tmp_path, last, capfd):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(last)
    with Display() as display:
        evaluate(run, targets=["en"], device="cpu", progress=display)
    if b"null" not in last:
        number = max(1, last.count(b"\n"))
        messages = capfd.readouterr().err
        assert f"leaves out {number} line" in messages
        assert "constrained" not in messages
    report = (run / "report.html").read_text()
    assert "Validation score" in report
    assert "Learning rate" in report


def test_a_wrong_measurement_is_named_by_its_line(trained, tmp_path, capfd):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "metrics.jsonl").write_text('{"epoch": "x"}\n')
    assert main(["evaluate", str(run), "--target", "en", "--device", "cpu"]) == 0
    assert (
        "metrics.jsonl:1: the content is {'epoch': 'x'}: epoch is 'x', but must be a number; it is left out"
        in (" ".join(capfd.readouterr().err.split()))
    )


def test_measurements_without_permission_are_left_out(trained, tmp_path, monkeypatch, capfd):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    forbid(run / "metrics.jsonl", monkeypatch)
    with Display() as display:
        evaluate(run, targets=["en"], device="cpu", progress=display)
    assert "the report has no learning curves: " in capfd.readouterr().err
    assert "Validation score" not in (run / "report.html").read_text()


def test_weight_one_is_the_target_alone(trained):
    results = evaluate(trained, targets=["zh"], fusion_weight=1.0, device="cpu")["zh"]
    assert results.fused == results.target_only


def test_targets_by_default(trained):
    assert list(evaluate(trained, device="cpu")) == ["en", "zh"]


def test_weights_are_the_published_ones(trained):
    for kind, weight in ((ScenarioKind.PARALLEL, 0.85), (ScenarioKind.UNPARALLEL, 0.55)):
        data = data_of_run(trained, {"scenario": str(kind)})
        assert evaluate(trained, data, targets=["zh"], device="cpu")["zh"].fusion_weight == weight


def test_without_translations_the_query_is_scored_alone(trained, tmp_path):
    write_collection(tmp_path)
    for file in (tmp_path / "tiny" / "TextData").glob("tinytest_google_*"):
        file.unlink()
    results = evaluate(trained, rootpath=tmp_path, targets=["zh"], device="cpu")["zh"]
    assert results.fused is None
    assert results.fusion_weight is None


def test_the_fusion_weight_that_is_best_on_validation(trained):
    """The best of the grid on the validation split, measured one by one; the test split has no say."""
    sums = {
        weight: evaluate(trained, targets=["zh"], split="val", fusion_weight=weight, device="cpu")["zh"]
        for weight in FUSION_WEIGHTS
    }
    best = max(results.sum_recalls for results in sums.values())
    nearest = min((w for w in sums if sums[w].sum_recalls == best), key=lambda weight: abs(weight - 0.85))
    chosen = evaluate(trained, targets=["zh"], fusion_weight="auto", device="cpu")["zh"]
    assert (chosen.fusion_weight, chosen.fusion_weight_chosen_on) == (nearest, "val")
    given = evaluate(trained, targets=["zh"], fusion_weight=nearest, device="cpu")["zh"]
    assert chosen.fused == given.fused
    assert given.fusion_weight_chosen_on is None
    assert f"fusion weight {nearest:g}, chosen on val" in summary(chosen)
    assert json.loads((trained / "results.json").read_text())["evaluations"][0]["fusion_weight"] == nearest


def test_no_fusion_weight_to_choose_without_translations(trained, tmp_path, capfd):
    write_collection(tmp_path)
    text = tmp_path / "tiny" / "TextData"
    (text / "tinytest_google_zhc2en.caption.txt").unlink()
    words = [
        "evaluate",
        str(trained),
        "--rootpath",
        str(tmp_path),
        "--fusion-weight",
        "auto",
        "--device",
        "cpu",
    ]
    assert main([*words, "--json"]) == 0
    output = capfd.readouterr()
    assert "zh: no translations of the queries, so no fusion weight to choose" in " ".join(output.err.split())
    english, chinese = json.loads(output.out)
    assert english["fusion_weight_chosen_on"] == "val"
    assert chinese["fusion_weight"] is chinese["fusion_weight_chosen_on"] is None
    (text / "tinyval_google_enc2zh.caption.txt").unlink()
    assert main(words) == 2
    message = "--fusion-weight is auto, but the captions of tinyval.caption.txt have no translations"
    assert message in capfd.readouterr().err


def test_equal_scores_choose_the_nearest_to_the_default():
    assert choose_best(FUSION_WEIGHTS, lambda _: 1.0, default=0.55) == 0.55
    assert choose_best(FUSION_WEIGHTS, lambda weight: weight * 1e-9, default=0.85) == 0.85
    assert choose_best(FUSION_WEIGHTS, lambda weight: -weight, default=0.85) == 0.0


def test_a_wrong_fusion_weight(trained):
    for weight in (-0.1, 1.5):
        with pytest.raises(InvalidValueError, match="must be between 0 and 1, or auto"):
            evaluate(trained, fusion_weight=weight)
    for weight in (float("nan"), "best"):
        with pytest.raises(InvalidValueError, match=r"fusion_weight`? is"):
            evaluate(trained, fusion_weight=weight)


ALL = ["inverted-softmax", "dynamic-inverted-softmax", "dual-softmax", "sinkhorn"]


@pytest.mark.parametrize("named", ["sinkhorn", ["sinkhorn"]])
def test_a_normalisation_may_be_a_name(trained, named):
    by_name = evaluate(trained, targets=["zh"], normalisation=named, resamples=0, device="cpu")["zh"]
    settings = NormalisationSettings(["sinkhorn"])
    results = evaluate(trained, targets=["zh"], normalisation=settings, resamples=0, device="cpu")["zh"]
    assert by_name.normalised == results.normalised != []


def test_normalisations_are_those_of_the_embeddings(trained):
    """With a bank of all training captions in the target language, against the formula on whole matrices."""
    settings = NormalisationSettings(ALL, beta=10)
    results = evaluate(trained, targets=["zh"], normalisation=settings, device="cpu")["zh"]
    model = MLCMR.from_pretrained(trained / "model")
    features = data_of_run(trained, {}).open_collection().open_features(FEATURE)

    def embed(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        captions = lines(trained, name)
        videos = list(dict.fromkeys(video for video, _, _ in captions))
        owners = np.array([videos.index(video) for video, _, _ in captions])
        texts = model.encode_texts([text for *_, text in captions], "zh").numpy()
        return texts, model.encode_videos([features[video] for video in videos]).numpy(), owners

    queries, videos, owners = embed("tinytest_zh.caption.txt")
    bank, films, _ = embed("tinytrain_zh.caption.txt")
    translated = [text for *_, text in lines(trained, "tinytest_google_zhc2en.caption.txt")]
    queries = 0.85 * queries + 0.15 * model.encode_texts(translated, "en").numpy()
    scores = queries @ videos.T
    t2v = np.exp(10 * scores) / np.exp(10 * bank @ videos.T).sum(axis=0)
    v2t = np.exp(10 * scores.T) / np.exp(10 * films @ queries.T).sum(axis=0)
    found = results.scored()["inverted-softmax"]
    assert found.t2v == pytest.approx(compute_metrics(t2v, owners).t2v)
    assert found.v2t == pytest.approx(compute_metrics(v2t.T, owners).v2t)
    assert results.main is results.fused
    with_bank, without = results.normalised[0], results.normalised[2]
    assert (with_bank.bank_captions, with_bank.bank_videos) == (len(bank), len(films)) == (48, 24)
    assert (without.bank_captions, without.uses_all_test_queries) == (None, True)
    assert {each.beta_chosen_on for each in results.normalised} == {None}


def test_what_uses_all_test_queries_stands_apart(trained, capsys):
    words = ["evaluate", str(trained), "--target", "zh", "--normalisation", *ALL, "--beta", "10"]
    assert main([*words, "--device", "cpu"]) == 0
    first, _, second = capsys.readouterr().out.partition("Uses all test queries")
    table, lines = second.split("zh: ", 1)
    for name in ALL[:2]:
        assert name in first
        assert name not in table
        assert f"{name}: β 10 · bank of 48 captions, 24 videos" in " ".join(lines.split())
    for name in ALL[2:]:
        assert name not in first
        assert name in table
        assert f"{name}: β 10 · uses all test queries" in lines
    (stored,) = json.loads((trained / "results.json").read_text())["evaluations"]
    assert [each["normalisation"] for each in stored["normalised"]] == ALL[:2]
    assert [each["normalisation"] for each in stored["uses_all_test_queries"]] == ALL[2:]
    assert stored["uses_all_test_queries"][0]["metrics"]["SumR"] > 0
    report = (trained / "report.html").read_text()
    results, _, apart = report.partition("<h2>Uses all test queries</h2>")
    assert all(name in results.split("<h2>Results</h2>")[1] for name in ALL[:2])
    assert not any(name in results for name in ALL[2:])
    assert all(name in apart for name in ALL[2:])


def test_the_temperature_that_is_best_on_validation(trained):
    """Measured one by one on the validation split, with the same bank."""
    sums = {
        beta: evaluate(
            trained,
            targets=["en"],
            split="val",
            normalisation=NormalisationSettings("inverted-softmax", beta=beta),
            device="cpu",
        )["en"].normalised[0].metrics.sum_recalls
        for beta in BETAS
    }  # fmt: skip
    nearest = min((b for b in sums if sums[b] == max(sums.values())), key=lambda beta: abs(beta - 20))
    settings = NormalisationSettings(["inverted-softmax"])
    (normalised,) = evaluate(trained, targets=["en"], normalisation=settings, device="cpu")["en"].normalised
    assert (normalised.beta, normalised.beta_chosen_on) == (nearest, "val")


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"normalisations": "softmax"}, "normalisations"),
        ({"normalisations": ["sinkhorn", 3]}, "normalisations"),
        ({"normalisations": "sinkhorn", "beta": 0}, "beta"),
        ({"normalisations": "sinkhorn", "beta": float("inf")}, "beta"),
        ({"beta": 20}, "beta"),
        ({"normalisations": "inverted-softmax", "bank_size": 0}, "bank_size"),
    ],
)
def test_wrong_settings_of_normalisations(settings, parameter):
    with pytest.raises(InvalidValueError) as caught:
        NormalisationSettings(**settings)
    assert caught.value.parameter == parameter


def test_a_smaller_bank(trained):
    for size, captions, videos in ((11, 10, 5), (1, 2, 1)):
        settings = NormalisationSettings("inverted-softmax", beta=5, bank_size=size)
        (normalised,) = evaluate(trained, targets=["en"], normalisation=settings, device="cpu")[
            "en"
        ].normalised
        assert (normalised.bank_captions, normalised.bank_videos) == (captions, videos)


def test_command(trained, capsys):
    assert main(["evaluate", str(trained), "--target", "zh", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    for word in ("fused", "target only", "chance", "SumR", "report.html", "results.json"):
        assert word in out
    assert main(["evaluate", str(trained), "--target", "zh", "--json", "--device", "cpu"]) == 0
    (evaluation,) = json.loads(capsys.readouterr().out)
    assert evaluation["target"] == "zh"


def test_what_a_comparison_reads(trained, tmp_path):
    """The ranks of the figures that the protocol reports; another target language has other queries."""
    results = evaluate(trained, device="cpu")
    for target, result in results.items():
        stored = read_ranks(trained, target, captions=result.queries, videos=result.videos)
        assert metrics_of_ranks(stored.ranks) == result.main
    assert results["en"].queries_digest != results["zh"].queries_digest
    again = Path(shutil.copytree(trained, tmp_path / "again"))
    assert evaluate(again, targets=["zh"], device="cpu")["zh"].queries_digest == results["zh"].queries_digest
    comparison = compare([Run(trained), again], permutations=9)
    assert {one.target for one in comparison.metrics} == {"zh"}
    assert all(one.figures[1].difference.p_value == 1 for one in comparison.metrics)


def test_no_intervals(trained, capsys):
    words = ["evaluate", str(trained), "--target", "zh", "--device", "cpu", "--resamples"]
    for resamples in ("10", "0"):
        assert main([*words, resamples]) == 0
        assert ("± 95 %" in capsys.readouterr().out) == (resamples != "0")
    (stored,) = json.loads((trained / "results.json").read_text())["evaluations"]
    assert stored["intervals"] is None


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--target", "fr"], "tinytest_fr.caption.txt: no such file"),
        (["--split", "tset"], "tinytset.caption.txt: no such file"),
        (["--fusion-weight", "2"], "between 0 and 1"),
        (["--resamples", "-1"], "--resamples is -1, but must be a whole number from 0"),
        (["--normalisation", "softmax"], "--normalisation: invalid choice: 'softmax' (choose from"),
        (["--normalisation", "sinkhorn", "--beta", "0"], "--beta is 0.0, but must be above 0"),
        (["--normalisation", "sinkhorn", "--beta", "-1"], "--beta is -1.0, but must be above 0"),
        (["--beta", "20"], "--beta is the inverse temperature of --normalisation, but there are none"),
        (
            ["--normalisation", "inverted-softmax", "--bank-size", "0"],
            "bank_size is 0, but must be at least 1",
        ),
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
    with pytest.raises(NotFoundError, match="the first is 'nowhere'"):
        evaluate(trained, rootpath=str(tmp_path), targets=["en"], device="cpu")


def test_an_unfinished_run(trained, tmp_path):
    settings = yaml.safe_load((trained / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(NotFoundError, match="no model yet"):
        evaluate(tmp_path)


def test_the_target_of_a_pseudo_parallel_run_by_default(trained):
    data = data_of_run(trained, {"scenario": "pseudo-parallel", "target": "zh"})
    assert list(evaluate(trained, data, device="cpu")) == ["zh"]


def test_another_split(trained):
    results = evaluate(trained, targets=["en"], split="val", device="cpu")["en"]
    assert (results.split, results.videos, results.queries) == ("val", 6, 12)


def test_no_run(tmp_path):
    with pytest.raises(
        NotFoundError, match=r"config\.yaml: no such file; name the folder of a run"
    ) as caught:
        evaluate(tmp_path / "none")
    assert caught.value.path == str(tmp_path / "none/config.yaml")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1, 2]",
        b"seed: [",
        b"\xff\xfe\x00",
        b"languages: 5",
        b"scenario: x",
        b"[" * 100_000,
        b"{feature: a, languages: [a], seed: -1}",
        b"{feature: a, languages: []}",
        b"{feature: a, languages: [en, en]}",
        b"{feature: a, languages: [en, zh], scenario: pseudo-parallel}",
        b"feature: [a]",
        b"{feature: a, feature: b, languages: [en]}",
        b"languages: &a [*a]",
    ],
)
def test_damaged_settings(trained, tmp_path, content):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "config.yaml").write_bytes(content)
    with pytest.raises(CorruptFileError) as caught:
        evaluate(run, device="cpu")
    assert str(caught.value).startswith(f"{run / 'config.yaml'}:")
    assert "\n" not in str(caught.value)


def test_a_model_without_weights(trained, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "model/model.safetensors").unlink()
    with pytest.raises(
        NotFoundError, match=r"model\.safetensors: no such file; this is not a complete model folder"
    ):
        evaluate(run, device="cpu")


@pytest.mark.parametrize("device", ["abacus", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there(trained, device):
    with pytest.raises(InvalidValueError, match=f"^`device` {device}: not on this machine") as caught:
        evaluate(trained, device=device)
    assert caught.value.parameter == "device"


def test_another_feature_size(trained, tmp_path):
    folder = write_collection(tmp_path)
    ids = (folder / f"FeatureData/{FEATURE}/id.txt").read_text().split()
    write_features(folder / "FeatureData/narrow", [(ids, np.ones((len(ids), 5), np.float32))])
    with pytest.raises(InvalidValueError, match=r"shape \(\d+, 5\), expected \(frames, 12\)"):
        evaluate(trained, rootpath=str(tmp_path), feature="narrow", device="cpu")


def test_a_target_without_captions_is_blamed_and_not_the_run(trained, capsys):
    assert main(["evaluate", str(trained), "--target", "de"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("mlcmr: target 'de': ")
    assert message.endswith("tinytest_de.caption.txt: no such file; the test split has captions in en, zh\n")


def test_a_target_by_name_and_by_code_is_one(trained):
    for targets in (["Chinese", "zh-CN", "zh"], "zh"):
        assert list(evaluate(trained, targets=targets, device="cpu")) == ["zh"]


def test_a_target_that_is_no_language(trained):
    with pytest.raises(InvalidValueError, match=r"^'chinse' is no language"):
        evaluate(trained, targets=["chinse"], device="cpu")


def test_one_is_counted_in_the_singular(trained):
    results = evaluate(trained, targets=["zh"], device="cpu")["zh"]
    assert summary(replace(results, queries=1, videos=1)).startswith("1 caption · 1 video ·")


def test_metrics_of_the_command(trained, capsys, monkeypatch, tmp_path):
    """Other cutoffs, nDCG and a metric of the user's own: in table, results.json, report and data frame."""
    (tmp_path / "own_metrics.py").write_text(
        "def mrr(ranks):\n    return {'M<R>R': float((1 / ranks.best).mean())}\n\nmrr.format = '.3f'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--target", "zh", "--recall-at", "1", "3", "50", "--metric", "nDCG@10", "own_metrics:mrr"]
    assert main(["evaluate", str(trained), *words, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    names = ["R@1", "R@3", "R@50", "MedR", "MnR", "mAP", "nDCG@10", "M<R>R"]
    assert all(name in out for name in names)
    assert "R@5 " not in out
    (stored,) = json.loads((trained / "results.json").read_text())["evaluations"]
    for metrics in (stored["metrics"]["fused"], stored["metrics"]["target_only"], stored["chance"]):
        assert list(metrics["t2v"]) == list(metrics["v2t"]) == names
    assert stored["chance"]["t2v"]["M<R>R"] is None
    assert stored["chance"]["t2v"]["nDCG@10"] > 0
    value = stored["metrics"]["fused"]["t2v"]["M<R>R"]
    assert f"{value:.3f}" in out
    report = (trained / "report.html").read_text()
    assert "M&lt;R&gt;R" in report
    assert "M<R>R" not in report
    assert f"{value:.3f}" in report
    assert "Dots: R@1, R@3, R@50." in report


def test_results_are_a_mapping_and_a_table(trained):
    results = evaluate(trained, device="cpu")
    assert list(results) == ["en", "zh"]
    assert results["zh"].t2v["R@1"] == results["zh"].main.t2v["R@1"]
    assert results["zh"].sum_recalls == results["zh"].fused.sum_recalls
    assert results.to_dict() == json.loads((trained / "results.json").read_text())
    printed = str(results)
    assert f"{results['zh'].sum_recalls:.1f}" in printed
    assert printed.splitlines()[-1] == f"results: {trained / 'results.json'}"
    assert not any(line.endswith(" ") for line in printed.splitlines())


def test_results_as_a_data_frame(trained, monkeypatch):
    pytest.importorskip("pandas")
    results = evaluate(trained, targets=["zh"], device="cpu")
    frame = results.to_pandas()
    assert frame.loc[("zh", "target only", "v2t"), "MedR"] == results["zh"].target_only.v2t["MedR"]
    assert frame.loc[("zh", "fused", "t2v"), "SumR"] == results["zh"].sum_recalls
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pandas"):
        results.to_pandas()


def test_a_run_of_the_training(trained):
    """A run that `train` returned is as good as its folder; a model needs data."""
    assert evaluate(Run(trained), targets=["en"], device="cpu").folder == trained
    with pytest.raises(InvalidValueError, match="`data` is missing"):
        evaluate(MLCMR.from_pretrained(trained / "model"))


@pytest.mark.parametrize(
    ("metric", "sign"), [("mAP", 1), ("nDCG@2", 1), ("R@3", 1), ("MedR", -1), ("MnR", -1)]
)
def test_validation_by_a_metric(trained, metric, sign):
    """The sum over both directions; a metric that is better if lower counts negatively."""
    data = data_of_run(trained, {})
    collection = data.open_collection()
    model, features = MLCMR.from_pretrained(trained / "model"), collection.open_features(data.feature)
    splits = read_validation(collection, data.as_scenario(), "val")
    scores = validation_scores(model, features, splits, select_score(metric))
    results = evaluate(model, data, split="val", recall_at=[3], metrics=["nDCG@2"])
    for language in ("en", "zh"):
        values = results[language].target_only
        assert scores[language] == pytest.approx(sign * (values.t2v[metric] + values.v2t[metric]))
