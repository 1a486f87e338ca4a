"""Paths as users give them: on the command line, in recipes and from Python."""

import os
import pwd
from pathlib import Path

from mlcmr.errors import InvalidValueError

AnyPath = str | os.PathLike[str]
"""A path as users give it: `user_path` opens `~`."""


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a path that a user gave, with `~` and `~name` replaced by the home folder they stand for.

    As in a shell, `~name` stands for itself where no user has this name: a file may be called `~tmp.mp4`.
    The result can be given to this function again.

    Raises:
        InvalidValueError: If the path begins with `~` and there is no home folder, or contains a NUL.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise InvalidValueError(f"{text!r}: a path cannot contain a NUL character")
    first, slash, rest = text.partition("/")
    if not first.startswith("~"):
        plain = Path(text)
        # pathlib drops the `./` of `./~`, which would then be taken for the home folder.
        return Path.cwd() / plain if str(plain).startswith("~") else plain
    home = _home(first[1:])
    if home is not None:
        return home / rest if slash else home
    if first == "~":
        raise InvalidValueError(f"{text}: there is no home folder, HOME is not set; write the whole path")
    return Path(text)


def _home(user: str) -> Path | None:
    """Return the home folder of a user, or of this process where no name is given."""
    if not user and (home := os.environ.get("HOME")):
        return Path(home)
    try:
        return Path((pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_dir)
    except (KeyError, UnicodeError):
        return None


def folder_or_id(name: str | os.PathLike[str]) -> str:
    """Return the absolute path of a model's folder, or the hub id as it is."""
    folder = user_path(name)
    return str(folder.resolve()) if os.path.isdir(folder) else os.fspath(name)
