"""Progress of long work, for people: on the error stream, as bars in a terminal and as lines in a file."""

import os
import re
import time
from collections.abc import Callable, Iterator
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

FIRST, LONGEST = 30.0, 120.0
"""Seconds that work takes before a line tells of it; and the longest wait for the next line."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class _Bars(Progress):
    """Bars that move, for a terminal."""

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
    """A line now and then, for a file: about work that takes long, and from line to line less often."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        # The speed is that of the last twenty minutes: a single film may take as many.
        super().__init__(console=console, disable=True, get_time=clock, speed_estimate_period=10 * LONGEST)
        self.start()

    def start(self) -> None:
        """Begins to wait for the first line."""
        self._written, self._wait = self.get_time(), FIRST

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Counts, and writes a line when it is time."""
        super().update(task_id, **changes)
        now = self.get_time()
        (task,) = (one for one in self.tasks if one.id == task_id)
        if now - self._written >= self._wait:
            self.console.print(_line(task), highlight=False, markup=False, soft_wrap=True)
            self._written, self._wait = now, min(2 * self._wait, LONGEST)


def _line(task: Task) -> str:
    """`extracting: 120 of 4,000 (3 %), 31 frames/s, 1:02:03 left`."""
    parts = [f"{int(task.completed):,} of {task.total:,.0f} ({int(task.percentage)} %)", task.fields["note"]]
    if task.time_remaining:
        parts.append(f"{timedelta(seconds=task.time_remaining)} left")
    return f"{task.description}: {', '.join(filter(None, parts))}"


class Display:
    """How far pieces of work are: a bar for each while it is done, or lines where it takes long.

    Args:
        quiet: Show nothing, as where other processes do the same work and one of them shows it.
        clock: Tells the time, in seconds, for lines.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.bars = _Bars(self.console) if self.console.is_interactive else _Lines(self.console, clock)

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def say(self, line: str) -> None:
        """Prints a line, above the bars."""
        self.bars.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)

    def begin(self, description: str, total: int, done: int = 0) -> TaskID:
        """Begins a piece of work of `total` items, `done` of which are done."""
        return self.bars.add_task(description, total=total, completed=done, note="")

    @contextmanager
    def work(self, description: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
        """A piece of work from beginning to end; yields the function that is told how many more are done."""
        task = self.begin(description, total, done)
        try:
            yield lambda count: self.bars.update(task, advance=count)
        finally:
            self.bars.remove_task(task)

    @contextmanager
    def steps(self) -> Iterator[Callable[[str, int, int], None]]:
        """Pieces of work that come as it is said which one it is, how much of it is done, and of how much."""
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for task in tasks.values():
                    self.bars.remove_task(task)
                tasks.clear()
                tasks[what] = self.begin(what, total)
            self.bars.update(tasks[what], completed=done, total=total)

        yield tell


def printable(text: str | os.PathLike[str]) -> str:
    """A line or path as it can be shown anywhere.

    What would move the cursor or end the line is escaped, as in Python, and so are bytes that are not UTF-8.
    """
    return _UNPRINTABLE.sub(_escaped, os.fspath(text))


def _escaped(found: re.Match[str]) -> str:
    byte = ord(found[0]) - 0xDC00  # as Python has bytes that are not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else found[0].encode("unicode_escape").decode()


def many(count: int, what: str) -> str:
    """`1 epoch`, `1,000 epochs`: a number of what is named in the singular."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
