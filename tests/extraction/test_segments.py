"""Segments of equal length and by shots."""

import io

import numpy as np
import pytest
from PIL import Image

from mlcmr.errors import InvalidValueError
from mlcmr.extraction import sample_file
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.segments import Segmenter, checked_rule
from tests.helpers.extraction import LIGHT


def cuts(rule, times, duration, pictures=None):
    segmenter = Segmenter(rule)
    blank = np.zeros((8, 8, 3), np.uint8)
    for number, time in enumerate(times):
        segmenter.add(time, blank if pictures is None else pictures[number])
    return [(one.start, one.end, one.frames) for one in segmenter.finish(duration)]


def test_segments_of_one_length():
    seconds = range(100)
    assert cuts(10.0, range(14), 14.0) == [(0, 14, (0, 14))]  # less than one and a half stays whole
    assert cuts(10.0, range(16), 16.0) == [(0, 10, (0, 10)), (10, 16, (10, 16))]
    assert cuts(10.0, range(24), 24.0) == [(0, 10, (0, 10)), (10, 24, (10, 24))]
    assert len(cuts(10.0, seconds, 100.0)) == 10
    assert cuts(None, seconds, 100.0) == [(0, 100, (0, 100))]
    assert cuts(10.0, [0.0, 35.0], 60.0) == [(0, 30, (0, 1)), (30, 60, (1, 2))]  # none without a row


def test_a_length_may_be_whole():
    assert cuts(10, range(24), 24.0) == cuts(10.0, range(24), 24.0)
    assert cuts(10, range(14), 14.0) == [(0, 14, (0, 14))]
    with pytest.raises(InvalidValueError, match="`segment` 0: "):
        Segmenter(0)


@pytest.mark.parametrize("length", [0.1, 0.2, 0.7, 1.1])
def test_each_row_at_a_multiple_of_a_short_length_opens_a_segment(length):
    times = [row * length for row in range(500)]
    found = cuts(length, times, 500 * length)
    assert [rows for _, _, rows in found] == [(row, row + 1) for row in range(500)]
    assert [start for start, _, _ in found] == pytest.approx(times)


def test_segments_by_shots():
    colours = {"r": (200, 30, 30), "g": (30, 200, 30), "b": (30, 30, 200)}

    def of(story):
        pictures = [np.full((24, 32, 3), colours[one], np.uint8) for one in story]
        return cuts("shots", [n / 2 for n in range(len(story))], len(story) / 2, pictures)

    assert of("rrrrggggggbbbb") == [(0, 2, (0, 4)), (2, 5, (4, 10)), (5, 7, (10, 14))]
    assert of("rrrrgrrrr")[0] == (0, 2, (0, 4))  # a flash opens one shot, and not two
    assert len(of("rrrrgrrrr")) == 2 or of("rrrrgrrrr")[1][1] - of("rrrrgrrrr")[1][0] >= 1
    assert [one[1] for one in of("r" * 300)] == [60, 120, 150]


def test_shots_by_what_is_where():
    """Rows of 8 a second; a shot takes half a second."""
    quiet = np.full((24, 32, 3), 100, np.uint8)
    left, night, lamp = quiet.copy(), quiet // 12, quiet // 3
    left[:, :16] = 250
    generator = np.random.default_rng(0)
    running = [generator.integers(0, 255, (4, 4, 3), np.uint8).repeat(6, 0).repeat(8, 1) for _ in range(16)]

    def starts(*pictures):
        return [cut[2][0] for cut in cuts("shots", [n / 8 for n in range(len(pictures))], 9.0, pictures)]

    assert starts(*[left] * 8, *[left[:, ::-1]] * 8) == [0, 8]  # the same colours elsewhere
    assert starts(*[night] * 8, *[lamp] * 8) == [0, 8]  # both are dark
    assert starts(*running) == [0]  # change is what is usual there
    assert starts(*[quiet] * 4, *[left] * 8) == [0, 4]
    assert starts(*[quiet] * 3, *[left] * 8) == [0]  # too short for a shot


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("bikes.mp4", [1.2, 3.0, 5.5, 7.5, 9.7]),
        ("Megamind_bugy.avi", [3.3, 5.2, 6.8]),  # at night
        ("rKF0ZW34FRk_41_54.avi", []),  # by a wild camera
    ],
)
def test_shots_of_real_clips(name, seconds, reference_data):
    record, _ = sample_file(reference_data(f"clips/{name}"), LIGHT, Sampling(fps=8), segment="shots")
    assert [one.start for one in record.segments[1:]] == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 500, 3), (500, 2, 3)])
def test_shots_of_slivers(shape):
    pictures = [np.zeros(shape, np.uint8)] * 8 + [np.full(shape, 255, np.uint8)] * 8
    found = cuts("shots", [n / 8 for n in range(16)], 2.0, pictures)
    assert [cut[2] for cut in found][-1][1] == 16


def test_the_thumbnail_is_the_middle_frame():
    for rows in (1, 2, 9, 64, 65, 1000):
        segmenter = Segmenter(None)
        for row in range(rows):
            segmenter.add(float(row), np.full((16, 16, 3), row * 250 // rows, np.uint8))
        (draft,) = segmenter.finish(float(rows))
        with Image.open(io.BytesIO(draft.thumbnail)) as thumbnail:
            seen = np.asarray(thumbnail).mean()
        assert seen == pytest.approx(125 * (rows - 1) / rows, abs=250 / min(rows, 32) + 3)


def test_what_segment_takes():
    assert checked_rule(10) == 10.0
    assert checked_rule("shots") == "shots"
    assert checked_rule("none") is None
    for wrong in ("", -1, 0, float("nan"), float("inf"), "ten"):
        with pytest.raises(InvalidValueError, match="`segment`"):
            checked_rule(wrong)
