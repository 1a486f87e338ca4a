"""Conditions on hits: `duration<60`, `kind=image`, `path~holiday/`, `video=clip7`."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from mlcmr.errors import UserError

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
"""What a condition looks like, to programs."""
LONGEST = 1000
"""Characters of a condition."""
_HELP = (
    f"filters are {', '.join(NUMBERS)}, compared with a number by < <= > >= =; kind=video or kind=image; "
    "video=ID, video!=ID, path=FILE, path~PART"
)
_FORM = re.compile(PATTERN)
_OPERATOR = re.compile(r"\s*(<=|>=|!=|[<>=~])\s*")


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

    def __post_init__(self) -> None:
        if isinstance(self.value, str):
            # What is not UTF-8, as arguments may be, is nowhere stored, and engines do not take it.
            object.__setattr__(self, "value", self.value.encode(errors="backslashreplace").decode())

    @property
    def texts(self) -> list[str]:
        """How a text may be stored: a path with its accents in their letters or, as by macOS, apart."""
        assert isinstance(self.value, str)
        if self.field != "path":
            return [self.value]
        joined, apart = unicodedata.normalize("NFC", self.value), unicodedata.normalize("NFD", self.value)
        return list(dict.fromkeys((self.value, joined, apart)))

    @property
    def limits(self) -> dict[str, float]:
        """Between what a number must be, by the names that engines give limits."""
        assert not isinstance(self.value, str)
        names = {"<": ["lt"], "<=": ["lte"], ">": ["gt"], ">=": ["gte"]}
        return dict.fromkeys(names.get(self.operator, ["gte", "lte"]), self.value)


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

    @property
    def must(self) -> list[Condition]:
        """Those that must hold."""
        return [one for one in self.conditions if one.operator != "!="]

    @property
    def must_not(self) -> list[Condition]:
        """Those of which the contrary, `=`, must not hold."""
        return [one for one in self.conditions if one.operator == "!="]

    def also(self, *conditions: Condition) -> "Filters":
        """These conditions and others."""
        return Filters((*self.conditions, *conditions))


def _parse(text: str) -> Condition:
    if len(text) > LONGEST or not _FORM.fullmatch(text):
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise UserError(f"filter {shown!r}: {_HELP}")
    field, operator, value = _OPERATOR.split(text.strip(), maxsplit=1)
    return Condition(field, operator, float(value) if field in NUMBERS else value)
