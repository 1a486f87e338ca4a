"""Results of run.sh, as a table and as curves: `python -m benchmarks.real.show RUNS [CURVES.svg]`."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLLECTIONS = ("flickr8kcn", "msrvtt1k")
RUNNING = 3  # logged steps in a mean


def main() -> None:
    runs = sorted(Path(sys.argv[1]).glob("*/results.json"), key=_place)
    print(table(runs))
    if len(sys.argv) > 2:
        draw(runs, Path(sys.argv[2]))


def table(runs: list[Path]) -> str:
    """Return a line per run and target: recalls of the target alone and fused, and chance."""
    lines = [
        "| collection, scenario | encoder | target | scored | t2v R@1 / 5 / 10 | v2t | SumR | chance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for results in runs:
        for one in json.loads(results.read_text(encoding="utf-8"))["evaluations"]:
            for scored, metrics in one["metrics"].items():
                if metrics is None:  # no translations to fuse with
                    continue
                t2v, v2t = (
                    " / ".join(f"{metrics[direction][f'R@{k}']:.1f}" for k in (1, 5, 10))
                    for direction in ("t2v", "v2t")
                )
                lines.append(
                    f"| {one['collection']} {one['scenario']} | {_encoder(results)} | {one['target']} "
                    f"| {scored.replace('_', ' ')} | {t2v} | {v2t} | {metrics['SumR']:.1f} "
                    f"| {one['chance']['SumR']:.1f} |"
                )
    return "\n".join(lines)


def draw(runs: list[Path], path: Path) -> None:
    """Plot the running mean of the loss of each run, and the validation score of each epoch."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mlcmr", "font.size": 9}):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        panels = figure.subplots(2, 2)
        for results in runs:
            column = COLLECTIONS.index(results.parent.name.split("-")[0])
            lines = [json.loads(line) for line in (results.parent / "metrics.jsonl").read_text().splitlines()]
            name = results.parent.name.split("-", 1)[1]
            losses = [(line["step"], line["loss"]) for line in lines if "lr" in line and "loss" in line]
            steps, loss = np.array(losses).T
            mean = np.convolve(loss, np.ones(RUNNING) / RUNNING, "valid")
            (drawn,) = panels[0, column].plot(steps[RUNNING - 1 :], mean, label=name)
            sums = [line["val/score"] for line in lines if "val/score" in line]
            panels[1, column].plot(range(1, len(sums) + 1), sums, "o-", color=drawn.get_color(), label=name)
        for column, collection in enumerate(COLLECTIONS):
            panels[0, column].set(title=collection, xlabel="step", ylabel="loss of a batch, running mean")
            panels[1, column].set(xlabel="epoch", ylabel="validation score")
            panels[1, column].axhline(_chance(runs, collection), color="grey", linestyle=":", label="chance")
            panels[1, column].set_ylim(bottom=0)
            panels[1, column].xaxis.set_major_locator(MaxNLocator(integer=True))
            panels[1, column].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.1), ncols=2)
        figure.savefig(path, metadata={"Date": None})


def _chance(runs: list[Path], collection: str) -> float:
    evaluations = (
        json.loads(results.read_text(encoding="utf-8"))["evaluations"]
        for results in runs
        if results.parent.name.startswith(collection)
    )
    found: list[dict[str, Any]] = next(evaluations)
    return sum(float(one["chance"]["SumR"]) for one in found)


def _encoder(results: Path) -> str:
    return results.parent.name.rsplit("-", 1)[1]


def _place(results: Path) -> tuple[int, bool, str]:
    name = results.parent.name
    scenario = ["unparallel", "pseudo", "parallel"]
    kind = next(k for k, s in enumerate(scenario) if s in name)
    return COLLECTIONS.index(name.split("-")[0]), _encoder(results) == "small", str((2 - kind) % 3) + name


if __name__ == "__main__":
    main()
