"""Types of arguments: public functions refuse plain data of another type before they do anything."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from inspect import signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from mlcmr.errors import InvalidValueError, require_list
from mlcmr.reading import show
from mlcmr.settings import as_data, describe_type

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_PATHS = (Path, os.PathLike)
_LISTS = (Sequence, Iterable, Collection, list)
_DATA = (str, bytes, int, float, complex, NoneType, list, tuple, dict)


def check_arguments(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Check the plain data among the arguments of a function by its annotations, before the call.

    Plain data are texts, numbers, None, and lists and mappings. Objects of other types pass: the function
    knows what it needs of them. Numbers of NumPy and PyTorch become those of Python, and a path becomes a
    text if the function takes no paths. The function checks ranges itself.

    Args:
        function: The function or the method.

    Returns:
        The function, which raises `InvalidValueError` if an argument has another type.
    """
    parameters = signature(function)

    @wraps(function)
    def checked(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        try:
            given = parameters.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own error names the function
        for name, kind in _types(function).items():
            if name in given.arguments:
                given.arguments[name] = _checked(given.arguments[name], kind, name)
        return function(*given.args, **given.kwargs)

    return checked


@cache  # at the first call, not when modules are imported
def _types(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: kind for name, kind in get_type_hints(function).items() if kind is not Any}


def _checked(value: Any, kind: Any, name: str) -> Any:
    """Return an argument as the function takes it.

    Raises:
        InvalidValueError: If it is plain data of another type.
    """
    kinds = _parts(kind)
    if getattr(value, "shape", None) == ():
        value = as_data(value)
    if isinstance(value, os.PathLike) and str in kinds and not any(map(_is_path, kinds)):
        value = os.fspath(value)
    if not isinstance(value, (*_DATA, os.PathLike)):
        return value
    if value is not None and all(part is NoneType or get_origin(part) in _LISTS for part in kinds):
        require_list(value, name)
    if isinstance(value, _DATA) and not any(_fits(value, part) for part in kinds):
        message = f"{name} is {show(value)}, but must be {_describe_any(kinds)}"
        raise InvalidValueError(message, parameter=name)
    return value


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_path(kind: Any) -> bool:
    return (get_origin(kind) or kind) in _PATHS


def _is_single(kind: Any) -> bool:
    """Return whether a type is one of texts, paths, numbers or None."""
    return _is_path(kind) or get_origin(kind) is Literal or kind in (str, int, float, bool, NoneType)


def _fits(value: Any, kind: Any) -> bool:
    """Return whether plain data are of a type, which is no union."""
    origin = str if _is_path(kind) else get_origin(kind) or kind
    if origin in _LISTS:
        return isinstance(value, (list, tuple, dict)) and _items_fit(value, _parts(get_args(kind)[0]))
    if origin is Literal:
        return any(value == known and type(value) is type(known) for known in get_args(kind))
    if origin is Mapping:
        return isinstance(value, dict)
    if origin in (int, float):
        return isinstance(value, (int, origin)) and not isinstance(value, bool)
    return isinstance(origin, type) and not getattr(kind, "_is_protocol", False) and isinstance(value, origin)


def _items_fit(values: Iterable[Any], kinds: Sequence[Any]) -> bool:
    if not all(map(_is_single, kinds)):  # the function knows what it needs of them
        return True
    items = (item for item in map(as_data, values) if isinstance(item, _DATA))
    return all(any(_fits(item, kind) for kind in kinds) for item in items)


def _describe(kind: Any) -> str:
    origin = get_origin(kind) or kind
    if origin in _LISTS:
        return f"a list, each item {_describe_any(_parts(get_args(kind)[0]))}"
    if origin is Mapping:
        return "a mapping"
    if _is_path(kind):
        return describe_type(str)
    return describe_type(kind) if _is_single(kind) else getattr(origin, "__name__", str(origin))


def _describe_any(kinds: Iterable[Any]) -> str:
    return " or ".join(dict.fromkeys(map(_describe, kinds)))
