"""The parser of the command line. It makes options and merges files with them; pydantic checks the values."""

import sys
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import reduce
from operator import or_
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import docstring_parser
from jsonargparse import ArgumentParser, Namespace, set_dumper, set_loader
from jsonargparse._actions import _ActionConfigLoad

from mlcmr.core_yaml import dump_yaml, parse_yaml, show
from mlcmr.errors import CorruptFileError, InvalidValueError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance, SupportsWrite

Settings = TypeVar("Settings", bound="DataclassInstance")


def _load(text: str) -> Any:
    """Read a value of the command line or a file; `key:` and `{a, b}` are text, as in jsonargparse."""
    if not text.strip():
        return text
    value = parse_yaml(text, "settings", "write a YAML value")
    if isinstance(value, dict) and value and all(item is None for item in value.values()):
        names = text.strip(" {}:").replace(" ", "").split(",")
        return text if set(names) == value.keys() else value
    return value


_MODE = "core-yaml"
set_loader(_MODE, _load, exceptions=(CorruptFileError,))
set_dumper(_MODE, dump_yaml)


def load(value: Any) -> Any:
    """Return the YAML value of a text; a text that is not YAML, and other values, stay as they are."""
    with suppress(CorruptFileError):
        return _load(value) if isinstance(value, str) else value
    return value


class SettingsParser(ArgumentParser):
    """A parser whose settings are YAML as `parse_yaml` reads it: `no`, `on` and `12:30` are text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"parser_mode": _MODE, **options})

    def add_settings(self, settings: "type[DataclassInstance]", prefix: str = "") -> None:
        """Add the fields of a dataclass as options, those of nested ones with dots.

        Args:
            settings: The dataclass.
            prefix: The name of the dataclass in another, and a dot.
        """
        types = get_type_hints(settings, include_extras=True)
        docs = [docstring_parser.parse(base.__doc__ or "") for base in reversed(settings.__mro__)]
        texts = {entry.arg_name: entry.description for doc in docs for entry in doc.params}
        group = self.add_argument_group(
            str(docs[-1].short_description).removesuffix("."), name=prefix or None
        )
        if prefix:
            group.add_argument(f"--{prefix[:-1]}", action=_Group)
        for field in fields(settings):
            kind, name = types[field.name], f"{prefix}{field.name}"
            if isinstance(kind, type) and is_dataclass(kind):
                self.add_settings(kind, f"{name}.")
            else:
                text = " ".join((texts[field.name] or "").split()).replace("%", "%%")
                default = field.default if field.default_factory is MISSING else field.default_factory()
                option = group.add_argument(f"--{name}", type=plain(kind), default=default, help=text)
                word_refusals(option, kind)

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        if message:  # argparse itself hides that the help cannot be written
            (file or sys.stderr).write(message)


class _Group(_ActionConfigLoad):
    """Takes settings as YAML or as the name of a file."""

    def _load_config(self, value: Any, parser: ArgumentParser) -> Any:
        try:
            return super()._load_config(value, parser)  # type: ignore[no-untyped-call]
        except TypeError as error:
            message = f"{self.dest} is {show(value)}, but must be settings"
            raise InvalidValueError(message, parameter=self.dest) from error


def word_refusals(option: Any, kind: Any, *, strict: bool | None = None) -> None:
    """Let pydantic say why an option refuses a value.

    Args:
        option: The option.
        kind: The type of its values.
        strict: Whether pydantic converts nothing; by default, the type says so.
    """
    check = option._check_type

    def convert(value: Any, **options: Any) -> Any:
        try:
            return check(value, **options)
        except TypeError:
            from mlcmr.settings import require

            return require(kind, load(value), option.dest, strict=strict)

    option._check_type = convert


def plain(kind: Any) -> Any:
    """Return a type as jsonargparse and readers know it: without bounds, a dataclass as a dictionary."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return dict
    if origin is Annotated:
        return plain(inner[0])
    if origin in (Union, UnionType):
        return reduce(or_, map(plain, inner))
    if origin in (list, tuple):
        return origin[tuple(map(plain, inner))]
    return kind if origin is Literal or kind is ... else origin or kind


def build(settings: type[Settings], parsed: Namespace) -> Settings:
    """Build a dataclass from the values of a parser that has its fields as options.

    Raises:
        InvalidValueError: If the values do not fit together.
    """
    from mlcmr.settings import from_dict

    values = parsed.clone(with_meta=False).as_dict()
    return from_dict(settings, {field.name: values[field.name] for field in fields(settings)})
