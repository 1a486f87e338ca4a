"""Hits as text for people, and as dictionaries for programs."""

import json
from dataclasses import asdict, replace

import pytest

from mlcmr.search import CaptionHit, Hit

HIT = Hit("cat01", 2, 0.6126, "/films/cat01.mp4", 12.0, 20.9, 42.5, 64, 48, "video", "", "A cat sleeps.")
CAPTION = CaptionHit("cat01", "cat01#enc#0", "en", "A cat\nsleeps.", 0.5)


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (0, 2, "0:00–0:02"),
        (12, 20.9, "0:12–0:20"),
        (59.99, 61, "0:59–1:01"),
        (3599, 3725, "59:59–1:02:05"),
        (0, 0, ""),
    ],
)
def test_time_ranges(start, end, shown):
    assert replace(HIT, start=start, end=end).time_range == shown


def test_a_hit_is_one_line():
    assert str(HIT) == "cat01 0:12–0:20 0.613"
    assert str(replace(HIT, video="cat\n01", start=0.0, end=0.0)) == r"cat\n01 0.613"
    assert str(CAPTION) == r"cat01 0.500 A cat\nsleeps."


@pytest.mark.parametrize("hit", [HIT, CAPTION])
def test_a_hit_is_a_dictionary(hit):
    assert json.loads(json.dumps(hit.to_dict())) == asdict(hit)
