"""Settings from JSON, YAML and the command line, with names, types and ranges checked in the same way."""

import json
import os
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from math import inf, isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_dumper, set_loader

from mlcmr.errors import CorruptFileError, InvalidValueError, without_advice
from mlcmr.reading import check, dump_yaml, parse_json, parse_settings, parse_yaml, show

if TYPE_CHECKING:
    from _typeshed import DataclassInstance, SupportsWrite

Settings = TypeVar("Settings", bound="DataclassInstance")
_NULL = {"null", "Null", "NULL"}
_CODE = {"class_path", "init_args"}  # jsonargparse imports and calls what they name
# The parts of jsonargparse's and argparse's messages about a value of another type.
_KEY = re.compile(r'Parser key "([^"]*)"|argument (-[^\s/]+)\S*: invalid ')
_WANTED = re.compile(r"Expected a (?:<class '(\w+)'>|typing\.Literal\[([^\]]*)\])|invalid (\w+) value")
_VALUE = re.compile(r"(?:Got value: |Given value: |invalid \w+ value: ')(.*?)(?='?$| - Expected a )")
_GROUP = re.compile(r"Parser key \"([^\"]*)\": Unable to load config '(.*?)' - ")
_NO_LIST = re.compile(r"Parser key \"([^\"]*)\": 'str' object does not support item assignment")
_NO_NUMBER = re.compile(
    r"Parser key \"([^\"]*)\": (?:invalid literal for (int)\(\) with base 10|could not convert.*float): (.*)"
)
_NAMES_CODE = " would name code, but settings hold only data; remove it"
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "tuple": "a list",
    "list": "a list, such as '[en, zh]'",
    "dict": "a mapping, such as '{size: 3}'",
}


