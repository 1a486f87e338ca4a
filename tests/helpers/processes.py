"""`mlcmr` in processes of their own that tests can kill.

They are forked from a server that has imported everything, so that one takes a fraction of a second, and not
the seconds that importing torch takes.
"""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from time import monotonic, sleep

TIMEOUT = 120.0  # seconds


def server() -> ForkServerContext:
    """Starts processes that have imported all that is slow to import."""
    context = multiprocessing.get_context("forkserver")
    packages = (
        "cli.app",
        "training.run_training",
        "translation.translate_collection",
        "search.indexing.index",
        "search.stores.qdrant_edge",
    )
    context.set_forkserver_preload(["tests.helpers.processes", *(f"mlcmr.{package}" for package in packages)])
    return context


def start_function(function: Callable[..., None], *arguments: str) -> ForkServerProcess:
    """Starts a function of a test module."""
    process = server().Process(target=function, args=arguments)
    process.start()
    return process


def wait_for_bytes(log: Path, count: int, process: ForkServerProcess) -> None:
    """Until a log is so long, or the process has ended."""
    while process.is_alive() and (not log.exists() or log.stat().st_size < count):
        sleep(0.001)


@dataclass
class Command:
    """A command that runs."""

    process: ForkServerProcess
    log: Path

    def kill(self) -> None:
        """Kill the process, as `kill -9` does."""
        self.process.kill()
        self.process.join(TIMEOUT)

    def wait(self) -> int:
        """The exit status."""
        self.process.join(TIMEOUT)
        status = self.process.exitcode
        assert status is not None, f"still running: {self.output}"
        return status

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for the condition; return False if the command ended first."""
        end = monotonic() + TIMEOUT
        while self.process.is_alive():
            if condition():
                return True
            assert monotonic() < end, f"nothing happened: {self.output}"
            sleep(0.0005)
        return False

    @property
    def descendants(self) -> set[int]:
        """The ids of the processes that it started, and those they started."""
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                after_name = stat.read_text().rpartition(")")[2].split()
                parents[int(stat.parent.name)] = int(after_name[1])
        found = {self.process.pid}
        while more := {child for child, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    @property
    def output(self) -> str:
        """The text that the command printed, on both streams."""
        return self.log.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


def start(
    words: Sequence[str | Path],
    log: Path,
    *,
    largest_file: int | None = None,
    start_method: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Command:
    """Starts `mlcmr <words>`.

    Args:
        words: Its arguments.
        log: Where its output goes.
        largest_file: Files cannot grow beyond this many bytes, as if the disk were full.
        start_method: How it starts processes itself; by default as any program does.
        environment: Variables that it has besides.
    """
    log.touch()
    arguments = ([str(word) for word in words], str(log), largest_file, start_method, environment or {})
    process = server().Process(target=_main, args=arguments)
    process.start()
    return Command(process, log)


def run(words: Sequence[str | Path], log: Path, *, largest_file: int | None = None) -> Command:
    """Runs `mlcmr <words>` to its end."""
    command = start(words, log, largest_file=largest_file)
    command.wait()
    return command


@contextmanager
def serving(index: Path, log: Path) -> Iterator[tuple[Command, str]]:
    """`mlcmr serve`: the command and its address. Its log lies beside its `tmp`."""
    temporary = log.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    words = ["serve", index, "--port", "0", "--rate", "0", "--device", "cpu"]
    command = start(words, log, environment={"TMPDIR": str(temporary)})
    try:
        assert command.wait_until(lambda: "stop: Ctrl+C" in command.output), command.output
        (url,) = (line.split()[1] for line in command.lines if line.startswith("page: "))
        yield command, url.rstrip("/")
    finally:
        command.kill()


def _main(
    words: list[str],
    log: str,
    largest_file: int | None,
    start_method: str | None,
    environment: Mapping[str, str],
) -> None:
    os.environ.update(environment)
    tempfile.tempdir = None  # it may have been asked for before
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    os.dup2(output, 1)
    os.dup2(output, 2)
    # A program that was started in the background ignores Ctrl-C, and so do those that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method(start_method, force=True)  # type: ignore[arg-type]
    import torch

    from mlcmr.cli import main

    torch.set_num_threads(1)
    sys.exit(main(words))
