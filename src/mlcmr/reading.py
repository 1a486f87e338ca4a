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
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar, TypeVar, cast

import yaml
from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import FailFast, StringConstraints, TypeAdapter, ValidationError

from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError, reason, unreadable

DOCUMENT_BYTES = 16 << 20  # settings, descriptions, results
LINE_BYTES = 256 << 20  # a record may hold a number for each frame of a long video
_FAULTS = 1000  # of more not even a list is made
_YAML_DEPTH = 64
_YAML_NODES = 1_000_000
_NUMBERS = re.compile(rb"\[[-+0-9.eE,\s]*\]")
_SUBJECT = re.compile(r"^\w+ should ")
_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object with names and values",
}

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
        kind: What the file must hold.
        hint: What to do if the file cannot be used; the last words of the message.
        missing: The message if there is no such file; by default the same as for other faults.

    Raises:
        NotFoundError: If the file is missing.
        CorruptFileError: If the file does not hold `kind`.
        MlcmrError: If the file cannot be read.
    """
    return _check_yaml(parse_yaml(read_bytes(path, hint, missing=missing), str(path), hint), path, kind, hint)


def read_settings(path: Path, hint: str) -> dict[str, Any]:
    """Read a YAML file of settings, whose names and types `from_dict` or a parser of options will check.

    Args:
        path: The file.
        hint: What to do if the file cannot be used; the last words of the message.

    Raises:
        NotFoundError: If the file is missing.
        CorruptFileError: If the file does not hold settings by name.
        MlcmrError: If the file cannot be read.
    """
    content = parse_settings(read_bytes(path, hint), str(path), hint)
    return _check_yaml(content, path, dict[str, Any], hint)


def _check_yaml(content: Any, path: Path, kind: type[_T], hint: str) -> _T:
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
        value: _T = _adapter(cast("Any", kind)).validate_json(content, strict=True)
        _require_unambiguous(content)
    except ValidationError as error:
        raise CorruptFileError(f"{where}: {_fault(error)}; {hint}") from error
    except MlcmrError as error:  # of a dataclass that checks itself
        raise CorruptFileError(f"{where}: {error}; {hint}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise CorruptFileError(f"{where}: not JSON: {reason(error)}; {hint}") from error
    return value


def parse_yaml(content: str | bytes, where: str, hint: str) -> Any:
    """Parse YAML by the core schema of YAML 1.2: `no`, `on` and `12:30` are text, `1e-4` is a number.

    Args:
        content: UTF-8, perhaps with a byte order mark.
        where: The file, for messages.
        hint: What to do about a fault; the last words of the message.

    Raises:
        CorruptFileError: If the content is not YAML, a name occurs twice, or the content is too deep, or too
            large once its aliases are followed.
    """
    return _parse_yaml(content, where, hint, _Loader)


def parse_settings(content: str | bytes, where: str, hint: str) -> Any:
    """Parse YAML for a reader that knows the type of each value: `null`, `010` and `1e3` are text.

    `true` and `false` are no text; an empty value and `~` are None. Values below `options` are for code of
    the user's own, so that their types are not known: they are read as by `parse_yaml`. For the arguments and
    errors see there.
    """
    words = _parse_yaml(content, where, hint, _SettingsLoader)
    try:
        return _with_options(words, parse_yaml(content, where, hint))
    except ValueError as error:
        raise CorruptFileError(f"{where}: not YAML: two names are one number; {hint}") from error


def _with_options(words: Any, values: Any) -> Any:
    """Return settings with the values below `options` in place of their words."""
    if not isinstance(words, dict):
        return words
    # Both have the same keys in the same order, but not of the same types.
    pairs = zip(words.items(), values.values(), strict=True)
    return {
        name: value if "options" in str(name).split(".") else _with_options(word, value)
        for (name, word), value in pairs
    }


def _parse_yaml(content: str | bytes, where: str, hint: str, loader: type["_SettingsLoader"]) -> Any:
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        _require_sound(text)
        return yaml.load(text, Loader=loader)  # noqa: S506 – it derives from a safe loader
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        fault = f"{where}:{line}: not UTF-8: byte {error.object[error.start]:#04x}"
        raise CorruptFileError(f"{fault}; {hint}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_of = f":{mark.line + 1}" if mark else ""
        problem = error.problem or reason(error)
        raise CorruptFileError(f"{where}{line_of}: not YAML: {problem}; {hint}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise CorruptFileError(f"{where}: not YAML: {reason(error)}; {hint}") from error


def open_regular(path: Path) -> BufferedReader:
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
        checked: _T = _adapter(cast("Any", kind)).validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(_fault(error)) from error
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
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _fault(error: ValidationError) -> str:
    """Return the first fault as text."""
    if error.error_count() > _FAULTS:
        return f"wrong in {error.error_count():,} places"
    fault = error.errors(include_url=False)[0]
    if fault["type"] == "json_invalid":
        # A value of one line may itself be a line of a file, whose number stands before the message.
        return f"not JSON: {fault['ctx']['error'].replace(' at line 1 column ', ' at column ')}"
    # If a value may have several types, pydantic names the last type that it tried.
    field = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("constrained-"))
    if fault["type"] == "missing":
        return f"{field} is missing"
    subject = f"{field or 'the content'} is {show(fault['input'])}"
    wanted = _WORDS.get(fault["type"], fault["msg"].removeprefix("Input should be "))
    if wanted == fault["msg"]:  # it begins with another word: `Value error`, or the type
        wanted = _SUBJECT.sub("it should ", wanted).replace(" after validation", "")
        return f"{subject}: {wanted.removeprefix('Value error, ')}"
    return f"{subject}, but must be {wanted}"


def show(value: object) -> str:
    """Return a value for a message, as files write it: `null`, not `None`; a long one is shortened."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of too many digits"


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