class SettingsParser(ArgumentParser):
    """A parser whose settings are YAML as `parse_settings` reads it: `no`, `on` and `12:30` are text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"parser_mode": _MODE, **options})
        self.register("type", "mapping", _read_untyped)

    def add_class_arguments(self, *args: Any, **options: Any) -> Any:
        """Add the fields of a dataclass as options; no value can name another class."""
        added = super().add_class_arguments(*args, **options)
        for action in self._actions:
            if hasattr(action, "basetype"):
                action.basetype = None  # with it, jsonargparse imports a text to see whether it is a class
            if getattr(action, "_typehint", None) == dict[str, Any]:
                # With `Any`, jsonargparse reads each text as YAML, also `"1"`.
                vars(action).update(_typehint=dict, type="mapping")
        return added

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        if message:  # argparse itself hides that the help cannot be written
            (file or sys.stderr).write(message)


def _read_untyped(text: str) -> Any:
    """Read a value of the command line that belongs to settings without known types.

    Raises:
        ArgumentTypeError: If it is not YAML.
    """
    try:
        return parse_yaml(text, "the value", "write YAML")
    except CorruptFileError as error:
        raise ArgumentTypeError(str(error)) from error


def _load(text: str) -> Any:
    """Read a value of the command line or a recipe; `key:` and `{a, b}` are text, as in jsonargparse."""
    if not text.strip():
        return text
    value = parse_settings(text, "settings", "write a YAML value")
    if isinstance(value, str):
        value = parse_yaml(text, "settings", "write a YAML value")
    require_data(value)
    if isinstance(value, dict) and value and all(item is None for item in value.values()):
        names = text.strip(" {}:").replace(" ", "").split(",")
        return text if set(names) == value.keys() else value
    return value


_MODE = "core-yaml"
set_loader(_MODE, _load, exceptions=(CorruptFileError,))
set_dumper(_MODE, dump_yaml)


def require_data(content: object, within: str = "") -> None:
    """Check that no key at any depth names code.

    Args:
        content: Settings, before jsonargparse reads them.
        within: The name of the settings and a dot, for messages.

    Raises:
        InvalidValueError: If a key is `class_path` or `init_args`, or a dotted key holds one of them.
    """
    if isinstance(content, list | tuple):
        for item in content:
            require_data(item, within)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            name = f"{within}{key}"
            if not _CODE.isdisjoint(str(key).replace("+", "").split(".")):
                raise InvalidValueError(f"{name}{_NAMES_CODE}", parameter=name)
            require_data(value, f"{name}.")


def require_plain(content: object, name: str) -> None:
    """Check that a setting holds only numbers, texts, true, false, null, lists and mappings.

    Raises:
        InvalidValueError: If it holds another object, or a key that names code.
    """
    require_data(content, f"{name}.")
    if isinstance(content, Mapping):
        for key, value in content.items():
            require_plain(value, f"{name}.{key}")
    elif isinstance(content, list | tuple):
        for item in content:
            require_plain(item, name)
    elif isinstance(content, float) and not isfinite(content):
        raise InvalidValueError(f"{name} is {content}, but must be a finite number", parameter=name)
    elif not isinstance(content, str | int | float | NoneType):
        message = f"{name} is {content!r}, but must be plain data: numbers, texts, lists and mappings"
        raise InvalidValueError(message, parameter=name)


def from_dict(settings: type[Settings], content: dict[str, Any]) -> Settings:
    """Build a dataclass, nested ones included, from a dictionary.

    Args:
        settings: The dataclass.
        content: The values by field.

    Raises:
        InvalidValueError: If a name is unknown, a value has another type, or a key names code.
    """
    require_data(content)
    _require_settings(settings, content)
    parser = SettingsParser(exit_on_error=False)
    parser.add_class_arguments(settings)
    try:
        return from_parsed(settings, parser.parse_object(content))
    except ArgumentError as error:
        raise InvalidValueError(describe_error(error)) from error


def describe_error(error: ArgumentError) -> str:
    """Return a parser's error in one line: `epochs is many, but must be a whole number`."""
    text = " ".join(str(error).split())
    before, found, _ = text.partition(_NAMES_CODE)
    if found:
        return before.rpartition(" ")[2] + found
    if group := _GROUP.match(text):
        return f"{group[1]} is {group[2]}, but must be settings"
    if single := _NO_LIST.match(text):
        return f"{single[1]} is a single value, but must be a list, such as '[a, b]'"
    if item := _NO_NUMBER.match(text):
        return f"{item[1]} holds {item[3]}, but must hold {'whole ' if item[2] else ''}numbers"
    keys = ["".join(found) for found in _KEY.findall(text)]
    wanted = [name for found in _WANTED.findall(text) for name in "".join(found).split(", ")]
    value = _VALUE.search(text)
    if not keys or not wanted or value is None:
        return without_advice(text.removeprefix("Parser key "))
    # None is named only if nothing else is: for an optional dataclass.
    wanted = [name for name in wanted if name != "NoneType"] or ["settings", "null"]
    types = " or ".join(_WORDS.get(name, name.strip("'")) for name in dict.fromkeys(wanted))
    quoted = "; put it in quotation marks" if wanted == ["str"] else ""
    said = {"None": "null", "True": "true", "False": "false"}.get(value[1], value[1])
    return f"{'.'.join(keys)} is {said}, but must be {types}{quoted}"


def _find_dataclass(kind: Any) -> "type[DataclassInstance] | None":
    """Return the dataclass in a type, as in `NewEncoder | None`."""
    return next(
        (each for each in get_args(kind) or (kind,) if isinstance(each, type) and is_dataclass(each)), None
    )


def _require_settings(
    settings: type["DataclassInstance"], content: Mapping[str, Any], within: str = ""
) -> None:
    # Where a dataclass is expected, jsonargparse takes a text for a file or the name of a class.
    types = get_type_hints(settings)
    for key, value in content.items():
        name, _, rest = str(key).partition(".")
        name = name.removesuffix("+")
        if inner := _find_dataclass(types.get(name)):
            held = {rest: value} if rest else value
            if isinstance(held, Mapping):
                _require_settings(inner, held, f"{within}{name}.")
            elif isinstance(held, str) and not (held in _NULL and NoneType in get_args(types[name])):
                message = f"{within}{name} is {held}, but must be settings"
                raise InvalidValueError(message, parameter=f"{within}{name}")


