"""JSON and YAML from disk, checked against types and bounds before anything uses it.

Files come from other machines, other versions and strangers. A kind, a dataclass or another type that
pydantic knows, says which fields a file has, of which type and within which bounds. Every fault is one line.
Memory and time grow with the size of the file: size, depth and aliases are bounded before objects are built.
"""

import json
import os
import re
import reprlib
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar, cast

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import FailFast, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import from_json

from mlcmr.core_yaml import parse_yaml, show
from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError, reason, unreadable

DOCUMENT_BYTES = 16 << 20  # settings, descriptions, results
LINE_BYTES = 256 << 20  # a record may hold a number for each frame of a long video
_FAULTS = 1000  # of more not even a list is made
_NUMBERS = re.compile(rb"\[[-+0-9.eE,\s]*\]")
_SUBJECT = re.compile(r"^\w+ should ")
_WORDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list, such as '[a, b]'",
    "tuple_type": "a list, such as '[a, b]'",
    "dict_type": "an object with names and values",
    "dataclass_type": "settings",
    "invalid-json-value": "plain data: numbers, texts, lists and mappings",
}
_WITHOUT_VALUE = {"missing": "is missing", "unexpected_keyword_argument": "is no setting"}

_T = TypeVar("_T")


class _FailFast(FailFast):
    __hash__ = object.__hash__  # kinds are keys of a cache


