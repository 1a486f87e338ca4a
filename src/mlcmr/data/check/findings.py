"""Lines about what is wrong with a collection."""

from dataclasses import dataclass, field

from mlcmr.display import printable

SHOWN = 5


class Lines:
    """One line per finding; of many of one kind in one file, the first few and how many more there are.

    Attributes:
        count: How many findings there are, those not shown included.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lines: dict[tuple[str, str], list[str]] = {}
        self._hidden: dict[tuple[str, str], int] = {}

    def add(self, where: str, message: str, *, line: int | None = None, kind: str = "") -> None:
        """Adds one finding.

        Args:
            where: The file or folder, relative to the collection.
            message: What is wrong.
            line: Where in the file, from 1.
            kind: For what there may be many of: a plural noun that ends `… and 1,204 more …`.
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
        """All lines, kind by kind in the order of their first finding."""
        result = []
        for group, lines in self._lines.items():
            result.extend(lines)
            if hidden := self._hidden.get(group):
                where, kind = group
                result.append(printable(f"{where}: … and {hidden:,} more {kind}"))
        return result


@dataclass(frozen=True, slots=True)
class Findings:
    """What would go wrong, and what is worth knowing."""

    problems: Lines = field(default_factory=Lines)
    warnings: Lines = field(default_factory=Lines)
