"""Taking times: medians, the part that another process cannot disturb, and memory."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Options:
    """What the command line chose.

    Attributes:
        captions: A folder with VATEX's caption files, or None: made up in the lengths of VATEX's.
        encoder: The text encoder, by folder or hub id; its weights are not read.
        repeats: How often each work is measured.
        device: Where models run, `cpu` or `cuda`.
    """

    captions: str | None
    encoder: str
    repeats: int
    device: str = "cpu"


@dataclass(frozen=True)
class Time:
    """Medians over repeats, in seconds.

    Attributes:
        wall: By the clock.
        cpu: Of the processor, all threads added up. Divided by the threads that work at a time, it is about
            what the clock would show if no other process wanted the processor.
    """

    wall: float
    cpu: float


def median_time(work: Callable[[], object], repeats: int, warm_up: int = 1) -> Time:
    """Runs `work` a few times, the first `warm_up` of them unmeasured."""
    walls, cpus = [], []
    for turn in range(warm_up + repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        if turn >= warm_up:
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    return Time(statistics.median(walls), statistics.median(cpus))


def fresh(module: str, **arguments: Any) -> dict[str, Any]:
    """What `main(**arguments)` of a module returns in a process of its own, which carries no one's memory.

    `main` also gets `started`, the time at which the process was asked for, and its result `peak_gb`, the
    most memory that the process held at any time.
    """
    arguments["started"] = time.time()
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure", module, json.dumps(arguments)],
        cwd=CHECKOUT,
        env=os.environ | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


def answer(result: dict[str, Any]) -> None:
    """In the process that `fresh` began: hands the result back."""
    result["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    answer(import_module(sys.argv[1]).main(**json.loads(sys.argv[2])))
