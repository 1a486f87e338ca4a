"""mlcmr: find videos with a sentence in any language."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlcmr.model.mlcmr import MLCMR as MLCMR

__version__: str
__all__ = ["MLCMR", "__version__"]


def __getattr__(name: str) -> object:
    # What takes time to import is imported when it is asked for: `mlcmr --help` must not wait for torch.
    if name == "MLCMR":
        from mlcmr.model.mlcmr import MLCMR  # noqa: PLC0415

        return MLCMR
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("mlcmr")
    raise AttributeError(f"module 'mlcmr' has no attribute {name!r}")
