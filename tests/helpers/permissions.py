"""Files without permission: the tests may run as root, whom permissions do not stop."""

import os
from pathlib import Path

import pytest


def forbid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system refuse to open a file, or any file below a folder."""
    original = os.open

    def refuse(name, *arguments, **options):
        if isinstance(name, (str, os.PathLike)) and Path(name).is_relative_to(path):
            raise PermissionError(13, "Permission denied", str(name))
        return original(name, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
