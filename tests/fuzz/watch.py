"""The parent of the workers: starts them, and takes note when one of them ends, or hangs, by an input."""

import hashlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
_ROOT = Path(__file__).parents[2]
_HANGS = 60  # seconds with one input
_STARTS = 180  # seconds until the first input


@dataclass(frozen=True)
class Fault:
    """An input that did what none may do."""

    target: str
    what: str
    content: bytes
    digest: str


@dataclass
class Result:
    """The number of inputs of a run, and its faults."""

    fed: int = 0
    faults: list[Fault] = field(default_factory=list)


def fuzz(
    names: Sequence[str],
    *,
    seed: int = 0,
    count: int = 0,
    seconds: float = 0,
    module: str = "tests.fuzz.targets",
) -> Result:
    """Feed targets one after the other; start again where an input ends the process.

    Args:
        names: The targets.
        seed: Another seed makes other inputs.
        count: How many inputs for each target, times its share; or
        seconds: how long for all of them together.
        module: Where the targets are.
    """
    result, left = Result(), list(names)
    end = time.monotonic() + seconds
    while left:
        remaining = max(1.0, end - time.monotonic()) if seconds else 0
        current = _feed(left, module, seed, count, remaining, result)
        if current is None:
            break
        left = left[left.index(current) :] if seconds else left[left.index(current) + 1 :]
        if seconds and time.monotonic() > end:
            break
        seed += 1000
    return result


def _feed(
    names: Sequence[str], module: str, seed: int, count: int, seconds: float, result: Result
) -> str | None:
    """Run one worker to its end; return the target whose input ended it, if one did."""
    words = [sys.executable, "-m", "tests.fuzz.worker", *names, "--module", module, "--seed", str(seed)]
    words += ["--count", str(count)] if count else ["--seconds", str(seconds)]
    worker = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(), cwd=_ROOT
    )
    assert worker.stdout is not None
    name, file, started = names[0], None, time.time()
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while True:
            if selector.select(1):
                chunk = os.read(worker.stdout.fileno(), 1 << 16)
                if not chunk:
                    break
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    content = json.loads(line)
                    name = content["target"]
                    if "file" in content:
                        file, started = Path(content["file"]), time.time()
                    elif "fault" in content:
                        given = bytes.fromhex(content["input"])
                        result.faults.append(Fault(name, content["fault"], given, content["digest"]))
                    else:
                        result.fed += content["fed"]
            elif _waits(file, started):
                worker.kill()
    status = worker.wait()
    errors = worker.stderr.read().decode(errors="replace") if worker.stderr else ""
    if status == 0:
        return None
    given = b""
    with suppress(OSError, TypeError):
        given = file.read_bytes()  # type: ignore[union-attr]
    what = f"the process hangs or ends with status {status} {errors[-300:]}"
    result.faults.append(Fault(name, what, given, hashlib.sha256(given).hexdigest()[:12]))
    return name


def _waits(file: Path | None, started: float) -> bool:
    """Return if the worker has been busy with one input for too long."""
    now = time.time()
    try:
        return file is not None and now - file.stat().st_mtime > _HANGS
    except FileNotFoundError:
        return now - started > _STARTS


def _environment() -> dict[str, str]:
    paths = [str(_ROOT / "src"), str(_ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
