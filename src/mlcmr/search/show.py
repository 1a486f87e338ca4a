"""Hits as a table for people."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcmr.search.searcher import CaptionHit, Hit, Searcher


def hits_table(hits: Sequence[Hit]) -> Table:
    """Rank, score, time range, video, caption and file of each hit; the file is a link in many terminals."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = [
        ("#", "", lambda _: True),
        ("score", "", lambda _: True),
        ("time", "", lambda hit: hit.end > 0),
        ("video", "", lambda _: True),
        ("caption", "italic", lambda hit: hit.caption),
        ("path", "dim", lambda hit: hit.path),
    ]
    shown = [(name, style) for name, style, has in columns if any(map(has, hits))]
    for name, style in shown:
        number = name in {"#", "score", "time"}
        table.add_column(
            name, style=style, justify="right" if number else "left", no_wrap=number, overflow="fold"
        )
    for rank, hit in enumerate(hits, start=1):
        cells = {
            "#": Text(str(rank)),
            "score": Text(f"{hit.score:.3f}"),
            "time": Text(time_range(hit.start, hit.end) if hit.end else ""),
            "video": Text(hit.video),
            "caption": Text(hit.caption),
            "path": Text(hit.path, style=f"link {Path(hit.path).as_uri()}" if hit.path else ""),
        }
        table.add_row(*(cells[name] for name, _ in shown))
    return table


def captions_table(hits: Sequence[CaptionHit]) -> Table:
    """Rank, score, language, text and video of each caption."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("#", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("language", "caption", "video"):
        table.add_column(name, overflow="fold")
    for rank, hit in enumerate(hits, start=1):
        cells = (str(rank), f"{hit.score:.3f}", hit.language, hit.text, hit.video)
        table.add_row(*map(Text, cells))
    return table


def print_found(table: Table, searcher: Searcher, *, captions: bool = False) -> None:
    """Prints a table of videos or captions, and how it was found; through a pipe, no line is broken."""
    console = Console() if sys.stdout.isatty() else Console(width=10_000)
    if not table.row_count:
        console.print("nothing found")
    else:
        console.print(table)
    note = f"{searcher.how(captions=captions)}, model {searcher.model_name}"
    Console(stderr=True).print(note, style="dim", highlight=False, markup=False)


def time_range(start: float, end: float) -> str:
    """`0:12–0:20`."""
    return f"{_clock(start)}–{_clock(end)}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
