"""YAML by the core schema of YAML 1.2, bounded before objects are built."""

import re
import reprlib
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, cast

import yaml

from mlcmr.errors import CorruptFileError, reason

_DEPTH = 64
_NODES = 1_000_000
_SHOWN = 60  # characters of a text in a message


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
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        _require_sound(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 – it derives from a safe loader
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


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader for the core schema of YAML 1.2."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*\.[0-9_]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


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
            if len(around) > _DEPTH or total > _NODES:
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
for _first, _resolvers in _Loader.yaml_implicit_resolvers.items():
    for _tag, _regexp in _resolvers:
        _Dumper.add_implicit_resolver(_tag, _regexp, [_first])


def show(value: object) -> str:
    """Return a value for a message, as it is written in YAML; a long value is shortened."""
    if not isinstance(value, str | bool | None):
        return reprlib.repr(value)
    text = value if not isinstance(value, str) or len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    return yaml.dump(text, Dumper=_Dumper, allow_unicode=True, width=inf).removesuffix("...\n").strip()
