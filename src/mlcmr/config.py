"""Settings from plain dictionaries (JSON, YAML) and from the command line, with names and types checked."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from mlcmr.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


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
        raise UserError(" ".join(str(error).split())) from error


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
    values = parser.instantiate(parsed)
    return settings(**{field.name: values[field.name] for field in fields(settings)})
