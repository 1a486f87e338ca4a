"""`mlcmr extract`."""

from mlcmr.cli.command import FunctionCommand

COMMAND = FunctionCommand(
    "mlcmr:extract",
    examples="""
  mlcmr extract ~/Videos --collection VisualSearch/mine --encoder openai/clip-vit-base-patch16
  mlcmr extract ~/Videos --collection VisualSearch/mine --encoder models/siglip --rate 1 --segment shots
  mlcmr extract demo/sample/VideoData --collection VisualSearch/drawn       without any model""",
    positional=("videos",),
)
