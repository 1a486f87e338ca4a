"""`mlcmr compare`."""

from mlcmr.cli.table_command import TableCommand, show_table

COMMAND = TableCommand(
    "mlcmr:compare",
    examples="""
  mlcmr compare runs/published runs/mine
  mlcmr compare runs/published runs/mine runs/other --target zh --metric nDCG@10
  mlcmr compare runs/published runs/mine --format latex --output table.tex""",
    positional=("runs",),
    names={"targets": ("target",), "metrics": ("metric",)},
    show=show_table,
)
