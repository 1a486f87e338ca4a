"""A table of text in the formats of papers and pages: Markdown, LaTeX and HTML."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlcmr.data.text_table import TextTable
from mlcmr.errors import InvalidValueError

_LATEX = {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"±": r"$\pm$", "−": "$-$", "×": r"$\times$", "·": r"$\cdot$"}
_LATEX_CHARACTER = re.compile("|".join(map(re.escape, _LATEX)))
_STYLE = """
:root { color-scheme: light dark; }
body { font-family: system-ui, sans-serif; line-height: 1.5; max-width: 76rem; margin: auto; padding: 1rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; text-align: right; white-space: nowrap; }
th.text, td.text { text-align: left; }
tbody tr, thead { border-bottom: 1px solid color-mix(in srgb, currentcolor 25%, transparent); }
""".strip()


def format_value(value: float, style: str) -> str:
    """Return a value in the format of its metric; `g` shows at most two digits after the point.

    A median rank has one digit at most, but means and deviations of median ranks have more.
    """
    return format(round(value, 2) if style == "g" else value, style)


def convert(kind: str, table: TextTable, notes: Sequence[str], content: Mapping[str, Any], title: str) -> str:
    """Return a table as `text`, `markdown`, `latex`, `html` or `json`.

    Args:
        kind: The format.
        table: The table.
        notes: The notes below the table.
        content: The content of the JSON.
        title: The title of the page.

    Raises:
        InvalidValueError: If `kind` is another format.
    """
    match kind:
        case "text":
            return to_text(table, notes)
        case "markdown":
            return to_markdown(table, notes)
        case "latex":
            return to_latex(table, notes)
        case "html":
            return to_html(table, notes, title)
        case "json":
            return json.dumps(content, indent=2, ensure_ascii=False)
    known = "text, markdown, latex, html, json"
    raise InvalidValueError(f"`kind` is '{kind}', but must be one of {known}", parameter="kind")


def to_text(table: TextTable, notes: Sequence[str]) -> str:
    """Return a table with aligned columns, and the notes below it."""
    return "\n".join([str(table), *notes])


def to_markdown(table: TextTable, notes: Sequence[str]) -> str:
    """Return a table of GitHub's Markdown, and the notes below it."""

    def line(cells: Sequence[str]) -> str:
        escaped = (cell.replace("|", r"\|") for cell in cells)
        return f"| {' | '.join(escaped)} |"

    rule = ["---"] * len(table.text_columns) + ["---:"] * len(table.number_columns)
    head = [*table.text_columns, *table.number_columns]
    return "\n".join([*map(line, [head, rule, *table.rows]), "", *(f"{note}\n" for note in notes)]).rstrip()


def to_latex(table: TextTable, notes: Sequence[str]) -> str:
    r"""Return a `tabular` for the package booktabs, with the notes as comments above it."""

    def line(cells: Sequence[str]) -> str:
        escaped = (_LATEX_CHARACTER.sub(lambda found: _LATEX[found[0]], cell) for cell in cells)
        return rf"{' & '.join(escaped)} \\"

    columns = "l" * len(table.text_columns) + "r" * len(table.number_columns)
    head = line([*table.text_columns, *table.number_columns])
    lines = [r"% \usepackage{booktabs}", *(f"% {note}" for note in notes)]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*lines, *map(line, table.rows), r"\bottomrule", r"\end{tabular}"])


def to_html(table: TextTable, notes: Sequence[str], title: str) -> str:
    """Return a page with a table, which needs nothing from the network."""
    kinds = [' class="text"'] * len(table.text_columns) + [""] * len(table.number_columns)

    def line(cells: Sequence[str], tag: str) -> str:
        escaped = (
            f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True)
        )
        return f"<tr>{''.join(escaped)}</tr>"

    head = line([*table.text_columns, *table.number_columns], "th")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
            f"<div><table>\n<thead>{head}</thead>\n<tbody>",
            *(line(row, "td") for row in table.rows),
            "</tbody>\n</table></div>",
            *(f"<p>{html.escape(note)}</p>" for note in notes),
            "</body>\n</html>",
        ]
    )
