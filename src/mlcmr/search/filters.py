"""Conditions on hits: `duration<60`, `kind=image`, `path~holiday/`, `video=clip7`."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from mlcmr.errors import UserError

_NUMBERS = ("duration", "start", "end", "width", "height")
_OPERATORS = {
    **dict.fromkeys(_NUMBERS, ("<", "<=", ">", ">=", "=")),
    "kind": ("=", "!="),
    "video": ("=", "!="),
    "path": ("=", "~"),
    "language": ("=", "!="),  # of captions only; not for people, who have --language
}
_HELP = (
    f"filters are {', '.join(_NUMBERS)} with < <= > >= =, kind=video or kind=image, video=ID, video!=ID, "
    "path=FILE, path~PART"
)
_FORM = re.compile(r"\s*(\w+)\s*(<=|>=|!=|[<>=~])\s*(.*?)\s*", re.DOTALL)
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        field: `duration`, `start`, `end` (seconds), `width`, `height` (pixels), `kind`, `video`, `path`.
        operator: `<`, `<=`, `>`, `>=`, `=`, `!=`, or `~` (has this in it).
        value: A number for numbers, else a text.
    """

    field: str
    operator: str
    value: float | str


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that a hit must all meet."""

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Reads conditions as people write them, `duration<60`.

        Raises:
            UserError: an unknown field, an operator that it does not have, or a value that it cannot have.
        """
        return cls(tuple(map(_parse, texts)))

    def also(self, *conditions: Condition) -> "Filters":
        """These conditions and others."""
        return Filters((*self.conditions, *conditions))


def _parse(text: str) -> Condition:
    shown = text if len(text) <= 80 else f"{text[:80]}…"
    match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    field, operator, value = match.groups() if match else ("", "", "")
    if field == "language" or operator not in _OPERATORS.get(field, ()) or not value:
        raise UserError(f"filter '{shown}': {_HELP}")
    if field in _NUMBERS:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"filter '{shown}': {field} is compared with a number; {_HELP}")
        return Condition(field, operator, number)
    if field == "kind" and value not in ("video", "image"):
        raise UserError(f"filter '{shown}': a kind is video or image; {_HELP}")
    return Condition(field, operator, value)
