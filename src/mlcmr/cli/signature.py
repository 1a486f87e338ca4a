"""The parameters of a function, read from its source without importing its module.

The help of a command must neither wait for torch nor need an extra, and a function takes objects that no
command line can hold (a model, a loss). So types and defaults are read from the syntax tree, and what cannot
be written on a command line is left out of a union.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import docstring_parser

_PACKAGE = Path(__file__).parents[1]
_SCALARS = {"str": str, "int": int, "float": float, "bool": bool, "Path": str, "PathLike": str}
_LISTS = {"Sequence", "Iterable", "Collection", "list", "tuple"}
REQUIRED = object()
"""The default of a parameter that has none."""

Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Parameter:
    """A parameter, as the command line sees it.

    Attributes:
        name: Its name.
        types: The types of a value; those of an item if `many`. Empty if no value can be written.
        many: Whether it takes a list.
        default: Its default, or `REQUIRED`.
        help: Its text in the docstring, in one line.
    """

    name: str
    types: tuple[Any, ...]
    many: bool
    default: Any
    help: str


@dataclass(frozen=True)
class Signature:
    """The summary of a docstring, and the parameters by name."""

    summary: str
    parameters: dict[str, Parameter]


@cache
def read_signature(home: str) -> Signature:
    """Read the signature of a function, a method, or a class (its `__init__`, or its fields).

    Args:
        home: `package.module:name` or `package.module:Class.method`.
    """
    module, _, path = home.partition(":")
    name, _, member = path.partition(".")
    module, node = _find(module, name)
    assert isinstance(node, Definition), home
    described = node
    if isinstance(node, ast.ClassDef):
        methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
        if member:
            node = described = methods[member]
        else:
            node = methods.get("__init__", node)
    docstring = docstring_parser.parse(
        ast.get_docstring(described) or "", docstring_parser.DocstringStyle.GOOGLE
    )
    texts = {entry.arg_name: " ".join((entry.description or "").split()) for entry in docstring.params}
    found = {}
    for parameter, annotation, default in _arguments(node):
        types = [*dict.fromkeys(_read_types(module, annotation))]
        value = REQUIRED if default is None else _evaluate(module, default)
        scalars = tuple(kind for kind in types if kind is not list)
        found[parameter] = Parameter(parameter, scalars, list in types, value, texts.get(parameter, ""))
    return Signature(docstring.short_description or "", found)


def _arguments(node: Definition) -> Iterator[tuple[str, ast.expr, ast.expr | None]]:
    """Yield name, annotation and default of each parameter or field."""
    if isinstance(node, ast.ClassDef):
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                yield field.target.id, field.annotation, field.value
        return
    positional = [*node.args.posonlyargs, *node.args.args]
    missing = [None] * (len(positional) - len(node.args.defaults))
    defaults = [*missing, *node.args.defaults, *node.args.kw_defaults]
    for argument, default in zip([*positional, *node.args.kwonlyargs], defaults, strict=True):
        if argument.annotation is not None:  # all but self
            yield argument.arg, argument.annotation, default


@cache
def _names(module: str) -> dict[str, ast.AST | str]:
    """Return the meaning of the names of a module: a definition, a value, or `module:name` of an import."""
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: dict[str, ast.AST | str] = {}
    statements = ast.parse(file.read_text(encoding="utf-8")).body
    for node in chain(statements, *(block.body for block in statements if isinstance(block, ast.If))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.AST() as value):
                found[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.AST() as value):
                found[name] = value
            case ast.ImportFrom(module=str(source)) if source.startswith("mlcmr"):
                found |= {alias.asname or alias.name: f"{source}:{alias.name}" for alias in node.names}
    return found


def _find(module: str, name: str) -> tuple[str, ast.AST | None]:
    """Return where `name` is defined, following imports within the package, and its definition or value."""
    found = _names(module).get(name)
    while isinstance(found, str):
        module, _, name = found.partition(":")
        found = _names(module).get(name)
    return module, found


def _read_types(module: str, node: ast.AST | None) -> Iterator[Any]:
    """Yield the types of a union that can be written on a command line, and `list` if a list can."""
    match node:
        case ast.Constant(value=None):
            yield None
        case ast.BinOp(left=left, right=right):
            yield from _read_types(module, left)
            yield from _read_types(module, right)
        case ast.Subscript(value=kind, slice=ast.Tuple(elts=[item, *_]) | item):
            yield from _read_subscript(module, kind, item, node.slice)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _SCALARS:
            yield _SCALARS[name]
        case ast.Name(id=name):
            module, found = _find(module, name)
            if not isinstance(found, Definition):
                yield from _read_types(module, found)


def _read_subscript(module: str, kind: ast.expr, item: ast.expr, slice_: ast.expr) -> Iterator[Any]:
    """Yield the types of a subscript that can be written on a command line; see `_read_types`.

    Args:
        module: The module that contains the annotation.
        kind: The part before the brackets, such as `Literal` or `Sequence`.
        item: The first part inside the brackets.
        slice_: Everything inside the brackets.
    """
    match kind:
        case ast.Name(id="Literal"):
            yield Literal[ast.literal_eval(slice_)]
        case ast.Name(id="Annotated"):
            yield from _read_types(module, item)
        case ast.Name(id="Mapping"):
            yield list
        case ast.Name(id=name) if name in _LISTS:
            yield list
            yield from _read_types(module, item)
        case _:
            yield from _read_types(module, kind)


def _evaluate(module: str, node: ast.AST) -> Any:
    """Return the value of a default: a literal, a constant, or the default of a dataclass's field.

    The value is None if a command line cannot express the object, such as `SILENT`.
    """
    match node:
        case ast.Call() | ast.Lambda():
            value = None
        case ast.Name(id=name):
            module, found = _find(module, name)
            value = None if found is None or isinstance(found, Definition) else _evaluate(module, found)
        case ast.Attribute(value=ast.Call(func=ast.Name(id=name)), attr=field):
            module, _ = _find(module, name)
            value = read_signature(f"{module}:{name}").parameters[field].default
        case _:
            value = ast.literal_eval(ast.unparse(node))
    return value
