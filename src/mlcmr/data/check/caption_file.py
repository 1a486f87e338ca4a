"""A caption file as its name describes it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlcmr.data.collection import HALF, SPLITS
from mlcmr.data.languages import language_of_suffix, language_of_tag, language_sort_key

ENDING = ".caption.txt"
_TRANSLATED = re.compile(r"(?:_(.+))?_([^_2]+)2([^_]+)")


class FileLine(NamedTuple):
    """A line of a caption file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class CaptionFile:
    """One caption file: the meaning of its name, and, once it is read, its content.

    Attributes:
        path: The file.
        split: The split, usually `train`, `val` or `test`.
        suffix: The part of the name that follows the split.
        language: The language that the name says; empty for a file of several languages.
        source: The language from which a machine translated the captions; None for captions by people.
        label: The languages, for people.
        languages: The languages of the captions, by their tags.
        tag: The tag of the first caption.
        count: The number of captions.
        lines: The line of each caption, by `<video>#<number>`.
        videos: The line of the first caption of each video.
    """

    path: Path
    split: str
    suffix: str
    language: str = ""
    source: str | None = None
    label: str = ""
    languages: set[str] = field(default_factory=set)
    tag: str = ""
    count: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    videos: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if match := _TRANSLATED.fullmatch(self.suffix):
            engine, source, self.language = match.groups()
            self.source = language_of_tag(source)
            self.label = f"{self.language} ← {self.source}{f' ({engine})' if engine else ''}"
        elif self.suffix != HALF:
            self.label = self.language = language_of_suffix(self.suffix)

    @property
    def order(self) -> tuple[object, ...]:
        """Return a sort key: by split, captions by people first, English first."""
        split = SPLITS.index(self.split) if self.split in SPLITS else len(SPLITS)
        kind = (self.suffix == HALF, self.source is not None, language_sort_key(self.language)[0])
        return (split, self.split, *kind, self.suffix)

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.path.name