class _SettingsLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that does not guess types: a value is text, true, false or nothing."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


class _Loader(_SettingsLoader):
    """A safe loader for the core schema of YAML 1.2."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


_RESOLVERS = (
    ("null", r"~|", ["~", ""]),
    ("merge", r"<<", "<"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"null|Null|NULL", "nN"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*\.[0-9_]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
)
for _loader, _resolvers in ((_SettingsLoader, _RESOLVERS[:3]), (_Loader, _RESOLVERS)):
    for _tag, _pattern, _first in _resolvers:
        _loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
        )


@dataclass(slots=True)
class _OpenNode:
    """A list or a mapping whose end the parser has not reached yet.

    Attributes:
        anchor: The name by which aliases refer to the node.
        names: The keys of a mapping that have been read; None for a list.
        before: The number of nodes before this node.
        awaits_name: Whether the next node is a key of this mapping.
    """

    anchor: str | None = None
    names: set[str] | None = None
    before: int = 0
    awaits_name: bool = True


def _require_sound(text: str) -> None:
    """Refuse YAML that is deep, that has a name twice, or that is large once its aliases are followed.

    Raises:
        yaml.YAMLError: If the text is not YAML, too deep or too large, or has a repeated name.
    """
    size_of: dict[str, int] = {}  # the number of nodes below each anchor
    around = [_OpenNode()]
    total = 0
    for event in yaml.parse(text, Loader=_Loader):
        inner = around[-1]
        if isinstance(event, yaml.CollectionEndEvent):
            around.pop()
            if inner.anchor is not None:
                size_of[inner.anchor] = total - inner.before
        elif isinstance(event, yaml.NodeEvent):
            fault = _name_fault(inner, event)
            if isinstance(event, yaml.AliasEvent):
                if any(outer.anchor == event.anchor for outer in around):
                    fault = "an alias lies inside the node that the alias refers to"
                total += size_of.get(str(event.anchor), 1)
            else:
                if isinstance(event, yaml.CollectionStartEvent):
                    names: set[str] | None = set() if isinstance(event, yaml.MappingStartEvent) else None
                    around.append(_OpenNode(event.anchor, names, total))
                total += 1
            if len(around) > _YAML_DEPTH or total > _YAML_NODES:
                fault = "too deep, or too large"
            if fault:
                raise yaml.MarkedYAMLError(problem=fault, problem_mark=cast("Any", event.start_mark))


def _name_fault(mapping: _OpenNode, event: yaml.NodeEvent) -> str | None:
    """Return the fault of a node that is a key of a mapping; None for a correct key and other nodes."""
    if mapping.names is None:
        return None
    mapping.awaits_name = not mapping.awaits_name
    if mapping.awaits_name:  # the node is a value, not a key
        return None
    if not isinstance(event, yaml.ScalarEvent):
        return "a name must be a text"
    if event.value in mapping.names:
        return f"{reprlib.repr(event.value)} is there twice"
    mapping.names.add(event.value)
    return None


def dump_yaml(content: Any) -> str:
    """Write YAML that `parse_yaml` and readers of YAML 1.1 read alike."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Puts a text into quotation marks if YAML 1.1 or 1.2 would read another type without them."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Represent a text. Rare line ends need double quotes: otherwise they are read as spaces."""
    rare = any(end in text for end in "\x85\u2028\u2029")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if rare else None)


_Dumper.add_representer(str, _represent_text)
for _first, _found in _Loader.yaml_implicit_resolvers.items():
    for _tag, _regexp in _found:
        _Dumper.add_implicit_resolver(_tag, _regexp, [_first])
