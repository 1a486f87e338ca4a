"""Rules for the frames of a video that are sampled."""

from dataclasses import dataclass
from typing import NamedTuple

from mlcmr.errors import InvalidValueError
from mlcmr.extraction.media.images import Picture

_LOWEST_FPS, _HIGHEST_FPS = 0.001, 1000


@dataclass(frozen=True)
class Sampling:
    """The frames of a video that are sampled: `fps` frames a second, or `num_frames` evenly spaced frames.

    Attributes:
        fps: Frames a second.
        num_frames: The number of frames. Each is the middle frame of a stretch; all stretches have the same
            length.

    Raises:
        InvalidValueError: If both values or none is given, or the value is out of range.
    """

    fps: float | None = None
    num_frames: int | None = None

    def __post_init__(self) -> None:
        if (self.fps is None) == (self.num_frames is None):
            raise InvalidValueError(
                "give either frames a second (`fps`) or a number of frames (`num_frames`)", parameter="fps"
            )
        if self.fps is not None and not _LOWEST_FPS <= self.fps <= _HIGHEST_FPS:
            raise InvalidValueError(
                f"`fps` {self.fps}: expected {_LOWEST_FPS} to {_HIGHEST_FPS:,} frames a second",
                parameter="fps",
            )
        if self.num_frames is not None and self.num_frames < 1:
            raise InvalidValueError(
                f"`num_frames` {self.num_frames}: expected 1 or more", parameter="num_frames"
            )

    def __str__(self) -> str:
        number, each = (self.num_frames, "video") if self.fps is None else (self.fps, "second")
        return f"{number:g} frame{'' if number == 1 else 's'} a {each}"


class SampledFrame(NamedTuple):
    """A sampled frame.

    Attributes:
        time: When the frame is shown, in seconds from the beginning of the video.
        picture: The pixels.
    """

    time: float
    picture: Picture
