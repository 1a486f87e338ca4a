"""A run, as functions take it: its folder, or the object that `mlcmr.train` returns."""

import os
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from mlcmr.paths import user_path


@runtime_checkable
class RunFolder(Protocol):
    """A run, as `mlcmr.train` returns it."""

    @property
    def folder(self) -> Path:
        """The run folder."""


PathOrRun: TypeAlias = str | os.PathLike[str] | RunFolder


def folder_of(run: object) -> Path | None:
    """Return the run folder, or None for a model."""
    if isinstance(run, (str, os.PathLike)):
        return user_path(run)
    return run.folder if isinstance(run, RunFolder) else None
