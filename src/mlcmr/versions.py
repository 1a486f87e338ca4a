"""The versions of the packages that results depend on."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("mlcmr", "torch", "transformers", "tokenizers", "lightning", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on, by name."""
    return {"python": platform.python_version(), **{package: _version(package) for package in _PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # for example a source folder on the path, never installed
        return "not installed"
