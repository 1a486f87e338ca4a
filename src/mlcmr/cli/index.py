"""`mlcmr index`."""

from jsonargparse import Namespace

from mlcmr.cli.argv import with_options
from mlcmr.cli.command import FunctionCommand
from mlcmr.search.default_model import DEFAULT_MODEL


def _print_summary(summary: object, parsed: Namespace) -> None:
    print(with_options(str(summary), {"prune": "--prune"}))
    if not parsed.dry_run:
        print(f'search:  mlcmr search "…" --index {parsed.to}')


COMMAND = FunctionCommand(
    "mlcmr:index",
    examples=f"""
  mlcmr index ~/Videos                   by the model {DEFAULT_MODEL}
  mlcmr index ~/Videos --run runs/sample-parallel
  mlcmr index ~/VisualSearch/vatex --run runs/vatex-parallel --to vatex-index
  mlcmr index ~/Videos --model openai/clip-vit-base-patch16
  mlcmr index ~/Videos --prune           bring it up to date, without files that are gone
  mlcmr index ~/Videos --dry-run         show what would change
  mlcmr index --remove holiday_beach     take a video out""",
    positional=("source",),
    names={"media_roots": ("media_root",)},
    repeated=("media_roots",),
    show=_print_summary,
)
