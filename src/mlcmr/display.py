"""Progress of long work, for people: on the error stream, and only bars where that is a terminal."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Display:
    """Progress bars, one line per piece of work; a line goes when its work is done.

    Args:
        quiet: Show nothing, as where other processes do the same work and one of them shows it.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def say(self, line: str) -> None:
        """Prints a line above the bars."""
        self.bars.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def begin(self, description: str, total: int, done: int = 0) -> TaskID:
        """Adds a bar."""
        return self.bars.add_task(description, total=total, completed=done, note="")

    @contextmanager
    def work(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar for work of `total` items; yields the function that is told how many more are done."""
        task = self.begin(description, total)
        try:
            yield lambda count: self.bars.advance(task, count)
        finally:
            self.bars.remove_task(task)

    @contextmanager
    def steps(self) -> Iterator[Callable[[str, int, int], None]]:
        """Bars that come as work says what it is at, how much of that is done, and of how much."""
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for task in tasks.values():
                    self.bars.remove_task(task)
                tasks.clear()
                tasks[what] = self.begin(what, total)
            self.bars.update(tasks[what], completed=done, total=total)

        yield tell


def printable(path: str | os.PathLike[str]) -> str:
    """A path that can be written anywhere: bytes in it that are not UTF-8 by their numbers."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def many(count: int, what: str) -> str:
    """`1 epoch`, `1,000 epochs`: a number of what is named in the singular."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
