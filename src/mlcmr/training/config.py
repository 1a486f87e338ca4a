"""The settings of a training run: one dataclass, one YAML file."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from mlcmr.data.config import DataConfig
from mlcmr.data.language_sampling import LanguageSampler
from mlcmr.data.scenarios import read_training_pairs, training_files
from mlcmr.errors import InvalidValueError
from mlcmr.losses.config import LossConfig
from mlcmr.model.config import ModelConfig
from mlcmr.settings import require_valid


@dataclass
class OptimizerConfig:
    """The optimizer and the schedule of its learning rate.

    Attributes:
        name: The optimizer, with the other defaults of torch.
        learning_rate: The learning rate of the first epoch.
        clip: The largest norm of the gradients; larger gradients are scaled down. 0 switches clipping off.
        decay: The factor of the learning rate after every epoch.
        halve_after: The number of epochs with one learning rate after which an epoch without improvement
            also halves the rate.
        patience: Training ends after more than this number of epochs in a row without a new best score.
        average: Validate and save a moving average of the weights with this decay per step, such as 0.999,
            instead of the weights. 0 switches it off.
    """

    name: Literal["adam", "rmsprop"] = "adam"
    learning_rate: float = 1e-4
    clip: float = 2.0
    decay: float = 0.99
    halve_after: int = 3
    patience: int = 10
    average: float = 0.0

    def __post_init__(self) -> None:
        names = ("learning_rate", "clip", "decay", "halve_after", "patience")
        require_valid(self, {**dict.fromkeys(names, (0, inf)), "average": (0, 0.999999)})


@dataclass(kw_only=True)
class TrainConfig(DataConfig):
    """A training run. The data settings are those of `DataConfig`.

    Attributes:
        run: The folder of the run. The same command again continues the run.
        model: The model.
        loss: The loss.
        optimizer: The optimizer and the schedule of its learning rate.
        epochs: The largest number of passes over the training captions.
        batch_size: The number of examples per step, over all processes.
        languages_per_step: The number of languages that each step draws, each language equally often, or
            `all`.
        seed: The seed of all random numbers, a whole number from 0. The same seed gives the same run.
        validation_metric: The metric that chooses the best checkpoint, added over both directions: `recall`
            (the sum of R@1, R@5 and R@10), `R@K` or `nDCG@K` with any K, `mAP`, `nDCG`, `MedR`, `MnR`, or
            your own as `package.module:Name`. MedR and others that are better if lower count negatively.
        workers: The number of extra processes that load batches. The results do not depend on it.
        precision: The precision of Lightning; `bf16` is `bf16-mixed`.
        accelerator: `auto`, `cpu` or `gpu`.
        devices: The number of devices, or `auto`: all GPUs or one CPU, or one for each process that torchrun
            or SLURM has started.
        checkpoint_minutes: The time between two saved states within an epoch; 0 saves after every step.
        log_every: The number of steps between two lines of `metrics.jsonl`.
        logger: A receiver of losses and scores besides `metrics.jsonl`: `tensorboard`, `wandb`, `mlflow`,
            `csv`, `none`, your own as `package.module:Name`, or a list of them.
    """

    run: str = "runs/mlcmr"
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    epochs: int = 50
    batch_size: int = 64
    languages_per_step: int | Literal["all"] = "all"
    seed: int = 0
    validation_metric: str = "recall"
    workers: int = 0
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "bf16"] = (
        "32-true"
    )
    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    checkpoint_minutes: float = 10.0
    log_every: int = 20
    logger: str | list[str] = "tensorboard"

    def __post_init__(self) -> None:
        require_valid(
            self,
            {
                "epochs": (1, inf),
                "batch_size": (1, inf),
                "languages_per_step": (1, inf),
                "seed": (0, 2**64 - 1),
                "workers": (0, 256),  # each is a process
                "checkpoint_minutes": (0, inf),
                "log_every": (1, inf),
            },
        )
        if self.optimizer.average and self.precision in ("bf16-true", "16-true"):
            raise InvalidValueError(
                f"`optimizer.average` needs more digits than `precision` {self.precision} keeps: set "
                "`precision` to bf16-mixed, or `optimizer.average` to 0",
                parameter="optimizer.average",
            )

    def language_sampler(self) -> LanguageSampler | None:
        """Return the sampler of the languages of each step; None for all languages.

        Raises:
            InvalidValueError: If there are too few languages, or if examples have one caption.
        """
        if self.languages_per_step == "all":
            return None
        if self.scenario == "unparallel":
            raise InvalidValueError(
                f"`languages_per_step` is {self.languages_per_step}, but an example of the unparallel "
                "scenario has one caption; set it to all",
                parameter="languages_per_step",
            )
        if self.languages_per_step > len(self.languages):
            raise InvalidValueError(
                f"`languages_per_step` is {self.languages_per_step}, but the languages are "
                f"{', '.join(self.languages)}; set it to all, or to a smaller number",
                parameter="languages_per_step",
            )
        return LanguageSampler(tuple(self.languages), self.languages_per_step, self.seed)

    def require_names(self) -> None:
        """Check the names in the settings, and that the training captions are there.

        Raises:
            NotFoundError: If the collection, the feature or a caption file does not exist.
            InvalidValueError: If the languages, the target and `languages_per_step` do not fit together.
        """
        super().require_names()
        self.language_sampler()
        collection, scenario = self.open_collection(), self.as_scenario()
        if not all(path.exists() for path in training_files(collection, scenario).values()):
            read_training_pairs(collection, scenario)  # says which file is missing
