"""Hits as a table for people, and as JSON for programs."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcmr.data.languages import language_code
from mlcmr.display import printable
from mlcmr.search.language import guess_language
from mlcmr.search.searcher import CaptionHit, Hit, Searcher

_WIDE = 10_000


def hits_table(hits: Sequence[Hit], *, paths: bool = True) -> Table:
    """Rank, score, time range, video, caption and file of each hit; the video is a link in many terminals.

    Args:
        hits: The hits.
        paths: Whether the files are named.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = [
        ("#", "", lambda _: True),
        ("score", "", lambda _: True),
        ("time", "", lambda hit: hit.end > 0),
        ("video", "", lambda _: True),
        ("caption", "italic", lambda hit: hit.caption),
        ("path", "dim", lambda hit: hit.path and paths),
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
            "video": Text(printable(hit.video), style=f"link {Path(hit.path).as_uri()}" if hit.path else ""),
            "caption": Text(printable(hit.caption)),
            "path": Text(printable(hit.path)),
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
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def print_hits(hits: Sequence[Hit], searcher: Searcher, *, as_json: bool) -> None:
    """Prints hits, and how they were found; without their files where a terminal is too narrow for them."""
    if as_json:
        _print_json(hits)
        return
    table = hits_table(hits)
    console = Console()
    if console.is_terminal and Console(width=_WIDE).measure(table).maximum > console.width:
        table = hits_table(hits, paths=False)
    _print(table, searcher, searcher.how())


def tell_of_language(text: str, language: str | None, searcher: Searcher) -> None:
    """Says of a query that its language is none of those that the model was trained in."""
    code, trained = language_code(language) if language else guess_language(text), searcher.trained_languages
    if trained and code not in trained:
        _note(f"the model was trained in {', '.join(trained)}; what it finds in {code} may be far off")


def print_captions(hits: Sequence[CaptionHit], searcher: Searcher, *, as_json: bool) -> None:
    """Prints captions, and how they were found."""
    if as_json:
        _print_json(hits)
    else:
        held = (
            f"it holds captions in {', '.join(searcher.languages)}" if searcher.languages else "it holds none"
        )
        _print(
            captions_table(hits),
            searcher,
            searcher.how(captions=True),
            f"no such captions in the index; {held}",
        )


def _print_json(hits: Sequence[Hit] | Sequence[CaptionHit]) -> None:
    print(json.dumps([asdict(hit) for hit in hits], indent=2, ensure_ascii=False))


def _print(table: Table, searcher: Searcher, how: str, nothing: str = "nothing found") -> None:
    console = Console() if sys.stdout.isatty() else Console(width=_WIDE)  # through a pipe, no line is broken
    console.print(table if table.row_count else nothing, soft_wrap=not table.row_count)
    _note(f"{how}, model {searcher.model_name}")


def _note(line: str) -> None:
    Console(stderr=True).print(printable(line), style="dim", highlight=False, markup=False, soft_wrap=True)


def time_range(start: float, end: float) -> str:
    """`0:12–0:20`."""
    return f"{_clock(start)}–{_clock(end)}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
