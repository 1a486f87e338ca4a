"""The progress of long work, as functions report it to their caller.

A function that takes long has a parameter `progress: Progress = SILENT`. It opens a task for each piece of
work and never prints. The command line shows tasks as bars.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """A piece of work whose progress is shown."""

    def advance(self, count: float = 1, *, note: str | None = None) -> None:
        """Count further items as done.

        Args:
            count: The number of items.
            note: A short text beside the bar, such as a speed; None keeps the last note.
        """
        ...

    def update(self, done: float, *, total: float | None = None, note: str | None = None) -> None:
        """Set the number of items that are done, and the total if it has changed."""
        ...


class Progress(Protocol):
    """A receiver of progress and of messages."""

    def task(self, name: str, total: float, done: float = 0) -> AbstractContextManager[Task]:
        """Open a task; it ends with the context.

        Args:
            name: The work, as `extracting`.
            total: The number of items.
            done: The number of items that are done already.
        """
        ...

    def message(self, line: str) -> None:
        """Show a line, such as a file that was skipped."""
        ...


class _SilentTask:
    def advance(self, count: float = 1, *, note: str | None = None) -> None:
        """Ignore the progress."""

    def update(self, done: float, *, total: float | None = None, note: str | None = None) -> None:
        """Ignore the progress."""


class Silent:
    """Progress that is not shown."""

    @contextmanager
    def task(self, name: str, total: float, done: float = 0) -> Iterator[Task]:  # noqa: ARG002
        """Open a task that is not shown."""
        yield _SilentTask()

    def message(self, line: str) -> None:
        """Ignore a line."""


SILENT: Progress = Silent()
"""The default of functions that report progress."""
