"""Animated images (GIF, WebP, APNG, AVIF): frames decoded by Pillow, and when each is shown."""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from PIL import Image

from mlcmr.extraction.media.images import ANIMATED_FORMATS, UnreadableFileError, require_moderate

_TOO_SHORT, _USUAL = Fraction(10, 1000), Fraction(100, 1000)
"""Seconds. A frame with a duration up to the first is shown for the second, as in browsers."""
_MOST_FRAMES = 50_000
_MOST_PICTURES = 100
"""The most pixels of all frames together, as a multiple of the largest picture that is read."""


class AnimationFrame(NamedTuple):
    """A frame, shown from `time` to `end`, in seconds from the beginning."""

    time: Fraction
    end: Fraction
    image: Image.Image


def is_animation(image: Image.Image) -> bool:
    """Return whether an image has several frames, rather than pages or views."""
    if image.format not in ANIMATED_FORMATS or not getattr(image, "is_animated", False):
        return False
    # A default image, for programs that show no animations, is not a frame.
    return not (getattr(image, "default_image", False) and _count(image) == 2)


class AnimationReader:
    """Reads the frames of an animated image.

    Args:
        image: The opened image; its file must stay open.
        name: The name of the image in messages.

    Attributes:
        damaged: 1 if the frames ended too early in the last pass, else 0.

    Raises:
        UnreadableFileError: If there are too many frames.
    """

    def __init__(self, image: Image.Image, name: str) -> None:
        self._image = image
        self._size = image.size
        self._name = name
        self.damaged = 0
        # The number of frames of a GIF is known only after the whole file was read.
        if image.format != "GIF":
            self._require_moderate(_count(image))

    def frames(self) -> Iterator[AnimationFrame]:
        """Decode the frames from the first, until one cannot be decoded.

        Raises:
            UnreadableFileError: If there are too many frames.
        """
        image = self._image
        size = self._size
        begin = Fraction(0)
        delay = Fraction(0)  # added to the times that the file gives
        first = 1 if getattr(image, "default_image", False) else 0
        for number in itertools.count(first):
            try:
                image.seek(number)
                require_moderate(image)
                image.load()
            except Exception as error:  # a damaged file makes Pillow raise nearly any exception
                if number == first:
                    raise
                is_end = isinstance(error, EOFError) and (image.format == "GIF" or number >= _count(image))
                self.damaged = 0 if is_end else 1
                return
            self._require_moderate(number)
            duration = _seconds(image.info.get("duration"))
            if "timestamp" in image.info:
                begin = max(begin, _seconds(image.info["timestamp"]) + delay)
            if duration <= _TOO_SHORT:
                delay += _USUAL - duration
                duration = _USUAL
            # Pillow enlarges the canvas of a GIF for a frame that is larger than the canvas.
            shown = image.copy() if image.size == size else image.crop((0, 0, *size))
            yield AnimationFrame(begin, begin + duration, shown)
            begin += duration

    def _require_moderate(self, frames: int) -> None:
        pixels = frames * self._image.width * self._image.height
        if frames > _MOST_FRAMES or pixels > _MOST_PICTURES * (Image.MAX_IMAGE_PIXELS or math.inf):
            size = f"{self._image.width:,} × {self._image.height:,}"
            raise UnreadableFileError(
                f"{self._name}: {frames:,} frames or more of {size} pixels are too many"
            )


def _count(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))


def _seconds(milliseconds: object) -> Fraction:
    """Return seconds as an exact number; the denominators of APNG have 16 bits."""
    if not isinstance(milliseconds, (int, float)) or not 0 <= milliseconds < math.inf:
        return Fraction(0)
    return (Fraction(milliseconds) / 1000).limit_denominator(1 << 16)
