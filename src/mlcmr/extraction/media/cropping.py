"""The cropping that the headers of Matroska and mp4 files specify.

FFmpeg reads these fields, but PyAV does not expose them.
"""

import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mlcmr.extraction.media.images import UnreadableFileError
from mlcmr.extraction.media.mp4 import boxes

_MOST_ELEMENTS = 10_000


class Cropping(NamedTuple):
    """The numbers of pixels that a container hides at each side of the coded picture."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def container_cropping(path: Path, format_name: str, number: int) -> Cropping:
    """Read the cropping of a video track: `PixelCrop…` in Matroska, `clap` in mp4.

    Args:
        path: The file.
        format_name: FFmpeg's name of the container format.
        number: The number of the video track, from 0.
    """
    reader = {"matroska": _matroska_crops, "mov": _mp4_crops}.get(format_name.split(",", maxsplit=1)[0])
    if reader is None:
        return Cropping()
    try:
        with path.open("rb") as file:
            crops = list(reader(file, path.stat().st_size))
    except (OSError, ValueError, struct.error, ZeroDivisionError, UnreadableFileError):
        return Cropping()  # FFmpeg reports the damage
    return crops[number] if number < len(crops) else Cropping()


_SEGMENT, _TRACKS, _TRACK, _TYPE, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0xE0
_PIXEL_CROP = (0x54CC, 0x54BB, 0x54DD, 0x54AA)
"""Left, top, right, bottom."""


def _matroska_crops(file: BinaryIO, size: int) -> Iterator[Cropping]:
    for kind, start, end in _elements(file, 0, size):
        if kind != _SEGMENT:
            continue
        for inner, first, past in _elements(file, start, end):
            if inner != _TRACKS:
                continue
            for track, begin, stop in _elements(file, first, past):
                if track == _TRACK:
                    parts = {name: place for name, *place in _elements(file, begin, stop)}
                    if _TYPE in parts and _number(file, *parts[_TYPE]) == 1:
                        video = _elements(file, *parts.get(_VIDEO, (0, 0)))
                        sides = {name: _number(file, *place) for name, *place in video if name in _PIXEL_CROP}
                        yield Cropping(*(sides.get(side, 0) for side in _PIXEL_CROP))
            return


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the id, begin and end of each EBML element between two positions."""
    for _ in range(_MOST_ELEMENTS):
        if start >= end:
            return
        file.seek(start)
        head = file.read(12)
        kind, at = _variable(head, 0)
        size, past = _variable(head, at)
        values = 7 * (past - at)
        size &= (1 << values) - 1
        begin = start + past
        start = end if size == (1 << values) - 1 else min(begin + size, end)  # all ones: up to the end
        yield kind, begin, start


def _variable(head: bytes, at: int) -> tuple[int, int]:
    """Return an EBML number, with its length marker, and its end."""
    if at >= len(head) or head[at] == 0:
        raise ValueError("no EBML number")
    past = at + 9 - head[at].bit_length()
    return int.from_bytes(head[at:past], "big"), past


def _number(file: BinaryIO, start: int, end: int) -> int:
    file.seek(start)
    return int.from_bytes(file.read(min(end - start, 8)), "big")


def _mp4_crops(file: BinaryIO, size: int) -> Iterator[Cropping]:
    for track in boxes(file, (0, size), b"trak"):
        for start, _ in boxes(file, track, b"hdlr"):
            file.seek(start + 8)
            if file.read(4) == b"vide":
                yield _clean_aperture(file, track)


def _clean_aperture(file: BinaryIO, track: tuple[int, int]) -> Cropping:
    for start, end in boxes(file, track, b"stsd"):
        entry = start + 8  # after version, flags and the number of entries
        file.seek(entry)
        length, *size = struct.unpack(">I28x2H", file.read(36))
        for place, _ in boxes(file, (entry + 86, min(entry + length, end)), b"clap"):
            file.seek(place)
            values = struct.unpack(">IIIIiIiI", file.read(32))
            width, height, right, down = map(Fraction, values[::2], values[1::2])
            # Half pixels are rounded down, as in FFmpeg; the size remains that of the box.
            left = math.floor((size[0] - width) / 2 + right)
            top = math.floor((size[1] - height) / 2 + down)
            sides = left, top, size[0] - round(width) - left, size[1] - round(height) - top
            return Cropping(*(max(side, 0) for side in sides))
    return Cropping()
