"""`mlcmr translate`."""

from mlcmr.cli.command import FunctionCommand

COMMAND = FunctionCommand(
    "mlcmr:translate",
    examples="""
  mlcmr translate VisualSearch/mine --from en --to zh --model Helsinki-NLP/opus-mt-en-zh
  mlcmr translate VisualSearch/mine --from zh --to en --model facebook/nllb-200-distilled-600M --split test
  mlcmr translate VisualSearch/mine --from en --to zh --model models/mine --engine mine --batch-size 128
  mlcmr train --scenario pseudo-parallel --target zh --engine opus-mt-en-zh --collection mine ...""",
    positional=("collection",),
    names={"from_": ("from",)},
)
