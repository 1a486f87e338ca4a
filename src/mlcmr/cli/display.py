"""The progress of long work on the error stream: bars in a terminal, lines in a file."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from mlcmr.cli.argv import with_options
from mlcmr.text import printable

FIRST, LONGEST = 30.0, 120.0
"""Seconds before the first line of a task, and the longest time between two lines."""
WIDE = 10_000
"""A width, in characters, for any table."""


class _Bars(Progress):
    """Moving bars, for a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
            disable=console.quiet,
        )


class _Lines(Progress):
    """Lines about long work, for a file; the time between lines doubles."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        # The speed is that of the last twenty minutes: a single film may take that long.
        super().__init__(console=console, disable=True, get_time=clock, speed_estimate_period=10 * LONGEST)
        self.start()

    def start(self) -> None:
        """Begin to wait for the first line."""
        self._written, self._wait = self.get_time(), FIRST

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Count, and write a line if the wait is over."""
        super().update(task_id, **changes)
        now = self.get_time()
        (task,) = (task for task in self.tasks if task.id == task_id)
        if now - self._written >= self._wait:
            self.console.print(_line(task), highlight=False, markup=False, soft_wrap=True)
            self._written, self._wait = now, min(2 * self._wait, LONGEST)


def _line(task: Task) -> str:
    """Return a line: `extracting: 120 of 4,000 (3 %), 31 frames/s, 1:02:03 left`."""
    parts = [f"{int(task.completed):,} of {task.total:,.0f} ({int(task.percentage)} %)", task.fields["note"]]
    if task.time_remaining:
        parts.append(f"{timedelta(seconds=task.time_remaining)} left")
    return f"{task.description}: {', '.join(filter(None, parts))}"


class _ShownTask:
    """A task of `Display`; see `mlcmr.progress.Task`."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, count: float = 1, *, note: str | None = None) -> None:
        """Count further items as done."""
        self._bars.update(self._task, advance=count, **_noted(note))

    def update(self, done: float, *, total: float | None = None, note: str | None = None) -> None:
        """Set the number of items that are done, and the total if it has changed."""
        self._bars.update(self._task, completed=done, total=total, **_noted(note))


def _noted(note: str | None) -> dict[str, Any]:
    return {} if note is None else {"note": note}


class Display:
    """Progress as a bar for each open task, or as lines about long tasks; see `mlcmr.progress.Progress`.

    Args:
        quiet: Show nothing, as in all but one of several processes with the same work.
        clock: The time in seconds, for lines.
        options: The options of the command by parameter; messages name parameters in backticks.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._options = options or {}
        self.console = Console(stderr=True, quiet=quiet)
        self.bars = _Bars(self.console) if self.console.is_interactive else _Lines(self.console, clock)

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    @contextmanager
    def task(self, name: str, total: float, done: float = 0) -> Iterator[_ShownTask]:
        """Open a task; its bar goes when the context ends."""
        task = self.bars.add_task(name, total=total, completed=int(done), note="")
        try:
            yield _ShownTask(self.bars, task)
        finally:
            self.bars.remove_task(task)

    def message(self, line: str) -> None:
        """Print a line, above the bars."""
        self.bars.console.print(
            printable(with_options(line, self._options)), highlight=False, markup=False, soft_wrap=True
        )


def output() -> Console:
    """Return a console for the standard output; through a pipe or into a file, no line is broken."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)
