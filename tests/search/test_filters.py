"""Filters as people write them."""

import pytest

from mlcmr.errors import InvalidValueError
from mlcmr.search import Filters
from mlcmr.search.filters import Condition


@pytest.mark.parametrize(
    "written",
    ["", "duration", "duration<", "duration<x", "duration<nan", "duration<inf", "duration~6",
     "kind=film", "kind<3", "colour=red", "language=en", "video", "=", "path<3", "duration<1e999",
     "x" * 10_000, "duration<5<6"],
)  # fmt: skip
def test_filters_that_cannot_be(written):
    with pytest.raises(InvalidValueError, match=r"^filter '.*(filters are|compared with)") as caught:
        Filters.parse(["duration<5", written])
    assert len(str(caught.value)) < 500


def test_a_path_may_have_anything_in_it():
    (one,) = Filters.parse(["path~a=b<c ~ d"]).conditions
    assert one == Condition("path", "~", "a=b<c ~ d")


def test_accents_may_be_written_in_two_ways_in_each_folder():
    joined, apart = "é", "e\u0301"
    (one,) = Filters.parse([f"path~{joined}/{joined}.mp4"]).conditions
    assert set(one.texts) == {f"{a}/{b}.mp4" for a in (joined, apart) for b in (joined, apart)}
    (video,) = Filters.parse([f"video={apart}"]).conditions
    assert set(video.texts) == {joined, apart}
    (deep,) = Filters.parse([f"path={'/'.join([joined] * 200)}"]).conditions
    assert len(deep.texts) <= 16
