"""Find videos with a sentence in any language.

Each command of `mlcmr` is a function of the same name:

>>> import mlcmr
>>> run = mlcmr.train("configs/sample/parallel.yaml", rootpath="demo")
>>> results = mlcmr.evaluate(run, targets=["zh"])
>>> mlcmr.index("~/Videos", model=run)
>>> hits = mlcmr.Searcher("index").search("a dog catches a frisbee")

The names are imported on first use, so that `import mlcmr` does not import torch.
"""

from typing import TYPE_CHECKING, Any

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr import losses as losses
    from mlcmr import metrics as metrics
    from mlcmr.data.check import check as check
    from mlcmr.data.prepare.preparation import prepare as prepare
    from mlcmr.errors import CorruptFileError as CorruptFileError
    from mlcmr.errors import InUseError as InUseError
    from mlcmr.errors import InvalidValueError as InvalidValueError
    from mlcmr.errors import MissingDependencyError as MissingDependencyError
    from mlcmr.errors import MlcmrError as MlcmrError
    from mlcmr.errors import NotFoundError as NotFoundError
    from mlcmr.errors import OutOfResourcesError as OutOfResourcesError
    from mlcmr.evaluation.paired_tests import compare as compare
    from mlcmr.evaluation.pipeline import evaluate as evaluate
    from mlcmr.extraction.extract_collection import extract as extract
    from mlcmr.model.mlcmr import MLCMR as MLCMR
    from mlcmr.model.two_tower import TwoTower as TwoTower
    from mlcmr.sample.make import make_sample as make_sample
    from mlcmr.search.filters import Filters as Filters
    from mlcmr.search.indexing.index import index as index
    from mlcmr.search.searcher import Searcher as Searcher
    from mlcmr.training.config import TrainConfig as TrainConfig
    from mlcmr.training.reproduction import reproduce as reproduce
    from mlcmr.training.run_training import train as train
    from mlcmr.training.seeds import train_seeds as train_seeds
    from mlcmr.translation.translate_collection import translate as translate

__version__: str

# Type checkers read the imports above and the literal `__all__`; a test compares them with this table.
_HOMES = {
    "CorruptFileError": "errors",
    "Filters": "search.filters",
    "InUseError": "errors",
    "InvalidValueError": "errors",
    "MLCMR": "model.mlcmr",
    "MissingDependencyError": "errors",
    "MlcmrError": "errors",
    "NotFoundError": "errors",
    "OutOfResourcesError": "errors",
    "Searcher": "search.searcher",
    "TrainConfig": "training.config",
    "TwoTower": "model.two_tower",
    "check": "data.check",
    "compare": "evaluation.paired_tests",
    "evaluate": "evaluation.pipeline",
    "extract": "extraction.extract_collection",
    "index": "search.indexing.index",
    "losses": "losses",
    "make_sample": "sample.make",
    "metrics": "metrics",
    "prepare": "data.prepare.preparation",
    "reproduce": "training.reproduction",
    "train": "training.run_training",
    "train_seeds": "training.seeds",
    "translate": "translation.translate_collection",
}
"""The module that defines each name; a module stands for itself."""

__all__ = [
    "MLCMR",
    "CorruptFileError",
    "Filters",
    "InUseError",
    "InvalidValueError",
    "MissingDependencyError",
    "MlcmrError",
    "NotFoundError",
    "OutOfResourcesError",
    "Searcher",
    "TrainConfig",
    "TwoTower",
    "__version__",
    "check",
    "compare",
    "evaluate",
    "extract",
    "index",
    "losses",
    "make_sample",
    "metrics",
    "prepare",
    "reproduce",
    "train",
    "train_seeds",
    "translate",
]


_load, __dir__ = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("mlcmr")
    return _load(name)
