"""Show decoded pictures of a video as players do: cropped, with square pixels, upright."""

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mlcmr.extraction.media.cropping import Cropping
from mlcmr.extraction.media.ffmpeg import too_many_pixels
from mlcmr.extraction.media.images import Picture, resize

_MOST_UNEQUAL = 16
"""A larger ratio of the sides of a pixel counts as damaged."""
_UPRIGHT = (1, 0, 0, 1)


@dataclass(frozen=True)
class Geometry:
    """The steps from a decoded picture to the displayed picture.

    Attributes:
        cropping: Pixels that the container hides.
        size: Width and height after cropping, with square pixels, before rotation.
        matrix: Signs (a, b, c, d) of the display matrix: a pixel at (x, y) is shown at (ax + cy, bx + dy).
    """

    cropping: Cropping
    size: tuple[int, int]
    matrix: tuple[int, int, int, int]

    @staticmethod
    def of(crop: Cropping, stream: Any, frame: Any) -> "Geometry":
        """Return the geometry of a stream, given the cropping of its container and its first frame."""
        width = frame.width - crop.left - crop.right
        height = frame.height - crop.top - crop.bottom
        if width < 1 or height < 1:
            crop, width, height = Cropping(), frame.width, frame.height
        ratio = stream.sample_aspect_ratio or Fraction(1)
        if ratio != 1 and Fraction(1, _MOST_UNEQUAL) <= ratio <= _MOST_UNEQUAL:
            # Rounded to an even number, as players do: 160 pixels of ratio 32:15 become 342.
            square = max(2 * round(width * ratio / 2), 2)
            width = width if too_many_pixels(square, height) else square
        return Geometry(crop, (width, height), _orientation(frame))

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height of the displayed picture."""
        return self.size if self.matrix[0] else self.size[::-1]

    def apply(self, frame: Any, reformatter: Any) -> Picture:
        """Return the displayed RGB picture of a frame.

        Args:
            frame: The decoded frame. If the frames of a stream have several sizes, all get that of the first.
            reformatter: PyAV's converter. All frames share it: a new one per frame costs ten times as much
                as the decoding.
        """
        width, height = self.size
        if any(self.cropping):
            left, top, right, bottom = self.cropping
            whole = reformatter.reformat(frame, format="rgb24").to_ndarray()
            inside = whole[top : whole.shape[0] - bottom, left : whole.shape[1] - right]
            rgb = resize(np.ascontiguousarray(inside), width, height)
        else:
            rgb = reformatter.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
        a, b, c, d = self.matrix
        if not a:
            rgb = rgb.transpose(1, 0, 2)
        rgb = rgb[:: b + d, :: a + c]
        shown: Picture = np.ascontiguousarray(rgb, np.uint8)
        return shown


def _orientation(frame: Any) -> tuple[int, int, int, int]:
    """Return the signs of a frame's display matrix, for the nearest of the eight orientations."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX" and data.buffer_size >= 36:
            a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
            turned = abs(b) + abs(c) > abs(a) + abs(d)
            signs = (0, b, c, 0) if turned else (a, 0, 0, d)
            whole = (b and c) if turned else (a and d)
            return tuple((x > 0) - (x < 0) for x in signs) if whole else _UPRIGHT  # type: ignore[return-value]
    return _UPRIGHT
