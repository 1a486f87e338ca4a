"""The loop learns, and a killed or interrupted run ends like an uninterrupted one."""

import json
from datetime import datetime, timedelta
from itertools import count

import numpy as np
import pytest
import torch

from mlcmr.cli.display import Display
from mlcmr.data.batches import BatchKey, PairDataset
from mlcmr.data.scenarios import read_training_pairs, read_validation
from mlcmr.errors import InvalidValueError, MlcmrError
from mlcmr.evaluation.metrics import chance_metrics
from mlcmr.evaluation.validate import select_score, validation_scores
from mlcmr.metrics import Ranks
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training import loop
from mlcmr.training.checkpoint import read_state
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.run_folder import Run
from mlcmr.training.run_training import build_model, train
from mlcmr.training.schedule import Schedule
from tests.helpers.runs import STEPS, assert_same, records
from tests.helpers.tiny import (
    FEATURE,
    SPLITS,
    tiny_config,
    tiny_model,
)


def test_it_learns(undisturbed):
    steps = [record["loss"] for record in records(undisturbed) if "loss" in record]
    assert len(steps) == 4 * STEPS
    assert np.mean(steps[-STEPS:]) < 0.7 * np.mean(steps[:STEPS])
    owners = np.repeat(np.arange(len(SPLITS["val"])), 2)
    by_chance = 2 * chance_metrics(owners, len(SPLITS["val"])).sum_recalls
    scores = [record["val/score"] for record in records(undisturbed) if "val/score" in record]
    assert len(scores) == 4
    assert max(scores) > by_chance + 100
    assert all(
        record["val/score"] == pytest.approx(record["val/en"] + record["val/zh"])
        for record in records(undisturbed)
        if "val/score" in record
    )


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({}, ["en→v", "zh→v", "en~en'", "zh~zh'", "v~v'"]),
        ({"scenario": "pseudo-parallel", "target": "zh"}, ["en→v", "zh→v", "en~en'", "zh~zh'", "v~v'"]),
        ({"scenario": "pseudo-parallel", "target": "en"}, ["en→v", "zh→v", "en~en'", "zh~zh'", "v~v'"]),
        ({"scenario": "unparallel"}, ["mixed→v", "mixed~mixed'", "v~v'"]),
        ({"languages": ["zh"]}, ["zh→v", "zh~zh'", "v~v'"]),
    ],
    ids=["parallel", "pseudo-zh", "pseudo-en", "unparallel", "one language"],
)
def test_scenarios(root, tmp_path, changes, terms):
    train(tiny_config(root, tmp_path / "run", epochs=1, **changes))
    first, *_, last = records(tmp_path / "run")
    assert [name for name in first if "v" in name or "~" in name] == terms
    assert first["loss"] == pytest.approx(sum(first[name] for name in terms), rel=1e-5)
    assert last["step"] == STEPS
    assert MLCMR.from_pretrained(tmp_path / "run/model").encode_texts(["A dog runs."], "en").shape == (1, 32)


def test_unparallel_batches_mix_languages(root):
    config = tiny_config(root, root / "unused", scenario="unparallel")
    collection = config.open_collection()
    pairs = read_training_pairs(collection, config.as_scenario())
    seen = []

    def tokenize(texts, languages):
        seen.append(set(languages))
        return [np.arange(5, dtype=np.int32) for _ in texts]

    dataset = PairDataset(pairs, collection.open_features(FEATURE), tokenize, 4, 0)
    order = np.random.default_rng(0).permutation(len(dataset))
    for start in range(0, len(dataset), 8):
        batch = dataset[BatchKey(0, order[start : start + 8])]
        assert list(batch.captions) == ["mixed"]
    assert set.union(*seen) == {"en", "zh"}
    assert {"en", "zh"} in seen


def test_lines_say_how_many_examples(root, tmp_path):
    """An epoch's last batch may be short."""
    train(tiny_config(root, tmp_path / "run", epochs=2, batch_size=20))
    sizes = [record["examples"] for record in records(tmp_path / "run") if "loss" in record]
    assert sizes == [20, 20, 8] * 2


def test_the_same_command_gives_the_same_bits(root, undisturbed, tmp_path):
    assert_same(train(tiny_config(root, tmp_path / "run", epochs=4)).folder, undisturbed)


def test_another_seed_gives_other_numbers(root, undisturbed, tmp_path):
    train(tiny_config(root, tmp_path / "run", epochs=1, seed=1))
    assert records(tmp_path / "run")[0]["loss"] != records(undisturbed)[0]["loss"]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(root, first_half, tmp_path, workers):
    train(tiny_config(root, tmp_path / "run", workers=workers))
    assert_same(tmp_path / "run", first_half)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "bf16"])
def test_half_precision(root, undisturbed, tmp_path, precision):
    train(tiny_config(root, tmp_path / "run", epochs=2, precision=precision))
    losses = [record["loss"] for record in records(tmp_path / "run") if "loss" in record]
    whole = [record["loss"] for record in records(undisturbed) if "loss" in record]
    assert losses[0] != whole[0]
    assert losses == pytest.approx(whole[: 2 * STEPS], rel=0.15)


def test_learning_rate_reaches_the_weights(root, tmp_path):
    """Adam's first step moves each weight by the learning rate."""
    config = tiny_config(root, tmp_path / "run", epochs=1, batch_size=48)
    train(config)
    pairs = read_training_pairs(config.open_collection(), config.as_scenario())
    before = build_model(config, pairs, 12).state_dict()
    after = read_state(Run(tmp_path / "run").state).model
    moved = (after["video_mapping.linear.weight"] - before["video_mapping.linear.weight"]).abs()
    assert moved.median().item() == pytest.approx(3e-3, rel=1e-2)
    assert moved.max().item() < 3.1e-3


def test_learning_rate_follows_the_schedule(undisturbed):
    rates = {record["epoch"]: record["lr"] for record in records(undisturbed) if "lr" in record}
    schedule = Schedule(OptimizerConfig(learning_rate=3e-3), 3e-3)
    for record in records(undisturbed):
        if "val/score" in record:
            assert rates[record["epoch"]] == schedule.learning_rate
            assert schedule.epoch_done(record["val/score"]) == record["best"]
    state = read_state(Run(undisturbed).state)
    assert [group["lr"] for group in state.optimizer["param_groups"]] == [schedule.learning_rate]
    assert state.loop.schedule == schedule


def test_best_model_is_that_of_the_best_epoch(root, tmp_path, monkeypatch):
    scores = iter([10.0, 30.0, 20.0])
    monkeypatch.setattr(loop, "validation_scores", lambda *_: {"en": next(scores)})
    for epochs in (2, 3):
        train(tiny_config(root, tmp_path / "run", epochs=epochs))
        if epochs == 2:
            best = read_state(Run(tmp_path / "run").state).model
    assert [record["best"] for record in records(tmp_path / "run") if "best" in record] == [True, True, False]
    kept = MLCMR.from_pretrained(tmp_path / "run/model").state_dict()
    last = read_state(Run(tmp_path / "run").state).model
    assert all(torch.equal(kept[name], best[name]) for name in best)
    assert not torch.equal(kept["video_mapping.linear.weight"], last["video_mapping.linear.weight"])


def test_the_score_is_that_of_the_model(root, tmp_path):
    """The score that validation wrote is the score of the saved model."""
    config = tiny_config(root, tmp_path / "run", epochs=1)
    train(config)
    collection = config.open_collection()
    splits = read_validation(collection, config.as_scenario(), "val")
    model = MLCMR.from_pretrained(tmp_path / "run/model")
    with Display() as display:
        found = validation_scores(
            model, collection.open_features(FEATURE), splits, select_score("recall"), display
        )
    last = records(tmp_path / "run")[-1]
    assert found == {"en": last["val/en"], "zh": last["val/zh"]}


def falling(ranks: Ranks) -> dict[str, float]:
    """Return a number that falls from call to call."""
    return {"turn": next(turns)}


turns = count(0.0, -1.0)


def test_a_metric_of_another_package_chooses_the_model(root, tmp_path):
    name = f"{__name__}:falling"
    train(tiny_config(root, tmp_path / "run", epochs=3, validation_metric=name))
    lines = [record for record in records(tmp_path / "run") if "best" in record]
    assert [line["best"] for line in lines] == [True, False, False]
    assert lines[0]["val/score"] > lines[1]["val/score"] > lines[2]["val/score"]


def test_an_unknown_metric_is_refused_before_anything_is_written(root, tmp_path):
    with pytest.raises(InvalidValueError, match=r"`validation_metric` is 'MAP', .*did you mean mAP"):
        train(tiny_config(root, tmp_path / "run", validation_metric="MAP"))
    assert not (tmp_path / "run").exists()


def test_early_end(root, tmp_path):
    """Nothing is learnt without a learning rate: no epoch after the first is better."""
    optimizer = OptimizerConfig(learning_rate=0, patience=2)
    model = tiny_model(dropout=0.0)
    train(tiny_config(root, tmp_path / "run", epochs=50, optimizer=optimizer, model=model))
    epochs = [record for record in records(tmp_path / "run") if "val/score" in record]
    best = max(record["epoch"] for record in epochs if record["best"])
    assert len(epochs) == best + 1 + 3 < 50


def test_largest_seed(root, tmp_path):
    train(tiny_config(root, tmp_path / "run", epochs=1, seed=2**64 - 1))


def test_a_training_that_diverges_leaves_finite_weights(root, tmp_path):
    optimizer = OptimizerConfig(learning_rate=1e38, clip=0)
    with pytest.raises(MlcmrError, match=r"at step \d+: lower `optimizer\.learning_rate`") as caught:
        train(tiny_config(root, tmp_path / "run", optimizer=optimizer, checkpoint_minutes=0))
    state = Run(tmp_path / "run").state
    kept = f"; the last saved state stays in {tmp_path / 'run'}"
    assert str(caught.value).endswith(kept) == ("last saved state" in str(caught.value)) == state.exists()
    if state.exists():
        assert all(bool(torch.isfinite(weights).all()) for weights in read_state(state).model.values())


def test_an_epoch_that_takes_long_says_how_far_it_is(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mlcmr.cli.display.FIRST", 0)
    with Display() as display:
        train(tiny_config(root, tmp_path / "run", epochs=1), progress=display)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch 1/1: ")]
    assert [line.partition(")")[0] for line in lines[:2]] == [
        "epoch 1/1: 1 of 6 (16 %",
        "epoch 1/1: 2 of 6 (33 %",
    ]
    assert "lr 3.00e-03" in lines[0]
    assert "samples/s" in lines[0]
    assert lines[-1].startswith("epoch 1/1: loss ")
    assert len(lines) == STEPS + 1


def test_each_measurement_has_its_time(undisturbed):
    lines = (undisturbed / "metrics.jsonl").read_text().splitlines()
    times = [datetime.fromisoformat(json.loads(line)["time"]) for line in lines]
    assert times == sorted(times)
    assert {time.utcoffset() for time in times} == {timedelta(0)}
