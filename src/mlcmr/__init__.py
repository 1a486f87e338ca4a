"""mlcmr: find videos with a sentence in any language."""

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlcmr.model.mlcmr import MLCMR as MLCMR

__version__ = version("mlcmr")
__all__ = ["MLCMR", "__version__"]


def __getattr__(name: str) -> object:
    # `mlcmr --help` must not wait for torch: the model is imported when it is asked for.
    if name == "MLCMR":
        from mlcmr.model.mlcmr import MLCMR  # noqa: PLC0415

        return MLCMR
    raise AttributeError(f"module 'mlcmr' has no attribute {name!r}")
