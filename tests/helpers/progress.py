"""Progress that tests can look at."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlcmr.progress import Task


class RecordedTask:
    """A task that reports each change to its `RecordedProgress`."""

    def __init__(self, report: Callable[[float, float, str | None], None], total: float, done: float) -> None:
        self._report = report
        self._total = total
        self._done = done

    def advance(self, count: float = 1, *, note: str | None = None) -> None:
        self.update(self._done + count, note=note)

    def update(self, done: float, *, total: float | None = None, note: str | None = None) -> None:
        self._done = done
        self._total = self._total if total is None else total
        self._report(self._done, self._total, note)


class RecordedProgress:
    """Records each task and each of its changes as (name, done, total), each note, and each message.

    Args:
        on_change: Called with each change.
    """

    def __init__(self, on_change: Callable[[str, float, float], None] | None = None) -> None:
        self.tasks: list[tuple[str, float, float]] = []
        self.changes: list[tuple[str, float, float]] = []
        self.notes: list[str] = []
        self.messages: list[str] = []
        self._on_change = on_change

    @contextmanager
    def task(self, name: str, total: float, done: float = 0) -> Iterator[Task]:
        def report(done: float, total: float, note: str | None) -> None:
            self.changes.append((name, done, total))
            if note is not None:
                self.notes.append(note)
            if self._on_change:
                self._on_change(name, done, total)

        self.tasks.append((name, done, total))
        yield RecordedTask(report, total, done)

    def message(self, line: str) -> None:
        self.messages.append(line)
