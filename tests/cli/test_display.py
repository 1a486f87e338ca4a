"""Progress in a file: lines when work takes long, and nothing when it does not or is not to be shown."""

import pytest

from mlcmr.cli.display import Display
from mlcmr.text import printable


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def work_through(display, clock, count, seconds):
    """Work of `count` items of so many seconds each."""
    with display, display.task("videos", count) as task:
        for _ in range(count):
            clock.now += seconds
            task.advance()


def test_lines_come_when_work_takes_long_and_then_less_often(clock, capsys):
    work_through(Display(clock=clock), clock, 2000, 0.25)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "videos: 120 of 2,000 (6 %), 0:07:50 left",
        "videos: 360 of 2,000 (18 %), 0:06:50 left",
        "videos: 840 of 2,000 (42 %), 0:04:50 left",
        "videos: 1,320 of 2,000 (66 %), 0:02:50 left",
        "videos: 1,800 of 2,000 (90 %), 0:00:50 left",
    ]


def test_work_that_is_done_before_the_first_line_writes_none(clock, capsys):
    display = Display(clock=clock)
    for _ in range(10):
        work_through(display, clock, 29, 1)
    assert capsys.readouterr() == ("", "")


def test_lines_come_of_many_pieces_of_work_too(clock, capsys):
    with Display(clock=clock) as display:
        for piece in range(40):
            with display.task(f"piece {piece}", 100) as task:
                for _ in range(100):
                    clock.now += 1
                    task.advance()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == ["piece 0", "piece 0", "piece 2", "piece 3"]
    assert 30 < len(lines) < 36


def test_a_quiet_display_writes_nothing(clock, capsys):
    display = Display(quiet=True, clock=clock)
    work_through(display, clock, 100, 10)
    display.message("nobody is told")
    assert capsys.readouterr() == ("", "")


def test_what_moves_the_cursor_or_ends_a_line_is_shown_escaped(capsys):
    assert (
        printable("狗\x1b[31m\x9b\a\r\n\u2028\udcff\ud83d 🐕") == r"狗\x1b[31m\x9b\x07\r\n\u2028\xff\ud83d 🐕"
    )
    Display().message("skipped: a\x1b[2J\nb")
    assert capsys.readouterr().err == "skipped: a\\x1b[2J\\nb\n"


def test_items_that_take_longer_than_it_takes_to_the_next_line(clock, capsys):
    work_through(Display(clock=clock), clock, 3, 500)
    assert capsys.readouterr().err.splitlines() == [
        "videos: 1 of 3 (33 %)",  # one alone tells nothing of the others
        "videos: 2 of 3 (66 %), 0:08:20 left",
        "videos: 3 of 3 (100 %)",
    ]


def test_what_was_done_before_says_nothing_of_how_long_the_rest_takes(clock, capsys):
    display = Display(clock=clock)
    with display, display.task("videos", 1000, 900) as task:
        for _ in range(40):
            clock.now += 1
            task.advance()
    assert capsys.readouterr().err == "videos: 930 of 1,000 (93 %), 0:01:10 left\n"


def test_a_line_has_the_note_of_the_task(clock, capsys):
    display = Display(clock=clock)
    with display, display.task("extracting", 10) as task:
        for _ in range(3):
            clock.now += 10
            task.advance(note="31 frames/s")
    assert capsys.readouterr().err == "extracting: 3 of 10 (30 %), 31 frames/s, 0:01:10 left\n"


def test_a_total_may_change(clock, capsys):
    display = Display(clock=clock)
    with display, display.task("long", 60) as task:
        for done in range(1, 61):
            clock.now += 1
            task.update(done, total=120)
    assert capsys.readouterr().err == "long: 30 of 120 (25 %), 0:01:30 left\n"


def test_a_terminal_has_bars_and_no_lines(clock, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    work_through(Display(clock=clock), clock, 100, 10)
    out, err = capsys.readouterr()
    assert out == ""
    assert "━" in err
    assert "1,000" not in err
    assert " of 100 " not in err
    monkeypatch.setenv("TERM", "dumb")
    work_through(Display(clock=clock), clock, 100, 10)
    assert "━" not in (err := capsys.readouterr().err)
    assert "videos: 3 of 100 (3 %)" in err
