"""The payloads of an index, checked when they are read: a stranger may have made the index."""

import reprlib
from dataclasses import dataclass
from pathlib import Path

from mlcmr.errors import CorruptFileError
from mlcmr.extraction.records import is_utf8
from mlcmr.search.stores.base import Payload

_LARGEST = 2.0**63


@dataclass(frozen=True, slots=True)
class Record:
    """The payload of a segment or of a caption, read field by field.

    Each method raises `CorruptFileError` if the field is missing or is something else.

    Attributes:
        folder: The index.
        payload: The payload.
    """

    folder: Path
    payload: Payload

    def text(self, name: str) -> str:
        """Return a text."""
        value = self.payload.get(name)
        if not isinstance(value, str):
            raise self.damage(name)
        return value

    def path(self, name: str) -> str:
        """Return a text that can be a path: Unicode without NUL."""
        value = self.text(name)
        if "\0" in value or not is_utf8(value):
            raise self.damage(name)
        return value

    def number(self, name: str) -> float:
        """Return a number that is finite and not astronomic."""
        value = self.payload.get(name)
        if not isinstance(value, (int, float)) or not -_LARGEST < value < _LARGEST:
            raise self.damage(name)
        return float(value)

    def damage(self, name: str) -> CorruptFileError:
        """Return the error that a field cannot be used."""
        fault = f"is {reprlib.repr(self.payload[name])}" if name in self.payload else "is missing"
        return CorruptFileError(
            f"{self.folder}: a record is damaged: {name} {fault}; index into another folder (`to`)",
            path=self.folder,
        )
