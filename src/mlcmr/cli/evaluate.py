"""`mlcmr evaluate`."""

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.options import add_device

PURPOSE = "Evaluates a run: the table, results.json and report.html."
EXAMPLES = """
  mlcmr evaluate runs/vatex-parallel                       every language of the run
  mlcmr evaluate runs/vatex-parallel --target zh --split val
  mlcmr evaluate runs/vatex-parallel --fusion-weight 0.7 --json"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="The run folder that `mlcmr train` wrote.")
    parser.add_argument(
        "--target",
        nargs="+",
        action="extend",
        default=[],
        help="Languages to query in; by default those of the run.",
    )
    parser.add_argument("--split", default="test", help="The split.")
    parser.add_argument(
        "--fusion_weight",
        type=float | None,
        help="Weight of a query against its machine translation, 0 … 1; by default the published one.",
    )
    parser.add_argument("--rootpath", type=str | None, help="Where the collections are now.")
    parser.add_argument("--collection", type=str | None, help="Another collection than in training.")
    parser.add_argument("--feature", type=str | None, help="Another feature folder than in training.")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from rich.console import Console

    from mlcmr.evaluation.evaluate import evaluate_run
    from mlcmr.evaluation.table import ResultsTable

    changed = {name: parsed[name] for name in ("rootpath", "collection", "feature") if parsed[name]}
    evaluations = evaluate_run(
        parsed.run,
        changed,
        targets=parsed.target,
        split=parsed.split,
        fusion_weight=parsed.fusion_weight,
        device=parsed.device,
    )
    results = [evaluation.results for evaluation in evaluations]
    if parsed.json:
        print(json.dumps([one.to_dict() for one in results], indent=2, ensure_ascii=False))
        return 0
    Console().print(ResultsTable(results))
    print(f"report:  {Path(parsed.run) / 'report.html'}")
    print(f"results: {Path(parsed.run) / 'results.json'}")
    return 0
