"""Settings from plain dictionaries (JSON, YAML) and from the command line, with names and types checked."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from mlcmr.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
# What jsonargparse and argparse say of a value of another type, of which people need four words.
_KEY = re.compile(r'Parser key "([^"]*)"|argument (-\S+): invalid ')
_WANTED = re.compile(r"Expected a (?:<class '(\w+)'>|typing\.Literal\[([^\]]*)\])|invalid (\w+) value")
_VALUE = re.compile(r"(?:Got value: |Given value: |invalid \w+ value: ')(.*?)(?='?$| - Expected a )")
_GROUP = re.compile(r"Parser key \"([^\"]*)\": Unable to load config '(.*?)' - ")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "tuple": "a list",
}


def from_dict(settings: type[Settings], content: dict[str, Any]) -> Settings:
    """Builds the dataclass `settings`, nested ones included, from `content`.

    Raises:
        UserError: an unknown name, or a value of another type.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(settings)
    try:
        return from_parsed(settings, parser, parser.parse_object(content))
    except ArgumentError as error:
        raise UserError(complaint(error)) from error


def complaint(error: ArgumentError) -> str:
    """What a parser has to say, in one line: `epochs is many, but must be a whole number`."""
    text = " ".join(str(error).split())
    if group := _GROUP.match(text):
        return f"{group[1]} is {group[2]}, but must be settings"
    keys = ["".join(found) for found in _KEY.findall(text)]
    wanted = [name for found in _WANTED.findall(text) for name in "".join(found).split(", ")]
    value = _VALUE.search(text)
    if not keys or not wanted or value is None:
        return text
    # None is worth a word only where jsonargparse has many of a dataclass.
    wanted = [name for name in wanted if name != "NoneType"] or ["settings", "null"]
    types = " or ".join(_WORDS.get(name, name.strip("'")) for name in dict.fromkeys(wanted))
    return f"{'.'.join(keys)} is {value[1]}, but must be {types}"


def _require_groups(settings: type["DataclassInstance"], parsed: Namespace, within: str = "") -> None:
    # In a recipe jsonargparse takes anything for settings that have settings of their own.
    types = get_type_hints(settings)
    for name in [field.name for field in fields(settings) if is_dataclass(types[field.name])]:
        if not isinstance(parsed[name], Namespace):
            raise UserError(f"{within}{name} is {parsed[name]}, but must be settings")
        _require_groups(types[name], parsed[name], f"{within}{name}.")


def require_within(settings: "DataclassInstance", limits: Mapping[str, tuple[float, float]]) -> None:
    """Checks that numbers lie within limits, both included; settings that are words pass.

    Args:
        settings: The dataclass.
        limits: The least and the most by field.

    Raises:
        UserError: one does not.
    """
    for name, (least, most) in limits.items():
        value = getattr(settings, name)
        if not isinstance(value, str) and not least <= value <= most:
            within = f"at least {least}" if most == float("inf") else f"between {least} and {most}"
            raise UserError(f"{name} is {value}, but must be {within}")


def from_parsed(settings: type[Settings], parser: ArgumentParser, parsed: Namespace) -> Settings:
    """Builds the dataclass `settings` from what a parser with its fields as arguments parsed."""
    _require_groups(settings, parsed)
    values = parser.instantiate(parsed)
    return settings(**{field.name: values[field.name] for field in fields(settings)})
