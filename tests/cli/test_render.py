"""Hits as a table for people."""

import json
from types import SimpleNamespace
from typing import Any

from mlcmr.cli import main
from mlcmr.cli.render import print_captions, print_hits
from mlcmr.data.captions import write_captions
from mlcmr.search.hits import CaptionHit, Hit


def test_markup_in_captions_is_shown_as_it_is(place, trained, capsys, monkeypatch):
    path = place / "tiny" / "TextData" / "tinytrain.caption.txt"
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    write_captions(path, [(one, f"[red]{text}[/bold]") for one, text in lines])
    monkeypatch.chdir(place)
    assert main(["index", "tiny", "--run", str(trained), "--device", "cpu"]) == 0
    assert main(["search", "A dog runs.", "-k", "1"]) == 0
    assert "[red]A dog runs.[/bold]" in capsys.readouterr().out


def test_control_characters_are_shown_escaped_and_given_to_programs_as_they_are(capsys):
    odd = "dog\x1b[31m\nruns"
    video = Hit(odd, 0, 0.5, f"/{odd}.mp4", 0.0, 2.0, 2.0, 64, 48, "video", "", odd)
    caption = CaptionHit(odd, f"{odd}#en#0", "en", odd, 0.5)
    searcher: Any = SimpleNamespace(describe_search=lambda **_: "exact", model_name="tiny", languages=("en",))
    for print_, hit in ((print_hits, video), (print_captions, caption)):
        print_([hit], searcher, as_json=False)
        shown = capsys.readouterr().out
        assert len(shown.splitlines()) == 2
        assert "\x1b" not in shown
        assert r"dog\x1b[31m\nruns" in shown
        print_([hit], searcher, as_json=True)
        assert json.loads(capsys.readouterr().out)[0]["video"] == odd
