"""Finds now what would go wrong later: `mlcmr check`. Nothing is changed, not even a cache written."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from mlcmr.data.check.captions import CaptionSummary, check_captions
from mlcmr.data.check.features import FeatureSummary, check_features
from mlcmr.data.check.findings import Findings
from mlcmr.data.collection import require_open
from mlcmr.data.features import Progress
from mlcmr.display import printable
from mlcmr.errors import UserError

__all__ = ["CaptionSummary", "CheckReport", "FeatureSummary", "check_collection", "print_report", "summary"]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check_collection` found.

    Attributes:
        folder: The collection.
        problems: What would go wrong, one line each, with file and line or id. Of many of one kind in one
            file, the first few stand there and a line says how many more there are.
        warnings: What is worth knowing, one line each.
        problem_count: The number of problems, with those that are not shown.
        captions: What is in each caption file.
        features: How much there is of each feature.
    """

    folder: Path
    problems: list[str]
    warnings: list[str]
    problem_count: int
    captions: list[CaptionSummary]
    features: list[FeatureSummary]


def check_collection(
    folder: str | os.PathLike[str], feature: str | None = None, progress: Progress | None = None
) -> CheckReport:
    """Reads everything in a collection and reports all that is wrong with it.

    Args:
        folder: The collection, `<rootpath>/<collection>`.
        feature: The one feature to check; all of them by default.
        progress: Told the caption files and the bytes of features that were read.

    Raises:
        UserError: there is no such folder, or it cannot be looked into.
    """
    folder = Path(folder).expanduser()
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; name a collection, <rootpath>/<collection>")
    require_open(folder)
    if folder.name in {"", ".."}:
        folder = folder.resolve()
    found = Findings()
    captions, captioned = check_captions(folder, found, progress)
    features = check_features(folder, feature, captioned, found, progress)
    problems, warnings = found.problems, found.warnings
    return CheckReport(folder, problems.as_list(), warnings.as_list(), problems.count, captions, features)


def summary(report: CheckReport) -> Group:
    """What is in the collection, as tables."""
    captions = _table(["split", "language"], ["captions", "videos"])
    for file in report.captions:
        captions.add_row(file.split, Text(printable(file.language)), f"{file.captions:,}", f"{file.videos:,}")
    features = _table(["feature"], ["frames", "dimension", "videos", "frames per video", "size"])
    for feature in report.features:
        counts = feature.frames_of_video
        features.add_row(
            Text(printable(feature.name)),
            *([f"{number:,}" for number in feature.shape] if feature.shape else "??"),
            f"{len(counts):,}" if counts else "?",
            _spread(counts) if counts else "?",
            decimal(feature.size),
        )
    return Group(*(table for table in (captions, features) if table.row_count))


def print_report(report: CheckReport, console: Console | None = None) -> None:
    """Prints what is in the collection, the warnings, the problems, and how many there are."""
    console = console or Console()
    console.print(summary(report))
    for line in (*(f"warning: {warning}" for warning in report.warnings), *report.problems):
        # As it is: no colours for numbers, no mark-up in ids, no line ends where the terminal ends.
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    count = report.problem_count
    end = f"{count:,} problem{'s' if count > 1 else ''}" if count else "No problems"
    console.print(f"{end}. Nothing was changed.", highlight=False)


def _table(texts: list[str], numbers: list[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _spread(counts: Sequence[int]) -> str:
    if min(counts) == max(counts):
        return f"{counts[0]:,}"
    return f"{min(counts):,} – {max(counts):,}, mean {sum(counts) / len(counts):,.1f}"
