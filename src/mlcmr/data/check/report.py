"""The result of a check."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlcmr.data.text_table import TextTable
from mlcmr.text import plural, printable


class CaptionSummary(NamedTuple):
    """The content of one caption file.

    Attributes:
        split: The split.
        language: The language or languages, for people.
        captions: The number of captions.
        videos: The number of videos with captions.
    """

    split: str
    language: str
    captions: int
    videos: int


class FeatureSummary(NamedTuple):
    """The size of one frame feature.

    Attributes:
        name: The name of the feature.
        shape: The number of frames and the dimension; None if `shape.txt` is damaged.
        frames_of_video: The number of frames of each video; empty if `video2frames.txt` is damaged.
        size: The size of the folder in bytes.
    """

    name: str
    shape: tuple[int, int] | None
    frames_of_video: Sequence[int]
    size: int


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of `check`; its text is what `mlcmr check` prints.

    Attributes:
        folder: The folder of the collection.
        problems: One line per problem, with file and line or id. Of many problems of one kind in one file,
            the first few are listed, and a line gives the number of the others.
        warnings: One line per warning.
        problem_count: The number of problems, including those that are not listed.
        captions: The content of each caption file.
        features: The size of each feature.
    """

    folder: Path
    problems: list[str]
    warnings: list[str]
    problem_count: int
    captions: list[CaptionSummary]
    features: list[FeatureSummary] = field(repr=False)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.tables()), *self.lines()])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "folder": str(self.folder),
            "problem_count": self.problem_count,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "captions": [file._asdict() for file in self.captions],
            "features": [
                {
                    "name": feature.name,
                    "frames": feature.shape and feature.shape[0],
                    "dimension": feature.shape and feature.shape[1],
                    "videos": len(feature.frames_of_video),
                    "size": feature.size,
                }
                for feature in self.features
            ],
        }

    def tables(self) -> list[TextTable]:
        """Return the tables of captions and features; an empty one is left out."""
        captions = [
            (file.split, printable(file.language), f"{file.captions:,}", f"{file.videos:,}")
            for file in self.captions
        ]
        tables = [
            TextTable(("split", "language"), ("captions", "videos"), captions),
            TextTable(
                ("feature",),
                ("frames", "dimension", "videos", "frames per video", "size"),
                [_feature_row(feature) for feature in self.features],
            ),
        ]
        return [table for table in tables if table.rows]

    def lines(self) -> Iterator[str]:
        """Yield the warnings, the problems, and the number of problems."""
        yield from (f"warning: {warning}" for warning in self.warnings)
        yield from self.problems
        count = plural(self.problem_count, "problem") if self.problem_count else "No problems"
        yield f"{count}. Nothing was changed."


def _feature_row(feature: FeatureSummary) -> list[str]:
    counts = feature.frames_of_video
    return [
        printable(feature.name),
        *([f"{number:,}" for number in feature.shape] if feature.shape else "??"),
        f"{len(counts):,}" if counts else "?",
        _format_range(counts) if counts else "?",
        _format_bytes(feature.size),
    ]


def _format_range(counts: Sequence[int]) -> str:
    if min(counts) == max(counts):
        return f"{counts[0]:,}"
    return f"{min(counts):,} – {max(counts):,}, mean {sum(counts) / len(counts):,.1f}"


def _format_bytes(size: int) -> str:
    from rich.filesize import decimal  # noqa: PLC0415

    return decimal(size)
