"""Parts of mlcmr by name: built-in names, and `package.module:Name` for code of other packages.

Code runs only if this user has named it: in a command, in a recipe, in Python, or in the environment variable
`MLCMR_ALLOW_CODE`. Runs, models and indexes name code too, and may come from a stranger. Such a name is
imported only if the user has given the same name. The names that training, extraction and indexing got are
recorded (see `mlcmr.trust`), so that later commands open the results. On other machines, set the variable.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from mlcmr.errors import InvalidValueError, MissingDependencyError, reason
from mlcmr.trust import is_named_code

ALLOW_CODE = "MLCMR_ALLOW_CODE"
"""The environment variable that lists the code that files may name, separated by commas."""

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_named: set[str] = set()


def resolve(
    name: str, built_in: Mapping[str, Any], *, parameter: str, source: str | os.PathLike[str] | None
) -> Any:
    """Return the object that a name stands for.

    Example:
        >>> resolve("mean", {"mean": mean_pooling}, parameter="model.text.pooling", source=None)

    Args:
        name: A built-in name, or `package.module:Name`.
        built_in: The built-in objects by name.
        parameter: The parameter or setting that holds the name, for messages.
        source: The file that the name comes from; None if the user gave the name in a command, in a recipe or
            in Python. A file may repeat the names that the user gave in the same process, and the recorded
            names.

    Raises:
        InvalidValueError: If the name is unknown or cannot be imported, or if a file names code that the user
            has not named.
        MissingDependencyError: If the module is not installed.
    """
    if name in built_in:
        return built_in[name]
    if not is_code(name):
        close = get_close_matches(name, built_in)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        expected = f"{', '.join(built_in)} or package.module:Name"
        raise InvalidValueError(
            f"`{parameter}` is {name[:80]!r}, but must be {expected}{hint}", path=source, parameter=parameter
        )
    if source is None:
        _named.add(name)
    elif name not in _named and name not in _allowed() and not is_named_code(name):
        raise InvalidValueError(
            f"{os.fspath(source)}: `{parameter}` names code of another package, {name}, which runs only if "
            f"you name it too; if you trust this code, set the environment variable {ALLOW_CODE}={name}",
            path=source,
            parameter=parameter,
        )
    return _import(name, parameter)


def is_code(name: str) -> bool:
    """Return whether a name has the form `package.module:Name`."""
    return _PATH.fullmatch(name) is not None


def is_importable(name: str) -> bool:
    """Return whether any program can import a name: not a local class, and not one of the main program."""
    return is_code(name) and not name.startswith("__main__:")


def name_of(value: object) -> str:
    """Return the name of an object's class, or of a function, as `resolve` takes it."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"


def _allowed() -> set[str]:
    return {name.strip() for name in os.environ.get(ALLOW_CODE, "").split(",")}


def _import(name: str, parameter: str) -> Any:
    module, _, path = name.partition(":")
    try:
        value = import_module(module)
        for part in path.split("."):
            value = getattr(value, part)
    except Exception as error:  # the code of another package may raise anything
        missing = isinstance(error, ModuleNotFoundError) and module.startswith(str(error.name))
        hint = "; install the package, or put the folder that holds it on PYTHONPATH" if missing else ""
        kind = MissingDependencyError if missing else InvalidValueError
        raise kind(
            f"`{parameter}` is {name!r}, which cannot be imported: {reason(error)}{hint}", parameter=parameter
        ) from error
    return value