Count = Annotated[int, Ge(0), Lt(2**63)]
"""A whole number from 0 that 64 bits hold."""
Size = Annotated[int, Ge(1), Lt(2**31)]
"""A whole number from 1 that 31 bits hold."""
Rate = Annotated[float, Gt(0), Le(1e6)]
"""A number per second."""
Number = Annotated[float, Ge(-(2.0**63)), Lt(2.0**63)]
"""A number that is finite and not astronomic."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00]+\z")]
"""The name of something, or a path: not empty, without NUL."""
Text = Annotated[str, Len(0, 1 << 20)]
"""Any text of a reasonable length."""
Many = Annotated[tuple[_T, ...], _FailFast()]
"""Many values of one type. The first wrong one ends the check: all faults could fill the memory."""


def _raise(error: MlcmrError) -> None:
    raise error


def read_json(
    path: Path, kind: type[_T], hint: str, *, most: int = DOCUMENT_BYTES, missing: str | None = None
) -> _T:
    """Read a JSON file and check it.

    Args:
        path: The file.
        kind: What the file must hold.
        hint: What to do if the file cannot be used; the last words of the message.
        most: The largest size in bytes.
        missing: The message if there is no such file; by default the same as for other faults.

    Raises:
        NotFoundError: If the file is missing.
        CorruptFileError: If the file does not hold `kind`.
        MlcmrError: If the file cannot be read.
    """
    return parse_json(read_bytes(path, hint, most=most, missing=missing), kind, str(path), hint)


def read_json_lines(
    path: Path,
    kind: type[_T],
    hint: str,
    *,
    most: int = LINE_BYTES,
    missing: str | None = None,
    refuse: Callable[[MlcmrError], None] = _raise,
) -> Iterator[_T]:
    """Read a file with one JSON value a line and check each; one line at a time is in memory.

    Args:
        path: The file.
        kind: What each line must hold.
        hint: What to do if the file cannot be used; the last words of the message.
        most: The largest size of one line in bytes.
        missing: The message if there is no such file; by default the same as for other faults.
        refuse: Called with the fault of a line. If `refuse` does not raise, the line is left out.

    Raises:
        NotFoundError: If the file is missing.
        CorruptFileError: If a line does not hold `kind`.
        MlcmrError: If the file cannot be read.
    """
    with _open(path, hint, missing) as file:
        number = 0
        while line := _reading(path, hint, lambda: file.readline(most + 1)):
            number += 1
            try:
                if len(line) > most:
                    message = f"{path}:{number}: longer than {most:,} bytes; {hint}"
                    raise CorruptFileError(message, path=path, line=number)
                value = parse_json(line, kind, f"{path}:{number}", hint)
            except MlcmrError as error:
                refuse(error)
            else:
                yield value


def read_yaml(path: Path, kind: type[_T], hint: str, *, missing: str | None = None) -> _T:
    """Read a YAML file and check it.

    Args:
        path: The file.
        kind: What the file must hold; `dict[str, Any]` for any settings.
        hint: What to do if the file cannot be used; the last words of the message.
        missing: The message if there is no such file; by default the same as for other faults.

    Raises:
        NotFoundError: If the file is missing.
        CorruptFileError: If the file does not hold `kind`.
        MlcmrError: If the file cannot be read.
    """
    content = parse_yaml(read_bytes(path, hint, missing=missing), str(path), hint)
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CorruptFileError(f"{path}: not settings: {reason(error)}; {hint}", path=path) from error
    return parse_json(text.encode(), kind, str(path), hint)


def read_bytes(path: Path, hint: str, *, most: int = DOCUMENT_BYTES, missing: str | None = None) -> bytes:
    """Read a regular file that is not too large.

    Args:
        path: The file.
        hint: What to do if the file cannot be used; the last words of the message.
        most: The largest size in bytes.
        missing: The message if there is no such file; by default the same as for other faults.

    Raises:
        NotFoundError: If the file is missing.
        CorruptFileError: If the file is too large.
        MlcmrError: If the file cannot be read.
    """
    with _open(path, hint, missing) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise CorruptFileError(f"{path}: larger than {most:,} bytes; {hint}", path=path)
        return _reading(path, hint, file.read)


def parse_json(content: bytes, kind: type[_T], where: str, hint: str) -> _T:
    """Parse JSON and check it.

    Repeated names, NaN, lone surrogates, deep nesting and bytes that are not UTF-8 are refused.

    Args:
        content: UTF-8, perhaps with a byte order mark.
        kind: The type of the content.
        where: The file, perhaps with a line, for messages.
        hint: What to do about a fault; the last words of the message.

    Raises:
        CorruptFileError: If the content is not JSON or does not hold `kind`.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        value: _T = adapter(cast("Any", kind)).validate_json(content, strict=True)
        _require_unambiguous(content)
    except ValidationError as error:
        raise CorruptFileError(f"{where}: {describe_fault(error, content)[1]}; {hint}") from error
    except MlcmrError as error:  # of a dataclass that checks itself
        raise CorruptFileError(f"{where}: {error}; {hint}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise CorruptFileError(f"{where}: not JSON: {reason(error)}; {hint}") from error
    return value


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read its bytes, if it is a regular file.

    Raises:
        OSError: If it cannot be opened, or is a folder, a named pipe or a device.
    """
    # To open a named pipe would wait for its other end.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("not a regular file")
    return os.fdopen(handle, "rb")


def require_stored(path: Path) -> None:
    """Refuse a zip archive that could unpack to more bytes than it has.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is no zip archive, its members are compressed or encrypted, or share their bytes.
    """
    with open_regular(path) as file:
        try:
            members = zipfile.ZipFile(file).infolist()
        except zipfile.BadZipFile as error:
            raise ValueError("not a zip archive, or not whole") from error
        plain = all(one.compress_type == zipfile.ZIP_STORED and not one.flag_bits & 0x1 for one in members)
        if not plain or sum(one.file_size for one in members) > file.seek(0, os.SEEK_END):
            raise ValueError("its members are compressed, encrypted or overlap")


def check(value: object, kind: type[_T]) -> _T:
    """Check an object that a library has read.

    Raises:
        ValueError: If it is not `kind`; with one line that says where.
    """
    try:
        checked: _T = adapter(cast("Any", kind)).validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(describe_fault(error, value)[1]) from error
    return checked


def _open(path: Path, hint: str, missing: str | None) -> IO[bytes]:
    try:
        return _reading(path, hint, lambda: open_regular(path))
    except MlcmrError as error:
        if missing is not None and isinstance(error, NotFoundError):
            raise NotFoundError(missing, path=path) from error
        raise


def _reading(path: Path, hint: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{path}: {unreadable(error)}; {hint}", path=path) from error
    except (OSError, ValueError, MemoryError) as error:
        raise MlcmrError(f"{path}: {unreadable(error)}; {hint}", path=path) from error


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the validator of a type."""
    return TypeAdapter(kind)


def describe_fault(error: ValidationError, content: Any, name: str = "") -> tuple[str, str]:
    """Return the field of the first fault, and the fault in one line.

    Args:
        error: The error of pydantic.
        content: The content that was checked; JSON as bytes.
        name: The name of the content.
    """
    if error.error_count() > _FAULTS:
        return name, f"{name} wrong in {error.error_count():,} places".strip()
    first, *others = error.errors(include_url=False)
    if first["type"] == "json_invalid":
        # A value of one line may itself be a line of a file, whose number stands before the message.
        return name, f"not JSON: {first['ctx']['error'].replace(' at line 1 column ', ' at column ')}"
    if isinstance(content, bytes):
        content = from_json(content)
    place = _place(first["loc"], content)
    if first["type"] == "missing":
        place.append(first["loc"][-1])
    field = ".".join(map(str, [name, *place] if name else place))
    if first["type"] in _WITHOUT_VALUE:
        return field, f"{field} {_WITHOUT_VALUE[first['type']]}"
    # For a value that may have several types, pydantic has a fault for each type.
    faults = [first, *(other for other in others if _place(other["loc"], content) == place)]
    subject = f"{field or 'the content'} is {show(first['input'])}"
    wanted = " or ".join(dict.fromkeys(map(_wanted, faults)))
    if wanted == "a text" and isinstance(first["input"], int | float | None):
        wanted += "; put it in quotation marks"
    if wanted == first["msg"]:  # it begins with another word: `Value error`, or the type
        wanted = _SUBJECT.sub("it should ", wanted).replace(" after validation", "")
        return field, f"{subject}: {wanted.removeprefix('Value error, ')}"
    return field, f"{subject}, but must be {wanted}"


def _place(location: tuple[int | str, ...], content: Any) -> list[int | str]:
    """Return the keys of a location that lead to a value; between them, pydantic names types."""
    place = []
    for key in location:
        with suppress(LookupError, TypeError):
            content = content[key]
            place.append(key)
    return place


def _wanted(fault: Any) -> str:
    if fault["type"] == "literal_error":
        return str(fault["ctx"]["expected"]).replace("'", "")
    return _WORDS.get(fault["type"]) or str(fault["msg"]).removeprefix("Input should be ")


def _require_unambiguous(content: bytes) -> None:
    """Refuse JSON with NaN or with an object that has a name twice: readers differ in which value they take.

    Raises:
        ValueError: If the content has NaN, or an object with a repeated name.
    """
    # Long lists of numbers take most of the time, and hold no names.
    shorter = _NUMBERS.sub(b"[]", content)
    try:
        json.loads(shorter, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except ValueError:
        if shorter == content:
            raise
        json.loads(content, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{reprlib.repr(twice)} is there twice")
    return names


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
