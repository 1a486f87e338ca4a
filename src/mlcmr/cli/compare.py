"""`mlcmr compare`."""

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.command import FunctionCommand

if TYPE_CHECKING:
    from mlcmr.evaluation import Comparison

_FORMATS = ("text", "markdown", "latex", "html", "json")


class _CompareCommand(FunctionCommand):
    """The command, with `--format` and `--output`."""

    def add_arguments(self, parser: ArgumentParser, *, configured: bool = False) -> None:
        super().add_arguments(parser, configured=configured)
        parser.add_argument("--format", choices=_FORMATS, default="text", help="The format of the table.")
        parser.add_argument("--output", type=str | None, metavar="FILE", help="A file to write the table to.")


def _show(comparison: "Comparison", parsed: Namespace) -> None:
    from mlcmr.files import write_text
    from mlcmr.paths import user_path

    table = comparison.to(parsed.format)
    if parsed.output is None:
        print(table)
    else:
        write_text(user_path(parsed.output), f"{table}\n")


COMMAND = _CompareCommand(
    "mlcmr:compare",
    examples="""
  mlcmr compare runs/published runs/mine
  mlcmr compare runs/published runs/mine runs/other --target zh --metric nDCG@10
  mlcmr compare runs/published runs/mine --format latex --output table.tex""",
    positional=("runs",),
    names={"targets": ("target",), "metrics": ("metric",)},
    show=_show,
)
