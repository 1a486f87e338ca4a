"""Results as the field prints them, for a terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mlcmr.evaluation.all_targets import AllTargets
from mlcmr.evaluation.intervals import RetrievalIntervals
from mlcmr.evaluation.metrics import Metric, RetrievalMetrics
from mlcmr.evaluation.report.formats import format_value
from mlcmr.evaluation.target_results import TargetResults
from mlcmr.evaluation.text_to_text import TextToTextResults
from mlcmr.text import plural

ALL_QUERIES = "Uses all test queries: not comparable with the table above"
"""The heading of the normalisations that use all test queries."""
TEXT_TO_TEXT = "Text to text: captions find captions of the same video"
"""The heading of text-to-text retrieval."""
_STYLES = {"main": "bold", "interval": "dim", "published": "cyan", "chance": "dim"}


@dataclass(frozen=True)
class Row:
    """A row of a table of results.

    Attributes:
        label: The way of scoring, or the origin: `fused`, `target only`, `published`, `chance`. The row below
            has the label `± 95 %` for intervals, and `± SD` for the standard deviation between seeds.
        kind: The role of the row: `main` (what the protocol reports), `interval` (also of deviations),
            `other`, `published`, `chance`.
        metrics: The metrics, the half widths of their intervals, or their deviations.
    """

    label: str
    kind: str
    metrics: RetrievalMetrics


_Sections: TypeAlias = Mapping[str, Sequence[Row]]
"""The rows of a table by the text of its first column."""


def rows_of(results: TargetResults) -> list[Row]:
    """Return the rows of one target language; the figures that the protocol reports come first."""
    (label, main), *others = results.scored().items()
    rows = [*_rows(results, label, "main", main)]
    for label, metrics in others:
        rows += _rows(results, label, "other", metrics)
    if results.published:
        rows.append(Row("published", "published", results.published))
    return [*rows, Row("chance", "chance", results.chance)]


def rows_with_all_queries(results: TargetResults) -> list[Row]:
    """Return the rows of the normalisations that use all test queries, for a table of their own."""
    figures = results.using_all_test_queries().items()
    return [row for label, metrics in figures for row in _rows(results, label, "other", metrics)]


def _rows(results: TargetResults, label: str, kind: str, metrics: RetrievalMetrics) -> Iterator[Row]:
    """Yield the row of a way of scoring, and those of its intervals and of its deviations."""
    yield Row(label, kind, metrics)
    if intervals := results.intervals_of(label):
        yield Row(_interval_label(intervals), "interval", intervals.half_widths)
    if results.seeds and label in results.seeds.deviations:
        yield Row("± SD", "interval", results.seeds.deviations[label])


def _interval_label(intervals: RetrievalIntervals) -> str:
    return f"± {100 * intervals.confidence:g} %"


def rows_of_all(results: Sequence[TargetResults]) -> list[Row]:
    """Return the rows of all target languages together; none for a single language."""
    together = AllTargets.of(results)
    if together is None:
        return []
    rows = [
        Row("mean", "main", together.mean),
        Row(f"worst: {together.worst_target}", "other", together.worst),
    ]
    worst = next(result for result in results if result.target == together.worst_target)
    # Below the figures of a language are its intervals and deviations.
    return rows + [row for row in rows_of(worst)[1:3] if row.kind == "interval"]


def rows_of_texts(results: TextToTextResults) -> list[Row]:
    """Return the rows of text-to-text retrieval between two languages."""
    rows = [Row("target only", "main", results.metrics)]
    if results.intervals:
        rows.append(Row(_interval_label(results.intervals), "interval", results.intervals.half_widths))
    return [*rows, Row("chance", "chance", results.chance)]


def columns_of(results: Iterable[TargetResults]) -> dict[str, Metric]:
    """Return the metrics of a table by name, in the order of its columns."""
    return {name: metric for result in results for name, metric in result.main.metric_of.items()}


def printed(values: Mapping[str, float], columns: Mapping[str, Metric]) -> list[str]:
    """Format the values of one direction, each as its metric says; `–` if a value is not known."""
    return [
        format_value(values[name], metric.format) if name in values else "–"
        for name, metric in columns.items()
    ]


def summary(results: TargetResults) -> str:
    """Describe the evaluated data and the choice of the checkpoint in one line."""
    fusion = f" · fusion weight {results.described_weight}" if results.described_weight else ""
    chosen = f" · checkpoint chosen on {results.chosen_on}" if results.chosen_on else ""
    return f"{plural(results.queries, 'caption')} · {plural(results.videos, 'video')}{fusion}{chosen}"


def summaries(results: TargetResults) -> list[str]:
    """Describe the data, the choice of the checkpoint, the seeds and each normalisation, in a line each."""
    seeds = [f"{results.seeds}; ± SD: the standard deviation between them"] if results.seeds else []
    return [summary(results), *seeds, *map(str, results.normalised)]


class ResultsTable:
    """A table of results in one or more target languages, to print with `rich`.

    A wide terminal shows both directions side by side. A narrow terminal shows them below each other, and
    many metrics in several tables, so that no number is cut.

    Args:
        results: The results of each target language.
        text_to_text: The results of text-to-text retrieval.
    """

    def __init__(
        self, results: Sequence[TargetResults], text_to_text: Sequence[TextToTextResults] = ()
    ) -> None:
        self._results = list(results)
        self._text_to_text = text_to_text
        self._columns = columns_of(results)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        titles = (
            f"{result.collection} · {result.split} · {result.scenario} · {result.feature}"
            for result in self._results
        )
        sections = {result.target: rows_of(result) for result in self._results}
        together = {"all": rows} if (rows := rows_of_all(self._results)) else {}
        yield from self._tables("\n".join(dict.fromkeys(titles)), sections | together, console, options)
        if any(map(rows_with_all_queries, self._results)):
            sections = {result.target: rows_with_all_queries(result) for result in self._results}
            yield from self._tables(ALL_QUERIES, sections, console, options)
        if self._text_to_text:
            sections = {result.label: rows_of_texts(result) for result in self._text_to_text}
            yield from self._tables(TEXT_TO_TEXT, sections, console, options, ("→", "←"))
        lines = [f"{result.target}: {line}" for result in self._results for line in summaries(result)]
        for line in dict.fromkeys([*lines, *map(str, self._text_to_text)]):
            yield Text(line, style="dim")

    def _tables(
        self,
        title: str,
        sections: _Sections,
        console: Console,
        options: ConsoleOptions,
        directions: tuple[str, str] = ("t2v", "v2t"),
    ) -> Iterator[Table]:
        """Yield one table that fits, or several."""

        def draw(names: Sequence[str], *, side_by_side: bool) -> Table:
            return self._table(title, sections, names, directions, side_by_side=side_by_side)

        def fits(table: Table) -> bool:
            unlimited = options.update(max_width=1000)
            return Measurement.get(console, unlimited, table).maximum <= options.max_width

        def narrow(names: list[str]) -> Iterator[Table]:
            table = draw(names, side_by_side=False)
            if fits(table) or len(names) == 1:
                yield table
            else:
                half = (len(names) + 1) // 2
                yield from narrow(names[:half])
                yield from narrow(names[half:])

        names = list(self._columns)
        wide = draw(names, side_by_side=True)
        yield from [wide] if fits(wide) else narrow(names)

    def _table(
        self,
        title: str,
        sections: _Sections,
        names: Sequence[str],
        directions: tuple[str, str],
        *,
        side_by_side: bool,
    ) -> Table:
        table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("\ntarget" if side_by_side else "target", no_wrap=True)
        table.add_column("\nscored" if side_by_side else "scored", no_wrap=True)
        if side_by_side:
            for direction in directions:
                for number, name in enumerate(names):
                    head = direction if number == 0 else ""
                    table.add_column(Text(f"{head}\n{name}"), justify="right", no_wrap=True)
        else:
            table.add_column("", no_wrap=True)
            for name in names:
                table.add_column(Text(name), justify="right", no_wrap=True)
        table.add_column("\nSumR" if side_by_side else "SumR", justify="right", no_wrap=True)
        for target, rows in sections.items():
            self._add(table, target, rows, names, directions, side_by_side=side_by_side)
        return table

    def _add(
        self,
        table: Table,
        target: str,
        rows: Iterable[Row],
        names: Sequence[str],
        directions: tuple[str, str],
        *,
        side_by_side: bool,
    ) -> None:
        columns = {name: self._columns[name] for name in names}
        for number, row in enumerate(rows):
            style = _STYLES.get(row.kind)
            label = [Text(target if number == 0 else ""), Text(row.label)]
            t2v, v2t = (printed(values, columns) for values in (row.metrics.t2v, row.metrics.v2t))
            sum_recalls = f"{row.metrics.sum_recalls:.1f}"
            if side_by_side:
                table.add_row(*label, *t2v, *v2t, sum_recalls, style=style)
            else:
                table.add_row(*label, directions[0], *t2v, sum_recalls, style=style)
                table.add_row("", "", directions[1], *v2t, "", style=style)
        table.add_section()
