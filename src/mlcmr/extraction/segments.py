"""Long videos in segments: of one length, or by shots; with a thumbnail each."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import UserError
from mlcmr.extraction.pictures import Picture, jpeg

SHORTEST_SHOT, LONGEST_SHOT = 0.5, 60.0
"""Seconds. A shot that never ends is cut, so that a hit says when."""
SHOT_CHANGE = 0.35
"""The share of pixels whose colours must have gone since the sampled frame before, beyond what is usual."""

_CANDIDATES = 64
_PARTS = 4
_LEVELS = 6
# Finer where it is dark: half of what is shown at night would be black.
_LEVEL_OF = (np.sqrt(np.arange(256) / 256) * _LEVELS).astype(np.int64)

Rule = float | Literal["shots"] | None
"""Seconds, by shots, or whole videos."""


def parse_rule(text: str) -> Rule:
    """What `--segment` says: a number of seconds, `shots` or `none`.

    Raises:
        UserError: something else.
    """
    if text == "none":
        return None
    if text == "shots":
        return "shots"
    try:
        return checked_rule(float(text))
    except ValueError as error:
        raise _wrong(text) from error


def checked_rule(rule: Rule) -> Rule:
    """The rule, a number of seconds as a float.

    Raises:
        UserError: there is no such rule.
    """
    if rule is None or rule == "shots":
        return rule
    if not isinstance(rule, (int, float)) or not 0.1 <= rule <= 1e6:
        raise _wrong(rule)
    return float(rule)


def _wrong(rule: object) -> UserError:
    return UserError(f"--segment {rule}: expected seconds, 0.1 to 1,000,000, 'shots' or 'none'")


def write_rule(rule: Rule) -> str:
    """The other way round."""
    return "none" if rule is None else rule if rule == "shots" else f"{rule:g}"


@dataclass
class Cut:
    """A finished segment: seconds, rows, and the JPEG file of its middle frame."""

    start: float
    end: float
    frames: tuple[int, int]
    thumbnail: bytes


@dataclass
class _Open:
    """A segment that goes on: the rows so far, and pictures of some of them to take the middle one from."""

    start: float
    first: int
    past: int
    pictures: list[tuple[int, Picture]] = field(default_factory=list)
    stride: int = 1

    def add(self, row: int, picture: Picture) -> None:
        self.past = row + 1
        if (row - self.first) % self.stride == 0:
            self.pictures.append((row, picture))
        if len(self.pictures) > _CANDIDATES:
            # Memory stays bounded, however long it is: every second one goes.
            self.stride *= 2
            self.pictures = self.pictures[::2]

    def finish(self, end: float) -> Cut:
        middle = (self.first + self.past - 1) / 2
        _, picture = min(self.pictures, key=lambda one: abs(one[0] - middle))
        return Cut(self.start, end, (self.first, self.past), jpeg(picture))


class Cutter:
    """Cuts a video into segments while its sampled frames come.

    Of one length: at the multiples of that length; a remainder shorter than half of it belongs to the segment
    before, so that what is shorter than one and a half stays whole. By shots: where colours and their places
    change from one sampled frame to the next, and by much more than they usually do within the shot: a camera
    that follows somebody cuts nothing.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = checked_rule(rule)
        self._rows = 0
        self._done: list[Cut] = []
        self._before: _Open | None = None  # may yet take in what follows it
        self._open: _Open | None = None
        self._colours = np.empty((0, 0))
        self._usual = 0.0  # change from one row to the next within the open shot

    def add(self, time: float, picture: Picture) -> None:
        """The next row: when its frame is shown, and its picture, already small."""
        start = self._begins(time, picture)
        if start is not None:
            self._begin(start)
        assert self._open is not None
        self._open.add(self._rows, picture)
        self._rows += 1

    def finish(self, duration: float) -> list[Cut]:
        """All segments; they cover 0 to `duration`."""
        assert self._open is not None
        last, before = self._open, self._before
        if before and isinstance(self._rule, float) and duration - last.start < self._rule / 2:
            joined = _Open(before.start, before.first, last.past, before.pictures + last.pictures)
            last, before = joined, None
        if before:
            self._done.append(before.finish(last.start))
        return [*self._done, last.finish(max(duration, last.start))]

    def _begins(self, time: float, picture: Picture) -> float | None:
        """Where the segment begins that this row opens; None where it opens none."""
        if self._rule == "shots":
            colours, self._colours = self._colours, _colours(picture)
        if self._open is None:
            return 0.0
        if self._rule is None:
            return None
        if self._rule == "shots":
            change = float(np.abs(colours - self._colours).sum(axis=1).mean()) / 2
            return time if self._ends_shot(self._open, time, change) else None
        # In microseconds: 0.3 // 0.1 is 2.
        step = round(self._rule * 1e6)
        start = round(time * 1e6) // step * step / 1e6
        return start if start > self._open.start else None

    def _ends_shot(self, shot: _Open, time: float, change: float) -> bool:
        rows, past = self._rows - shot.first, time - shot.start
        # What is usual shows after two rows.
        changed = change > SHOT_CHANGE + self._usual and past >= SHORTEST_SHOT and rows >= 2
        if changed or past >= LONGEST_SHOT:
            self._usual = 0.0
            return True
        self._usual += (change - self._usual) / rows
        return False

    def _begin(self, start: float) -> None:
        if self._before:
            assert self._open is not None
            self._done.append(self._before.finish(self._open.start))
        self._before = self._open
        self._open = _Open(start, self._rows, self._rows)


def _colours(picture: Picture) -> NDArray[np.float64]:
    """How frequent each colour is, of 6 × 6 × 6, in each part of the picture, of 4 × 4: (16, 216)."""
    levels = _LEVEL_OF[picture[::2, ::2]] @ [_LEVELS**2, _LEVELS, 1]
    rows, columns = (np.arange(side) * _PARTS // side for side in levels.shape)
    cells = (rows[:, None] * _PARTS + columns) * _LEVELS**3 + levels
    counts = np.bincount(cells.ravel(), minlength=_PARTS**2 * _LEVELS**3).reshape(_PARTS**2, -1)
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares
