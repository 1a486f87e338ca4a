"""Training: the function `train`, its settings, and the run folder that it writes."""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.training.config import OptimizerConfig as OptimizerConfig
    from mlcmr.training.config import TrainConfig as TrainConfig
    from mlcmr.training.reproduction import Reproduction as Reproduction
    from mlcmr.training.reproduction import reproduce as reproduce
    from mlcmr.training.run_folder import Run as Run
    from mlcmr.training.run_training import train as train
    from mlcmr.training.seeds import SeedRuns as SeedRuns
    from mlcmr.training.seeds import train_seeds as train_seeds

__all__ = [
    "OptimizerConfig",
    "Reproduction",
    "Run",
    "SeedRuns",
    "TrainConfig",
    "reproduce",
    "train",
    "train_seeds",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "OptimizerConfig": "config",
        "Reproduction": "reproduction",
        "Run": "run_folder",
        "SeedRuns": "seeds",
        "TrainConfig": "config",
        "reproduce": "reproduction",
        "train": "run_training",
        "train_seeds": "seeds",
    },
)
