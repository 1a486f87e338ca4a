"""Errors of the Hugging Face libraries in one line, and their progress bars on terminals only."""

import pickle
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging

from mlcmr.errors import CorruptFileError, MissingDependencyError, MlcmrError, no_panic, reason

# The messages of the libraries about a package that is not installed.
_PACKAGE = re.compile(
    r"No module named '([\w-]+)|requires the (?:\W+ )?([\w-]+) library,? but|"
    r"Missing optional dependencies: ([\w-]+)"
)


class ForeignModelError(CorruptFileError):
    """Files of a model cannot be used, or do not belong together."""


class OwnCodeError(Exception):
    """A model can only be opened by Python code of its own; `opening` reports it like the library's error."""


@contextmanager
def opening(subject: str, failure: str, *, quiet: bool = False) -> Iterator[None]:
    """Report in one line why a model cannot be opened.

    Args:
        subject: The model, such as `model 'name'`.
        failure: What a library's error means, which the message names before the reason.
        quiet: Whether the library's warnings about missing or unused weights are hidden, because the caller
            checks the weights.

    Raises:
        MissingDependencyError: If the model needs a package that is not installed.
        CorruptFileError: If the model cannot be opened for another reason.
    """
    log: Any = logging
    verbosity, shows_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    if quiet:
        log.set_verbosity_error()
    if not sys.stderr.isatty():
        log.disable_progress_bar()
    try:
        with no_panic(f"{subject}: {failure}"):
            yield
    except ForeignModelError as error:
        raise CorruptFileError(f"{subject}: {failure}: {error}", path=error.path) from error
    except MlcmrError:
        raise
    except Exception as error:  # a damaged or foreign file makes the libraries raise nearly anything
        if package := _missing_package(error):
            raise MissingDependencyError(
                f"{subject}: needs the package {package}, which is not installed: pip install {package}, or "
                "choose another"
            ) from error
        raise CorruptFileError(
            f"{subject}: {_known_cause(error) or f'{failure}: {reason(error)}'}"
        ) from error
    finally:
        log.set_verbosity(verbosity)
        if shows_bars:
            log.enable_progress_bar()


def _known_cause(error: Exception) -> str | None:
    """Return the message for a failure that is not about damaged files; None for other failures."""
    text = str(error)
    if isinstance(error, OwnCodeError) or "trust_remote_code" in text:
        return (
            "asks to run Python code of its own (auto_map), which mlcmr never does; choose a model that the "
            "transformers library can open without such code"
        )
    if isinstance(error, pickle.UnpicklingError):
        return (
            "its pickled weights are damaged, or hold more than tensors, which could run code; take it "
            "as model.safetensors, or choose another"
        )
    return None


def _missing_package(error: Exception) -> str | None:
    """Return the name of the package that a library could not import; None for other errors."""
    found = _PACKAGE.search(str(error)) if isinstance(error, ImportError | ValueError) else None
    return next(filter(None, found.groups())).lower() if found else None
