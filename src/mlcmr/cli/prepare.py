"""`mlcmr prepare`."""

from typing import TYPE_CHECKING

from jsonargparse import Namespace

from mlcmr.cli.command import FunctionCommand

if TYPE_CHECKING:
    from mlcmr.data.prepare import PrepareSummary


def _print_summary(summary: "PrepareSummary", parsed: Namespace) -> None:
    from mlcmr.cli.tables import print_report

    print_report(summary, COMMAND.options())
    print(f"check: mlcmr check {parsed.collection}")


COMMAND = FunctionCommand(
    "mlcmr:prepare",
    examples="""
  mlcmr prepare vatex_training_v1.0.json vatex_validation_v1.0.json --collection VisualSearch/vatex
  mlcmr prepare train_val_videodatainfo.json test_videodatainfo.json --collection VisualSearch/msrvtt
  mlcmr prepare captions.csv --collection VisualSearch/mine       columns video, caption, language
  mlcmr prepare en.tsv zh.tsv --language en zh --shares 0.9 0.05 0.05 --collection VisualSearch/mine
  mlcmr prepare all.parquet --text-column german --language de --collection VisualSearch/mine
  mlcmr prepare MSRVTT_data.json --split-lists train=MSRVTT_train.9k.csv \\
      test=MSRVTT_JSFUSION_test.csv --list-captions --collection VisualSearch/msrvtt1kA
  mlcmr prepare chinese.csv --language zh --collection VisualSearch/mine    a language more""",
    positional=("files",),
    names={"shares": ("shares", "splits")},
    show=_print_summary,
)
