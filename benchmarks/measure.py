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
    """The options of the command line.

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
        clock: By the clock.
        alone: Processor time divided by the threads that work at a time: about what the clock would show if
            no other process wanted the processor.
    """

    clock: float
    alone: float


def median_time(work: Callable[[], object], repeats: int, *, threads: int = 1, warm_up: int = 1) -> Time:
    """Run `work` on `threads` threads, `repeats` times after `warm_up` unmeasured runs."""
    clocks, processors = [], []
    for turn in range(warm_up + repeats):
        clock, processor = time.perf_counter(), processor_time()
        work()
        if turn >= warm_up:
            clocks.append(time.perf_counter() - clock)
            processors.append(processor_time() - processor)
    return Time(statistics.median(clocks), statistics.median(processors) / threads)


def processor_time() -> float:
    """Seconds of this process and of its children that are done, all threads added up."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_gb() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def fresh(module: str, **arguments: Any) -> dict[str, Any]:
    """Return the result of `main(**arguments)` of a module, run in a new process.

    `main` also gets `started`, the time at which the process was asked for.
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


if __name__ == "__main__":
    print(json.dumps(import_module(sys.argv[1]).main(**json.loads(sys.argv[2]))))
