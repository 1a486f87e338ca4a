"""All settings of a training run: one YAML file, one dataclass."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from mlcmr.config import require_within
from mlcmr.data.config import DataConfig
from mlcmr.model.config import LossConfig, ModelConfig


@dataclass
class OptimizerConfig:
    """The optimizer and its schedule.

    Attributes:
        name: Adam or RMSprop, both with the library's defaults.
        learning_rate: At the start.
        clip: Gradients are scaled down to this norm.
        decay: The learning rate is multiplied by this after every epoch.
        halve_after: When validation did not improve, the rate is also halved, provided that it has been
            used for this many epochs.
        patience: Training stops after more than this many epochs in a row without a new best.
    """

    name: Literal["adam", "rmsprop"] = "adam"
    learning_rate: float = 1e-4
    clip: float = 2.0
    decay: float = 0.99
    halve_after: int = 3
    patience: int = 10

    def __post_init__(self) -> None:
        names = ("learning_rate", "clip", "decay", "halve_after", "patience")
        require_within(self, dict.fromkeys(names, (0, inf)))


@dataclass(kw_only=True)
class TrainConfig(DataConfig):
    """A training run. The data settings are those of `DataConfig`.

    Attributes:
        run: The folder that the run writes; the same command again continues it.
        model: The model.
        loss: The losses.
        optimizer: The optimizer and its schedule.
        epochs: At most so many passes over the training captions.
        batch_size: Examples per step, over all processes.
        seed: Makes the run repeatable; a whole number from 0.
        validation_metric: What the best checkpoint is chosen by: recalls added up, or mAP.
        workers: Extra processes that load batches; the numbers do not depend on it.
        precision: Lightning's precision.
        accelerator: `auto`, `cpu`, `gpu`.
        devices: How many devices, or `auto`.
        checkpoint_minutes: How often the state of training is saved within an epoch; 0 after every step.
        log_every: Steps between two lines of `metrics.jsonl`.
    """

    run: str = "runs/mlcmr"
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    epochs: int = 50
    batch_size: int = 64
    seed: int = 0
    validation_metric: Literal["recall", "mAP"] = "recall"
    workers: int = 0
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"] = "32-true"
    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    checkpoint_minutes: float = 10.0
    log_every: int = 20

    def __post_init__(self) -> None:
        require_within(
            self,
            {
                "epochs": (1, inf),
                "batch_size": (1, inf),
                "seed": (0, 2**64 - 1),
                "workers": (0, inf),
                "checkpoint_minutes": (0, inf),
                "log_every": (1, inf),
            },
        )
