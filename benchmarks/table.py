"""The table: each piece of work beside the published code's figure, the target and the limit."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """A piece of work.

    Attributes:
        work: What was done.
        unit: Of all figures; `…/s` is better when larger, everything else when smaller.
        clock: Our median by the clock.
        alone: Our median by processor time, which other processes do not disturb; compared with the rest.
        published: The published code's figure.
        scaled: The same at the speed of this machine at this moment, for work that is all matrix products.
        target: What we want.
        limit: What the machine allows.
    """

    work: str
    unit: str
    clock: float
    alone: float | None = None
    published: float | None = None
    scaled: float | None = None
    target: float | None = None
    limit: float | None = None

    @property
    def ours(self) -> float:
        """The figure to compare."""
        return self.clock if self.alone is None else self.alone

    def times_better_than(self, other: float) -> float:
        """Return the factor by which ours is better than another figure."""
        return self.ours / other if self.unit.endswith("/s") else other / self.ours


_TITLES = "work", "", "clock", "alone", "published", "scaled", "better", "target", "", "limit", "of limit"


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as an aligned Markdown table."""
    lines = [_TITLES, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_TITLES))]
    left = {0, 1}

    def joined(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + ("-" if column in left else ":") for column, width in enumerate(widths)]
    return "\n".join(map(joined, [lines[0], rule, *lines[1:]]))


def _cells(row: Row) -> tuple[str, ...]:
    compared = row.published if row.scaled is None else row.scaled
    return (
        row.work,
        row.unit,
        _figure(row.clock),
        _figure(row.alone),
        _figure(row.published),
        _figure(row.scaled),
        "" if compared is None else f"{row.times_better_than(compared):.1f} ×",
        _figure(row.target),
        "" if row.target is None else ("met" if row.times_better_than(row.target) >= 1 else "missed"),
        _figure(row.limit),
        "" if row.limit is None else f"{100 * row.times_better_than(row.limit):.0f} %",
    )


def _figure(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
