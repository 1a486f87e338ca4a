"""Settings: dataclasses whose values pydantic checks, from Python, files and the command line alike."""

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

from pydantic import BeforeValidator, GetCoreSchemaHandler, Strict, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_wrap_validator_function

from mlcmr.errors import InvalidValueError, MlcmrError
from mlcmr.reading import adapter, describe_fault

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
_INDEX = re.compile(r"\.\d+(?=\.|$)")
_CODE = {"class_path", "init_args"}  # jsonargparse imports and calls what they name


Flag = Annotated[bool, Strict()]
"""True or false."""
Location = Annotated[
    str, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path)
]
"""A path as text."""


@dataclass(frozen=True)
class Within:
    """The bounds of a number, for `Annotated`; both are included. True and false are no numbers."""

    least: float
    most: float = inf

    def __get_pydantic_core_schema__(self, kind: Any, schema_of: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_wrap_validator_function(self._check, schema_of(kind))

    def _check(self, value: object, convert: Callable[[object], float]) -> float:
        if isinstance(value, bool):  # pydantic takes it for 0 or 1
            raise PydanticCustomError("bool", "Input should be a number")
        number = convert(value)
        if not self.least <= number <= self.most:
            open_ended = self.most == inf
            bounds = f"at least {self.least}" if open_ended else f"between {self.least} and {self.most}"
            raise PydanticCustomError("bounds", "Input should be {bounds}", {"bounds": bounds})
        return number


def checked(settings: type[Settings]) -> type[Settings]:
    """Check the values of a dataclass when an object is made; unknown names are refused in files.

    The constructor raises `InvalidValueError` if a value has another type or lies outside its bounds.
    """
    construct: Callable[..., None] = settings.__init__
    signature = inspect.signature(construct)

    @wraps(construct)
    def check(self: Settings, *args: Any, **values: Any) -> None:
        content = signature.bind(self, *args, **values).arguments
        del content["self"]
        vars(self).update(vars(from_dict(settings, content)))

    types = get_type_hints(settings)  # without bounds
    shown = [one.replace(annotation=types.get(name, one.empty)) for name, one in signature.parameters.items()]
    check.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    settings.__init__ = check  # type: ignore[method-assign, assignment]
    settings.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return settings


def from_dict(settings: type[Settings], content: Mapping[str, Any]) -> Settings:
    """Build a dataclass, nested ones included, from a dictionary.

    Args:
        settings: The dataclass.
        content: The values by field.

    Raises:
        InvalidValueError: If a name is unknown, or a value has another type or lies outside its bounds.
    """
    built: Settings = require(settings, content)
    return built


def require(kind: Any, value: Any, name: str = "", *, strict: bool | None = None) -> Any:
    """Return a value, converted to a type.

    Args:
        kind: The type.
        value: The value.
        name: The name of the value, for messages.
        strict: Whether nothing is converted; by default, the type says so.

    Raises:
        InvalidValueError: If the value is not of the type.
    """
    try:
        return adapter(kind).validate_python(value, strict=strict)
    except ValidationError as error:
        cause = error.errors(include_url=False)[0].get("ctx", {}).get("error")
        if isinstance(cause, MlcmrError):  # of a dataclass that checks itself
            raise cause from error
        field, message = describe_fault(error, value, name)
        raise InvalidValueError(message, parameter=_INDEX.sub("", field)) from error


def require_data(content: object, within: str = "") -> None:
    """Check that no key at any depth names code.

    Args:
        content: Plain data.
        within: The name of the data and a dot, for messages.

    Raises:
        InvalidValueError: If a key is `class_path` or `init_args`.
    """
    if isinstance(content, list):
        for item in content:
            require_data(item, within)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            name = f"{within}{key}"
            if key in _CODE:
                message = f"{name} would name code, but settings hold only data; remove it"
                raise InvalidValueError(message, parameter=name)
            require_data(value, f"{name}.")
