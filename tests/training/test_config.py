"""Settings that make no sense are refused."""

import pytest

from mlcmr.errors import InvalidValueError
from mlcmr.losses.config import LossConfig
from mlcmr.model.config import ModelConfig, NewEncoder, TextConfig, VideoConfig
from mlcmr.training.config import OptimizerConfig, TrainConfig
from tests.helpers.tiny import (
    tiny_config,
)


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
