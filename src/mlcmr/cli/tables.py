"""Results with tables, for people: in a terminal, columns fold and names are bold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcmr.cli.argv import shown, with_options
from mlcmr.cli.display import output
from mlcmr.data.text_table import TextTable


class Report(Protocol):
    """A result that consists of tables and lines."""

    def tables(self) -> Sequence[TextTable]:
        """Return the tables."""
        ...

    def lines(self) -> Iterable[str]:
        """Return the lines below the tables."""
        ...


def print_report(
    report: Report, options: Mapping[str, str] | None = None, console: Console | None = None
) -> None:
    """Print a result.

    Args:
        report: The result.
        options: The options of the command by parameter: a line shows a parameter as its option.
        console: Where to print; by default the standard output.
    """
    console = console or output()
    for table in report.tables():
        console.print(_rich_table(table))
    for line in report.lines():
        # No colours for numbers, no mark-up in ids, no line ends where the terminal ends.
        text = shown(with_options(line, options)) if options else line
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _rich_table(table: TextTable) -> Table:
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in table.text_columns:
        drawn.add_column(name, overflow="fold")
    for name in table.number_columns:
        drawn.add_column(name, justify="right")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn
