"""`mlcmr evaluate`."""

import json
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.command import FunctionCommand
from mlcmr.paths import user_path

if TYPE_CHECKING:
    from mlcmr.evaluation import EvaluationResults


class _EvaluateCommand(FunctionCommand):
    """The command, with `--json`."""

    def add_arguments(self, parser: ArgumentParser, *, configured: bool = False) -> None:
        super().add_arguments(parser, configured=configured)
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def run(self, parser: ArgumentParser, parsed: Namespace) -> int:
        from mlcmr.data.run_settings import data_of_run, runs_of_seeds

        if isinstance(parsed.run, str):  # check the names before PyTorch is imported, which takes seconds
            names = ("rootpath", "collection", "feature")
            changes = {name: parsed[name] for name in names if parsed[name]}
            folder = user_path(parsed.run)
            data = data_of_run(next(iter(runs_of_seeds(folder)), folder), changes)
            if parsed.targets:
                data.read_queries(parsed.split, parsed.targets)
        return super().run(parser, parsed)


def _show(results: "EvaluationResults", parsed: Namespace) -> None:
    from rich.console import Console

    if parsed.json:
        print(json.dumps(results.to_dict()["evaluations"], indent=2, ensure_ascii=False))
    else:
        Console().print(results)
        print(*results.written(), sep="\n")


COMMAND = _EvaluateCommand(
    "mlcmr:evaluate",
    examples="""
  mlcmr evaluate runs/vatex-parallel                       every language of the run
  mlcmr evaluate runs/vatex-parallel --target zh --split val
  mlcmr evaluate runs/vatex-parallel --recall-at 1 5 10 50 --metric nDCG@10
  mlcmr evaluate runs/vatex-parallel --text-to-text
  mlcmr evaluate runs/vatex-parallel --fusion-weight auto
  mlcmr evaluate runs/vatex-parallel --normalisation dynamic-inverted-softmax dual-softmax
  mlcmr evaluate runs/vatex-parallel --fusion-weight 0.7 --json""",
    positional=("run",),
    names={"targets": ("target",), "metrics": ("metric",), "normalisations": ("normalisation",)},
    skipped=("data",),
    groups={"normalisation": "mlcmr.evaluation.normalisation:NormalisationSettings"},
    show=_show,
)
