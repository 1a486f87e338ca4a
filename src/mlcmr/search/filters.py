"""Conditions on hits: `duration<60`, `kind=image`, `path~holiday/`, `video=clip7`."""

import itertools
import operator as operators
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from mlcmr.data.ids import spellings
from mlcmr.errors import InvalidValueError

NUMBERS = ("duration", "start", "end", "width", "height")
"""The fields that are compared with a number."""
_TEXT = r"[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f]"
_FORMS = (  # fields, operators, values
    ("|".join(NUMBERS), "<=|>=|<|>|=", r"-?[0-9]{1,12}(\.[0-9]{1,12})?"),
    ("kind", "!=|=", "video|image"),
    ("video", "!=|=", _TEXT),
    ("path", "=|~", _TEXT),
)
PATTERN = "|".join(rf"^\s*({field})\s*({operator})\s*({value})\s*$" for field, operator, value in _FORMS)
"""The regular expression of a condition, for the description of the HTTP API."""
MAX_LENGTH = 1000
"""The largest number of characters in a condition."""
_HELP = (
    f"filters are {', '.join(NUMBERS)}, compared with a number by < <= > >= =; kind=video or kind=image; "
    "video=ID, video!=ID, path=FILE, path~PART"
)
_FORM = re.compile(PATTERN)
_FOLDERS = 3
"""The number of folders, from the end of a path, whose accents are spelled independently."""
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operators.lt,
    "lte": operators.le,
    "gt": operators.gt,
    "gte": operators.ge,
}
_OPERATOR = re.compile(r"\s*(<=|>=|!=|[<>=~])\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on hits.

    Attributes:
        field: `duration`, `start`, `end` (seconds), `width`, `height` (pixels), `kind`, `video`, `path`.
        operator: `<`, `<=`, `>`, `>=`, `=`, `!=`, or `~` (contains).
        value: A number for a number field, otherwise a text.
    """

    field: str
    operator: str
    value: float | str

    def __post_init__(self) -> None:
        if isinstance(self.value, str):
            # An argument may hold bytes that are not UTF-8. No index stores them, and engines refuse them.
            object.__setattr__(self, "value", self.value.encode(errors="backslashreplace").decode())

    @property
    def texts(self) -> list[str]:
        """The spellings of a text: with accented letters, or with separate accents as on macOS.

        Each folder of a path may have either spelling; if there are many, the outer folders share one.
        """
        assert isinstance(self.value, str)
        parts = self.value.rsplit("/", _FOLDERS) if self.field == "path" else [self.value]
        return list(dict.fromkeys(map("/".join, itertools.product(*map(spellings, parts)))))

    @property
    def limits(self) -> dict[str, float]:
        """The bounds of a number, by the names that engines use: `lt`, `lte`, `gt`, `gte`."""
        assert not isinstance(self.value, str)
        names = {"<": ["lt"], "<=": ["lte"], ">": ["gt"], ">=": ["gte"]}
        return dict.fromkeys(names.get(self.operator, ["gte", "lte"]), self.value)

    def accepts(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a payload meets the condition; `!=` is read as `=`."""
        if self.field not in payload:
            return False
        stored = payload[self.field]
        if isinstance(self.value, str):
            return any(text in stored if self.operator == "~" else text == stored for text in self.texts)
        return all(_BOUNDS[bound](stored, limit) for bound, limit in self.limits.items())


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that a hit must all meet."""

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Parse conditions as people write them: `duration<60`.

        Raises:
            InvalidValueError: If a field is unknown, or does not take the operator or the value.
        """
        return cls(tuple(map(_parse, texts)))

    @property
    def must(self) -> list[Condition]:
        """The conditions without negation."""
        return [condition for condition in self.conditions if condition.operator != "!="]

    @property
    def must_not(self) -> list[Condition]:
        """The conditions with `!=`; a hit must not meet them with `=`."""
        return [condition for condition in self.conditions if condition.operator == "!="]

    def accept(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a payload meets all conditions; for stores without filters of their own."""
        return all(condition.accepts(payload) for condition in self.must) and not any(
            condition.accepts(payload) for condition in self.must_not
        )

    def also(self, *conditions: Condition) -> "Filters":
        """Return filters with further conditions."""
        return Filters((*self.conditions, *conditions))


def _parse(text: str) -> Condition:
    if len(text) > MAX_LENGTH or not _FORM.fullmatch(text):
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise InvalidValueError(f"filter {shown!r}: {_HELP}", parameter="filters")
    field, operator, value = _OPERATOR.split(text.strip(), maxsplit=1)
    return Condition(field, operator, float(value) if field in NUMBERS else value)
