"""The errors that a caller or a user can act on, and the wording of errors of other libraries.

All are `MlcmrError`. The command line prints the message in one line and exits with status 2. The
subclasses say what a caller can do: correct a value, provide a file, restore a file, wait, install a
package, or free memory or disk space.

A message says what is wrong, where, and what to do. It names parameters in backticks (`` `batch_size` ``);
the command line shows the option of that parameter instead.
"""

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_LONGEST_REASON = 300
_LONGEST_MESSAGE = 2000


class MlcmrError(Exception):
    """An error that the caller can act on.

    The message is one line: line breaks become spaces. A message with a very long value loses its middle.

    Attributes:
        path: The file or folder at fault, if there is one.
        line: The number of the line in that file, from 1.
        parameter: The name of the parameter at fault.
    """

    def __init__(
        self,
        message: object = "",
        *,
        path: str | os.PathLike[str] | None = None,
        line: int | None = None,
        parameter: str | None = None,
    ) -> None:
        text = " ".join(filter(None, map(str.strip, str(message).splitlines())))
        if len(text) > _LONGEST_MESSAGE:
            text = f"{text[: _LONGEST_MESSAGE - _LONGEST_REASON - 3]} … {text[-_LONGEST_REASON:]}"
        super().__init__(text)
        self.path = None if path is None else os.fspath(path)
        self.line = line
        self.parameter = parameter


class InvalidValueError(MlcmrError, ValueError):
    """A parameter or a setting has a value that cannot be used."""


class NotFoundError(MlcmrError, FileNotFoundError):
    """A file, folder, video, language or model does not exist."""


class CorruptFileError(MlcmrError):
    """A file is damaged, has another format, or contradicts another file."""


class InUseError(MlcmrError):
    """Another process or thread uses the folder or the file."""


class MissingDependencyError(MlcmrError, ImportError):
    """A package is not installed; the message names the extra that installs it."""


class OutOfResourcesError(MlcmrError):
    """Memory, disk space or time ran out."""


def require_list(values: object, parameter: str) -> None:
    """Refuse a single value where a list is expected; a text is a sequence too, of its characters.

    Raises:
        InvalidValueError: If `values` is a text, a path, or no collection of values.
    """
    if isinstance(values, (str, bytes, os.PathLike)) or not isinstance(values, Iterable):
        value = os.fspath(values) if isinstance(values, os.PathLike) else values
        written = "" if value is None else f"{value!r:.80}"
        raise InvalidValueError(f"`{parameter}` must be a list: write [{written}]", parameter=parameter)


def is_out_of_space(error: BaseException) -> bool:
    """Return whether the disk is full, or the user's quota of the disk is used up."""
    full = {errno.ENOSPC, errno.EDQUOT}
    # `shutil.copytree` and libraries written in Rust give the number only in the text.
    numbers = re.findall(r"\[Errno (\d+)\]|\(os error (\d+)\)", str(error))
    return getattr(error, "errno", None) in full or any(int(a or b) in full for a, b in numbers)


def reason(error: BaseException) -> str:
    """Return the message of any exception in one line, or its class name if it has none.

    A long message is cut after a sentence, else after a word.
    """
    words = without_advice(" ".join(str(getattr(error, "strerror", None) or error).split()))
    if len(words) <= _LONGEST_REASON:
        return words or type(error).__name__
    cut = words[:_LONGEST_REASON]
    sentence, word = cut.rfind(". ", _LONGEST_REASON // 4) + 1, cut.rfind(" ")
    return f"{cut[: sentence or max(word, 0) or None]} …"


def without_advice(message: str) -> str:
    """Return a message without Python's advice for whole numbers of more than 4,300 digits."""
    return message.partition("; use sys.set_int_max_str_digits()")[0]


def unreadable(error: BaseException) -> str:
    """Return why a file cannot be read: `no such file`, or the reason."""
    missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
    return "no such file" if missing else f"cannot be read: {reason(error)}"


@contextmanager
def no_panic(failure: str) -> Iterator[None]:
    """Turn a panic of a library written in Rust into an error: a panic is no `Exception`.

    Args:
        failure: The beginning of the message, before the reason.

    Raises:
        CorruptFileError: If the library has panicked.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise CorruptFileError(f"{failure}: {reason(error)}") from error
