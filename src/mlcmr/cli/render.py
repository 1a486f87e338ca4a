"""Search results as tables for people and as JSON for programs."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcmr.cli.display import WIDE, output
from mlcmr.data.language_detection import UNKNOWN
from mlcmr.search.hits import CaptionHit, Hit
from mlcmr.search.searcher import Searcher
from mlcmr.text import printable


def hits_table(hits: Sequence[Hit], *, paths: bool = True) -> Table:
    """Return a table of hits; in many terminals, the video is a link.

    Args:
        hits: The hits.
        paths: Whether the table has a column with the paths of the files.
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
            "time": Text(hit.time_range),
            "video": Text(printable(hit.video), style=f"link {Path(hit.path).as_uri()}" if hit.path else ""),
            "caption": Text(printable(hit.caption)),
            "path": Text(printable(hit.path)),
        }
        table.add_row(*(cells[name] for name, _ in shown))
    return table


def captions_table(hits: Sequence[CaptionHit]) -> Table:
    """Return a table of captions."""
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
    """Print hits; in a table for people, also whether the search was exact.

    The table has no paths if the terminal is too narrow.
    """
    if as_json:
        _print_json(hits)
        return
    table = hits_table(hits)
    console = Console()
    if console.is_terminal and Console(width=WIDE).measure(table).maximum > console.width:
        table = hits_table(hits, paths=False)
    _print(table, searcher, searcher.describe_search())


def note_unknown_language(text: str, language: str | None, searcher: Searcher) -> None:
    """Print a note if the model was not trained in the language of a query."""
    code, trained = searcher.language_of(text, language), searcher.trained_languages
    if trained and code not in trained:
        other = "another language" if code == UNKNOWN else code
        _note(f"the model was trained in {', '.join(trained)}; hits for {other} may be poor")


def print_captions(hits: Sequence[CaptionHit], searcher: Searcher, *, as_json: bool) -> None:
    """Print captions; in a table for people, also whether the search was exact."""
    if as_json:
        _print_json(hits)
    else:
        languages = ", ".join(searcher.languages)
        held = f"it has captions in {languages}" if languages else "it has no captions"
        _print(
            captions_table(hits),
            searcher,
            searcher.describe_search(captions=True),
            f"no such captions in the index; {held}",
        )


def _print_json(hits: Sequence[Hit] | Sequence[CaptionHit]) -> None:
    print(json.dumps([hit.to_dict() for hit in hits], indent=2, ensure_ascii=False))


def _print(table: Table, searcher: Searcher, how: str, nothing: str = "nothing found") -> None:
    console = output()
    console.print(table if table.row_count else nothing, soft_wrap=not table.row_count)
    _note(f"{how}, model {searcher.model_name}")


def _note(line: str) -> None:
    Console(stderr=True).print(printable(line), style="dim", highlight=False, markup=False, soft_wrap=True)
