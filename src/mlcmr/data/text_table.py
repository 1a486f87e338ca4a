"""Tables of text: what results print, without a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table whose first columns hold texts and whose other columns hold numbers.

    Attributes:
        text_columns: The names of the columns with texts, aligned to the left.
        number_columns: The names of the columns with numbers, aligned to the right.
        rows: The cells of each row.
    """

    text_columns: Sequence[str]
    number_columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Return the table with aligned columns and a line below the names."""
        names = [*self.text_columns, *self.number_columns]
        widths = [max(map(cell_len, cells)) for cells in zip(names, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            padded = []
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
                space = " " * (width - cell_len(cell))
                padded.append(cell + space if place < len(self.text_columns) else space + cell)
            return f" {'   '.join(padded)}".rstrip()

        rule = f" {'─' * (sum(widths) + 3 * (len(widths) - 1))}"
        return "\n".join(["", line(names), rule, *map(line, self.rows), ""])
