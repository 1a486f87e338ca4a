"""`mlcmr check`."""

from typing import TYPE_CHECKING

from jsonargparse import Namespace

from mlcmr.cli.command import FunctionCommand

if TYPE_CHECKING:
    from mlcmr.data.check import CheckReport


def _print_report(report: "CheckReport", _: Namespace) -> int:
    from mlcmr.cli.tables import print_report

    print_report(report)
    return 2 if report.problems else 0


COMMAND = FunctionCommand(
    "mlcmr:check",
    examples="""
  mlcmr check ~/VisualSearch/vatex
  mlcmr check ~/VisualSearch/vatex --feature i3d_kinetics""",
    positional=("folder",),
    show=_print_report,
)
