"""`mlcmr sample`."""

from jsonargparse import Namespace

from mlcmr.cli.command import FunctionCommand


def _print_summary(summary: object, parsed: Namespace) -> None:
    print(summary)
    print(f"train:  mlcmr train configs/sample/parallel.yaml --rootpath {parsed.rootpath}")


COMMAND = FunctionCommand(
    "mlcmr:make_sample",
    examples="""
  mlcmr sample demo""",
    positional=("rootpath",),
    show=_print_summary,
)
