"""Hits as a table for people."""

import pytest

from mlcmr.cli import main
from mlcmr.data.captions import write_captions
from mlcmr.search.show import time_range


def test_markup_in_captions_is_shown_as_it_is(place, trained, capsys, monkeypatch):
    path = place / "tiny" / "TextData" / "tinytrain.caption.txt"
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    write_captions(path, [(one, f"[red]{text}[/bold]") for one, text in lines])
    monkeypatch.chdir(place)
    assert main(["index", "tiny", "--run", str(trained), "--device", "cpu"]) == 0
    assert main(["search", "A dog runs.", "-k", "1"]) == 0
    assert "[red]A dog runs.[/bold]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [(0, 2, "0:00–0:02"), (12, 20.9, "0:12–0:20"), (59.99, 61, "0:59–1:01"), (3599, 3725, "59:59–1:02:05")],
)
def test_time_ranges(start, end, shown):
    assert time_range(start, end) == shown
