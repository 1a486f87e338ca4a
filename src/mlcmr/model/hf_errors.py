"""Errors of the Hugging Face libraries in one line, and their progress bars on terminals only."""

import pickle
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import transformers
from transformers.utils import logging
from transformers.utils.import_utils import requires_backends

from mlcmr.errors import CorruptFileError, MissingDependencyError, MlcmrError, no_panic, reason

# The messages of the libraries about a package that is not installed.
_PACKAGE = re.compile(
    r"No module named '([\w-]+)|requires the (?:\W+ )?([\w-]+) library,? but|"
    r"Missing optional dependencies: ([\w-]+)"
)
_CLASSES = re.compile(r"image processor classes: (.*)\. None of these classes could be imported")
_CONFIG_CLASS = re.compile(r"Unrecognized configuration class <class '(?:\w+\.)*(\w+)'>")
# Messages of the libraries that name all that they know, or speak of their own programs, and their meaning.
_MEANINGS = [
    (
        re.compile(r"has model type `(.+?)` but Transformers does not recognize"),
        r"the installed transformers library does not know models of type '\1'",
    ),
    (
        re.compile(r"Can't load .* the correct path to a directory containing an? (\S+) file"),
        r"no \1 there",
    ),
    (
        re.compile(r"Unrecognized image processor"),
        "preprocessor_config.json names no image processor that the transformers library knows",
    ),
]


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
        if packages := _missing_packages(error):
            needed = f"package {packages[0]}, which is"
            if len(packages) > 1:
                needed = f"packages {' and '.join(packages)}, which are"
            raise MissingDependencyError(
                f"{subject}: needs the {needed} not installed: pip install {' '.join(packages)}, or choose "
                "another"
            ) from error
        raise CorruptFileError(
            f"{subject}: {_known_cause(error) or f'{failure}: {_meaning(error)}'}"
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


def _meaning(error: Exception) -> str:
    """Return the reason of a library's error in few words, where its message is known; else the message."""
    text = " ".join(str(error).split())
    if found := _CONFIG_CLASS.search(text):
        model_type = getattr(getattr(transformers, found[1], None), "model_type", found[1])
        return f"models of type '{model_type}' are not supported"
    known = (match.expand(meaning) for message, meaning in _MEANINGS if (match := message.search(text)))
    return next(known, reason(error))


def _missing_packages(error: Exception) -> list[str]:
    """Return the names of the packages that a library could not import; an empty list for other errors."""
    if not isinstance(error, ImportError | ValueError):
        return []
    text = str(error)
    if found := _CLASSES.search(text):
        require: Any = requires_backends  # its error names the packages of a class
        for name in re.findall(r"\w+(?=$|,)", found[1]):
            placeholder = getattr(transformers, name, None)
            try:
                require(placeholder, getattr(placeholder, "_backends", []))
            except ImportError as cause:
                text = str(cause)
    return sorted({"".join(groups).lower() for groups in _PACKAGE.findall(text)})