def require_type(value: object, kind: Any, name: str) -> None:
    """Check the type of a value, as a file would hold it: a tuple is a list, and a path is text.

    Args:
        value: The value.
        kind: The type.
        name: The name of the value, for the message.

    Raises:
        InvalidValueError: If the value has another type.
    """
    try:
        if _find_dataclass(kind):  # an object of it has checked itself
            check(value, kind)
        else:
            text = json.dumps(as_data(value), ensure_ascii=False)
            parse_json(text.encode(errors="replace"), kind, name, "")  # names of files need not be UTF-8
    except (CorruptFileError, TypeError, ValueError) as error:
        # Infinity cannot be kept: the files of a run hold finite numbers only.
        finite = not isinstance(value, float) or isfinite(value)
        wanted = describe_type(kind) if finite else "a finite number"
        raise InvalidValueError(f"{name} is {show(value)}, but must be {wanted}", parameter=name) from error


def as_data(value: Any) -> Any:
    """Return a value with numbers and texts in place of numbers of NumPy or PyTorch and of paths."""
    if isinstance(value, list | tuple):
        items = map(as_data, value)
        return list(items) if isinstance(value, list) else tuple(items)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        with suppress(RuntimeError):  # a tensor without content
            return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def describe_type(kind: Any) -> str:
    """Return the name of a type in messages: `a whole number or auto`."""
    if _find_dataclass(kind):
        return "settings or null" if NoneType in get_args(kind) else "settings"
    if get_origin(kind) in (list, tuple):
        return f"a list, each item {describe_type(get_args(kind)[0])}"
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_args(kind) and get_origin(kind) is not dict:
        return " or ".join(dict.fromkeys(describe_type(part) for part in get_args(kind)))
    return _WORDS.get(getattr(kind, "__name__", ""), "null" if kind is NoneType else "an object")


def require_valid(settings: "DataclassInstance", limits: Mapping[str, tuple[float, float]]) -> None:
    """Check the types of all fields, and that numbers lie within limits, both included.

    Numbers of NumPy and PyTorch become those of Python, and paths become texts, as a file would hold them.

    Args:
        settings: The dataclass.
        limits: The minimum and the maximum by field; a text passes.

    Raises:
        InvalidValueError: If a value has another type or lies outside its limits.
    """
    types = get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):
        value = as_data(getattr(settings, field.name))
        require_type(value, types[field.name], field.name)
        object.__setattr__(settings, field.name, value)
    for name, (least, most) in limits.items():
        value = getattr(settings, name)
        if not isinstance(value, str) and not least <= value <= most:
            within = f"at least {least}" if most == inf else f"between {least} and {most}"
            raise InvalidValueError(f"{name} is {show(value)}, but must be {within}", parameter=name)


def from_parsed(settings: type[Settings], parsed: Namespace, within: str = "") -> Settings:
    """Build a dataclass, nested ones included, from the values of a parser that has its fields as arguments.

    Args:
        settings: The dataclass.
        parsed: The values.
        within: The name of the settings and a dot, for messages.

    Raises:
        InvalidValueError: If a value has another type or lies outside its limits.
    """
    types = get_type_hints(settings)
    values = {field.name: parsed[field.name] for field in fields(settings)}
    for name, value in values.items():
        inner = _find_dataclass(types[name])
        if inner and isinstance(value, Namespace):
            values[name] = from_parsed(inner, value, f"{within}{name}.")
    try:
        return settings(**values)
    except InvalidValueError as error:
        if error.parameter not in values:
            raise
        raise InvalidValueError(f"{within}{error}", parameter=f"{within}{error.parameter}") from error
