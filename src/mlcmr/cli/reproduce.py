"""`mlcmr reproduce`."""

from mlcmr.cli.table_command import TableCommand, show_table

COMMAND = TableCommand(
    "mlcmr:reproduce",
    examples="""
  mlcmr reproduce --rootpath ~/VisualSearch                      every published row
  mlcmr reproduce vatex/parallel vatex/unparallel --rootpath ~/VisualSearch
  mlcmr reproduce --rootpath ~/VisualSearch --format markdown --output table.md""",
    positional=("recipes",),
    show=show_table,
)
