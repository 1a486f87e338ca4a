"""Types of arguments: public functions refuse a value of another type before they do anything."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from inspect import formatannotation, signature
from numbers import Number
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from mlcmr.errors import InvalidValueError, require_list
from mlcmr.reading import show
from mlcmr.settings import require_type

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_PATHS = (Path, os.PathLike)
_LISTS = (Sequence, Iterable, Collection, list)
_TEXTS = (str, bytes, os.PathLike)
_PLAIN = (*_TEXTS, Number, NoneType, list, tuple, dict)


def check_arguments(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Check the types of the arguments of a function by its annotations, before the function is called.

    The function gets numbers of NumPy and PyTorch as those of Python, a path as text if it takes no paths,
    and a collection as a list. It checks ranges itself, and what it needs of objects of other packages.

    Args:
        function: The function or the method.

    Returns:
        The function, which raises `InvalidValueError` if an argument has another type.
    """
    parameters = signature(function)

    @wraps(function)
    def checked(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        given = parameters.bind(*args, **kwargs)
        for name, kind in _types(function).items():
            if name in given.arguments:
                given.arguments[name] = _checked(given.arguments[name], kind, name)
        return function(*given.args, **given.kwargs)

    return checked


@cache  # at the first call, not when modules are imported
def _types(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: kind for name, kind in get_type_hints(function).items() if kind is not Any}


def _checked(value: object, kind: Any, name: str) -> Any:
    """Return an argument as the function takes it.

    Raises:
        InvalidValueError: If it has another type.
    """
    parts = _parts(kind)
    value = _as_python(value, parts)
    if _is_data(kind):
        if value is not None and all(part is NoneType or get_origin(part) in _LISTS for part in parts):
            require_list(value, name)
        require_type(value, _as_file_type(kind), name)
    elif not any(_is_instance(value, part) for part in parts):
        message = f"{name} is {show(value)}, but must be {formatannotation(kind)}"
        raise InvalidValueError(message, parameter=name)
    return value


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _as_python(value: object, parts: Sequence[Any]) -> object:
    """Return a value of NumPy, a collection or a path as numbers, a list or text of Python."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # of NumPy or PyTorch
        return value.item()
    if isinstance(value, os.PathLike) and not any((get_origin(part) or part) in _PATHS for part in parts):
        return os.fspath(value)
    items = [get_args(part)[0] for part in parts if get_origin(part) in _LISTS and _is_data(part)]
    if items and isinstance(value, Iterable) and not isinstance(value, (*_TEXTS, Mapping)):
        return [_as_python(item, _parts(items[0])) for item in value]
    return value


def _is_data(kind: Any) -> bool:
    """Return whether all values of a type could stand in a file: texts, numbers, and lists of them."""
    if get_origin(kind) in (Union, UnionType, Mapping, *_LISTS):
        return all(map(_is_data, get_args(kind)))
    return kind in (str, int, float, bool, NoneType) or (get_origin(kind) or kind) in (Literal, *_PATHS)


def _as_file_type(kind: Any) -> Any:
    """Return the type of data as a file holds it: a path is text, and a sequence is a list."""
    origin, inner = get_origin(kind), tuple(map(_as_file_type, get_args(kind)))
    if origin in (Union, UnionType):
        return Union[inner]  # noqa: UP007
    if origin is Mapping:
        return dict[inner[0], inner[1]]  # type: ignore[valid-type]
    if origin in _LISTS:
        return list[inner]  # type: ignore[valid-type]
    return str if (origin or kind) in _PATHS else kind


def _is_instance(value: object, part: Any) -> bool:
    if _is_data(part):
        try:
            require_type(value, _as_file_type(part), "")
        except InvalidValueError:
            return False
        return True
    origin = get_origin(part) or part
    if getattr(part, "_is_protocol", False):  # the function knows what it needs, and names what is missing
        return not isinstance(value, _PLAIN)
    if origin in _LISTS and isinstance(value, _TEXTS):
        return False
    return isinstance(value, origin) if isinstance(origin, type) else True
