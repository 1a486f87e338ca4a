"""Commands whose result is one table: `--format` and `--output`."""

from typing import Protocol

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.command import FunctionCommand

_FORMATS = ("text", "markdown", "latex", "html", "json")


class Convertible(Protocol):
    """A result in several formats."""

    def to(self, kind: str) -> str:
        """Return the result in a format."""
        ...


class TableCommand(FunctionCommand):
    """A command with the options `--format` and `--output`."""

    def add_arguments(self, parser: ArgumentParser, *, configured: bool = False) -> None:
        """Add the options to a parser; see `FunctionCommand`."""
        super().add_arguments(parser, configured=configured)
        parser.add_argument("--format", choices=_FORMATS, default="text", help="The format of the table.")
        parser.add_argument("--output", type=str | None, metavar="FILE", help="A file to write the table to.")


def show_table(result: Convertible, parsed: Namespace) -> None:
    """Print a table, or write it to a file."""
    from mlcmr.files import write_text
    from mlcmr.paths import user_path

    table = result.to(parsed.format)
    if parsed.output is None:
        print(table)
    else:
        write_text(user_path(parsed.output), f"{table}\n")
