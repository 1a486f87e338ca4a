"""Settings that make no sense are refused."""

from dataclasses import asdict
from math import inf
from typing import NamedTuple

import numpy as np
import pytest
import torch

from mlcmr.errors import InvalidValueError
from mlcmr.losses.config import LossConfig
from mlcmr.model.config import ModelConfig, NewEncoder, TextConfig, VideoConfig
from mlcmr.reading import dump_yaml
from mlcmr.training.config import OptimizerConfig, TrainConfig
from mlcmr.training.recipes import read_recipe
from tests.helpers.tiny import tiny_config


@pytest.mark.parametrize("workers", [-1, 257, 100_000])
def test_more_workers_than_any_machine_bears_are_refused(root, tmp_path, workers):
    """Each is a process: a hundred thousand of them would fill the machine."""
    with pytest.raises(InvalidValueError, match=rf"workers is {workers}, but must be between 0 and 256"):
        tiny_config(root, tmp_path / "run", workers=workers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: TrainConfig(seed=-1), "seed is -1, but must be between 0 and"),
        (lambda: TrainConfig(seed=2**64), "seed is 18446744073709551616"),
        (lambda: TrainConfig(batch_size=0), "batch_size is 0, but must be at least 1"),
        (lambda: TrainConfig(epochs=0), "epochs is 0"),
        (lambda: TrainConfig(workers=-1), "workers is -1"),
        (lambda: TrainConfig(log_every=0), "log_every is 0"),
        (lambda: TrainConfig(checkpoint_minutes=-1), "checkpoint_minutes is -1"),
        (lambda: OptimizerConfig(learning_rate=float("nan")), "learning_rate is nan"),
        (lambda: OptimizerConfig(decay=-0.1), "decay is -0.1"),
        (lambda: LossConfig(temperature=0), "temperature is 0"),
        (lambda: ModelConfig(embedding_size=0), "embedding_size is 0"),
        (lambda: ModelConfig(dropout=1.5), "dropout is 1.5, but must be between 0 and 1"),
        (lambda: VideoConfig(windows=()), "windows is "),
        (lambda: VideoConfig(windows=(2, 0)), "windows is "),
        (lambda: VideoConfig(max_frames=0), "max_frames is 0"),
        (lambda: TextConfig(trained_layers=-1), "trained_layers is -1"),
        (
            lambda: TextConfig(new=NewEncoder(), trained_layers=2),
            r"whole: set `model\.text\.trained_layers` to all",
        ),
        (lambda: TextConfig(new=NewEncoder(heads=3), trained_layers="all"), "multiple of heads"),
        (lambda: TextConfig(new=NewEncoder(layers=0), trained_layers="all"), "layers is 0"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(InvalidValueError, match=message):
        settings()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: TrainConfig(epochs="many"), "epochs is 'many', but must be a whole number"),
        (lambda: TrainConfig(epochs=True), "epochs is true, but must be a whole number"),
        (lambda: TrainConfig(seed=1.5), "seed is 1.5, but must be a whole number"),
        (lambda: TrainConfig(languages="en"), "languages is 'en', but must be a list, each item a text"),
        (lambda: TrainConfig(languages=["en", None]), "languages is ['en', None], but must be a list"),
        (lambda: TrainConfig(scenario="other"), "but must be parallel or pseudo-parallel or unparallel"),
        (lambda: TrainConfig(devices="some"), "devices is 'some', but must be a whole number or auto"),
        (lambda: TrainConfig(model=None), "model is null, but must be settings"),
        (lambda: TrainConfig(loss={"margin": 1}), "loss is {'margin': 1}, but must be settings"),
        (lambda: TextConfig(new=NewEncoder), "but must be settings or null"),
        (lambda: TextConfig(lowercase="yes"), "lowercase is 'yes', but must be true or false or null"),
        (lambda: VideoConfig(windows=(1.5,)), "windows is (1.5,), but must be a list, each item a whole"),
        (lambda: VideoConfig(dropout=float("nan")), "dropout is nan, but must be a finite number"),
        (lambda: OptimizerConfig(clip=inf), "clip is inf, but must be a finite number"),
        (lambda: LossConfig(options={"max": inf}), "loss.options.max is inf, but must be a finite number"),
        (lambda: LossConfig(options={"max": [-inf]}), "loss.options.max is -inf, but must be a finite"),
        (lambda: TrainConfig(epochs=np.array([3, 4])), "epochs is array([3, 4]), but must be a whole number"),
        (lambda: TrainConfig(epochs=torch.tensor(3, device="meta")), "but must be a whole number"),
        (lambda: TrainConfig(epochs=np.float64(1.5)), "epochs is 1.5, but must be a whole number"),
    ],
)
def test_settings_of_another_type_are_refused_in_python_too(settings, message):
    with pytest.raises(InvalidValueError) as error:
        settings()
    assert message in str(error.value)


def test_numbers_and_paths_are_kept_as_a_file_holds_them(tmp_path):
    config = TrainConfig(
        rootpath=tmp_path,
        epochs=np.int64(3),
        seed=torch.tensor(4),
        checkpoint_minutes=np.float32(0.5),
        model=ModelConfig(
            text=TextConfig(lowercase=np.bool_(True)),
            video=VideoConfig(windows=(np.int8(2),), dropout=np.float16(0.5)),
        ),
    )
    (tmp_path / "config.yaml").write_text(dump_yaml(asdict(config)))
    assert read_recipe(tmp_path / "config.yaml", {}) == config
    kept = [config.epochs, config.seed, config.checkpoint_minutes, config.model.video.dropout]
    assert [(value, type(value)) for value in kept] == [(3, int), (4, int), (0.5, float), (0.5, float)]


def test_changes_may_hold_numbers_of_numpy(tmp_path):
    changes = {"seed": np.int64(3), "rootpath": tmp_path, "model": {"video": {"windows": Windows(2, 3)}}}
    config = read_recipe("sample/parallel", changes)
    assert (config.seed, config.rootpath, config.model.video.windows) == (3, str(tmp_path), (2, 3))


class Windows(NamedTuple):
    first: int
    second: int


def test_a_tuple_a_list_and_a_path_may_stand_for_each_other(tmp_path):
    config = TrainConfig(rootpath=tmp_path, languages=("en", "zh"))
    assert config.languages == ("en", "zh")
    assert VideoConfig(windows=[2, 3]).windows == [2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("loss: {temperature: 0}", "loss.temperature is 0.0, but must be at least 0.0001"),
        ("model: {video: {windows: []}}", "model.video.windows is [], but must be"),
        ("model: {text: {trained_layers: all, new: {heads: 3}}}", "model.text.new.hidden_size is 256, but"),
        ("model: {text: {trained_layers: all, new: {layers: ~}}}", "model.text.new.layers is null, but must"),
        ("optimizer: {clip: -1}", "optimizer.clip is -1.0, but must be at least 0"),
    ],
)
def test_an_impossible_setting_of_a_recipe_is_named_in_full(content, message, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    with pytest.raises(InvalidValueError) as error:
        read_recipe(recipe, {})
    assert message in str(error.value)
