"""Messages about a collection: problems and warnings, with many of one kind cut short."""

from dataclasses import dataclass, field

from mlcmr.text import printable

SHOWN = 5
"""The number of messages of one kind in one file that are shown."""


class MessageList:
    """One line per message; of many of one kind in one file, the first few and the number of the others.

    Attributes:
        count: The number of messages, including those that are not shown.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lines: dict[tuple[str, str], list[str]] = {}
        self._hidden: dict[tuple[str, str], int] = {}

    def add(self, where: str, message: str, *, line: int | None = None, kind: str = "") -> None:
        """Add one message.

        Args:
            where: The file or folder, relative to the collection.
            message: The fault.
            line: The line in the file, from 1.
            kind: A plural noun for messages of which there may be many: it ends `… and 1,204 more …`.
        """
        self.count += 1
        group = where, kind or message
        lines = self._lines.setdefault(group, [])
        if len(lines) == SHOWN:
            self._hidden[group] = self._hidden.get(group, 0) + 1
        else:
            place = where if line is None else f"{where}:{line}"
            lines.append(printable(f"{place}: {message}"))

    def as_list(self) -> list[str]:
        """Return all lines, kind by kind in the order of the first message of each kind."""
        result = []
        for group, lines in self._lines.items():
            result.extend(lines)
            if hidden := self._hidden.get(group):
                where, kind = group
                result.append(printable(f"{where}: … and {hidden:,} more {kind}"))
        return result


@dataclass(frozen=True, slots=True)
class Findings:
    """The messages of a check.

    Attributes:
        problems: Faults that make a later command fail or measure the wrong thing.
        warnings: Facts that a user should know, but that may be intended.
    """

    problems: MessageList = field(default_factory=MessageList)
    warnings: MessageList = field(default_factory=MessageList)
