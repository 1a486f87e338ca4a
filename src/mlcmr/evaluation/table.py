"""Results as the field prints them, for people at a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mlcmr.evaluation.results import DirectionMetrics, Results, RetrievalMetrics

COLUMNS = ("R@1", "R@5", "R@10", "MedR", "MnR", "mAP")
_STYLES = {"main": "bold", "published": "cyan", "chance": "dim"}


@dataclass(frozen=True)
class Row:
    """One line of a table of results.

    Attributes:
        label: what was scored: `fused`, `target only`, `published`, `chance`.
        kind: how the row counts: `main` (what the protocol reports), `other`, `published`, `chance`.
        metrics: the figures.
    """

    label: str
    kind: str
    metrics: RetrievalMetrics


def rows_of(results: Results) -> list[Row]:
    """The lines to print for one evaluation, the protocol's own first."""
    alone = Row("target only", "other" if results.fused else "main", results.target_only)
    rows = [Row("fused", "main", results.fused), alone] if results.fused else [alone]
    if results.published:
        rows.append(Row("published", "published", results.published))
    return [*rows, Row("chance", "chance", results.chance)]


def printed(metrics: DirectionMetrics) -> list[str]:
    """R@1, R@5, R@10, MedR, MnR and mAP with the digits that the field prints; – for what is not known."""
    formats = (".1f", ".1f", ".1f", "g", ".1f", ".2f")
    values = metrics.to_dict().values()
    return [
        "–" if value is None else format(value, digits) for value, digits in zip(values, formats, strict=True)
    ]


def summary(results: Results) -> str:
    """What was measured on what, in one line."""
    fusion = "" if results.fusion_weight is None else f" · fusion weight {results.fusion_weight:g}"
    chosen = f" · checkpoint chosen on {results.chosen_on}" if results.chosen_on else ""
    return f"{results.queries:,} captions · {results.videos:,} videos{fusion}{chosen}"


class ResultsTable:
    """A table of one or more evaluations, to print with `rich`.

    A wide terminal shows both directions side by side, a narrow one below each other: numbers are never cut.
    """

    def __init__(self, results: Sequence[Results]) -> None:
        self._results = list(results)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._table(side_by_side=True)
        fits = Measurement.get(console, options.update(max_width=1000), wide).maximum <= options.max_width
        yield wide if fits else self._table(side_by_side=False)
        for line in dict.fromkeys(f"{one.target}: {summary(one)}" for one in self._results):
            yield Text(line, style="dim")

    def _table(self, *, side_by_side: bool) -> Table:
        titles = dict.fromkeys(
            f"{one.collection} · {one.split} · {one.scenario} · {one.feature}" for one in self._results
        )
        table = Table(
            title=Text("\n".join(titles)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column("\ntarget" if side_by_side else "target", no_wrap=True)
        table.add_column("\nscored" if side_by_side else "scored", no_wrap=True)
        if side_by_side:
            for direction in ("t2v", "v2t"):
                for name in COLUMNS:
                    head = direction if name == COLUMNS[0] else ""
                    table.add_column(f"{head}\n{name}", justify="right", no_wrap=True)
        else:
            table.add_column("", no_wrap=True)
            for name in COLUMNS:
                table.add_column(name, justify="right", no_wrap=True)
        table.add_column("\nSumR" if side_by_side else "SumR", justify="right", no_wrap=True)
        for results in self._results:
            self._add(table, results, side_by_side=side_by_side)
        return table

    @staticmethod
    def _add(table: Table, results: Results, *, side_by_side: bool) -> None:
        for number, row in enumerate(rows_of(results)):
            style = _STYLES.get(row.kind)
            label = [Text(results.target if number == 0 else ""), Text(row.label)]
            t2v, v2t = printed(row.metrics.t2v), printed(row.metrics.v2t)
            sum_recalls = f"{row.metrics.sum_recalls:.1f}"
            if side_by_side:
                table.add_row(*label, *t2v, *v2t, sum_recalls, style=style)
            else:
                table.add_row(*label, "t2v", *t2v, sum_recalls, style=style)
                table.add_row("", "", "v2t", *v2t, "", style=style)
        table.add_section()
