"""`mlcmr import-checkpoint`."""

from mlcmr.cli.command import FunctionCommand

COMMAND = FunctionCommand(
    "mlcmr.model.legacy_checkpoint:import_checkpoint",
    examples="""
  mlcmr import-checkpoint model_best.pth.tar --to models/vatex-parallel""",
    positional=("checkpoint",),
    show=lambda _, parsed: print(f"model: {parsed.to}"),
)
