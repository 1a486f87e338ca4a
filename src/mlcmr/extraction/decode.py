"""Frames of videos, decoded by FFmpeg inside PyAV, and images, by Pillow.

Which frames: at a rate, those that `ffmpeg -vf fps=<rate>` keeps; or a number of evenly spaced ones. Frames
are streamed: memory holds a few at a time, whatever the length of the video.
"""

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from mlcmr.errors import UserError, reason
from mlcmr.extraction.pictures import Picture, UnreadableFileError, read_image
from mlcmr.extraction.videos import Kind, is_image

try:
    import av
    from av.video.reformatter import VideoReformatter
except ImportError as error:
    raise UserError("videos need PyAV: pip install 'mlcmr[video]'") from error

_WORTH_A_SEEK = 12
"""How many frames must be left out for a seek to be faster than to decode them."""
_TRIES = 4
_LONGEST_STILL = Fraction(6 * 3600)
"""Seconds that a frame may stay; more is a damaged time stamp."""
_MOST_FRAMES_A_SECOND = 1000


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are taken: `rate` frames a second, or `count` evenly spaced ones.

    Attributes:
        rate: Frames a second.
        count: Frames, each the middle one of a stretch; all stretches are equally long.
    """

    rate: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.count is None):
            raise UserError("give frames a second (--rate) or a number of frames (--count), one of the two")
        if self.rate is not None and not 0.001 <= self.rate <= _MOST_FRAMES_A_SECOND:
            raise UserError(
                f"--rate {self.rate}: expected 0.001 to {_MOST_FRAMES_A_SECOND:,} frames a second"
            )
        if self.count is not None and self.count < 1:
            raise UserError(f"--count {self.count}: expected 1 or more")

    def __str__(self) -> str:
        return f"{self.rate:g} frames a second" if self.rate is not None else f"{self.count} frames a video"


class SampledFrame(NamedTuple):
    """A frame and when it is shown, in seconds from the beginning."""

    time: float
    picture: Picture


class Media(Protocol):
    """An opened file.

    Attributes:
        kind: `video` or `image`.
        width: As it is shown, in pixels.
        height: As it is shown, in pixels.
        duration: Seconds; what the file says until its frames were sampled, then what was found.
        damaged: How many pieces of the stream could not be decoded so far.
    """

    kind: Kind
    width: int
    height: int
    duration: float
    damaged: int

    def sample(self, sampling: Sampling) -> Iterator[SampledFrame]:
        """Decodes the frames chosen by `sampling`, in order, at least one; can be asked for once.

        Raises:
            UnreadableFileError: there is no frame.
        """
        ...


def open_media(path: str | Path, check: Callable[[], object] = lambda: None) -> AbstractContextManager[Media]:
    """Opens a video or an image for sampling.

    Args:
        path: The file.
        check: Called for each piece of a video that is decoded, and each frame that is taken; what it raises
            ends the sampling.

    Raises:
        UnreadableFileError: it is empty, neither a video nor an image, or cannot be read.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise UnreadableFileError(f"{path}: empty")
    except OSError as error:
        raise UnreadableFileError(f"{path}: {reason(error)}") from error
    return _open_image(path) if is_image(path) else _open_video(path, check)


# ─── images ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Still:
    picture: Picture
    kind: Kind = "image"
    duration: float = 0.0
    damaged: int = 0

    def __post_init__(self) -> None:
        self.height, self.width = self.picture.shape[:2]

    def sample(self, sampling: Sampling) -> Iterator[SampledFrame]:  # noqa: ARG002
        yield SampledFrame(0.0, self.picture)


@contextmanager
def _open_image(path: Path) -> Iterator[Media]:
    yield _Still(read_image(path))


# ─── videos ──────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _open_video(path: Path, check: Callable[[], object]) -> Iterator[Media]:
    try:
        container = _opened(path)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnreadableFileError(f"{path}: not a video that can be read: {reason(error)}") from error
    with container:
        yield _Video(path, container, check)


def _opened(path: Path) -> Any:
    return av.open(str(path), metadata_errors="replace", options=_limits())


def _limits() -> dict[str, str]:
    """What FFmpeg refuses to decode, already when it opens a file."""
    return {"max_pixels": str(Image.MAX_IMAGE_PIXELS)} if Image.MAX_IMAGE_PIXELS else {}


class _Video:
    kind: Kind = "video"

    def __init__(self, path: Path, container: Any, check: Callable[[], object]) -> None:
        self.path = path
        self.damaged = 0
        self._container = container
        self._check = check
        # A picture of a sleeve stands in a video stream too.
        streams = [one for one in container.streams.video if not _is_sleeve(one)]
        if not streams:
            what = "audio only" if container.streams.audio else "no pictures"
            raise UnreadableFileError(f"{path}: {what}")
        decodable = [one for one in streams if one.codec_context is not None]
        if not decodable:
            raise UnreadableFileError(f"{path}: no decoder for its pictures")
        self._stream = max(decodable, key=lambda one: one.width * one.height)
        width, height = self._stream.width, self._stream.height
        if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise UnreadableFileError(f"{path}: {width:,} × {height:,} pixels are too many")
        self._stream.codec_context.options = _limits()  # frames may be larger than the file says
        self._stream.thread_type = "SLICE"
        self._base: Fraction = self._stream.time_base
        # Times count from the first picture or sound, as players and ffmpeg have it.
        self._start = Fraction(container.start_time or 0, av.time_base)
        # AVI has no times at which frames are shown, and those that FFmpeg makes up for it go back and forth.
        # Frames leave the decoder in the order of these others.
        self._by_decoding_time = container.format.name == "avi"
        self._reformatter = VideoReformatter()
        self.width, self.height = self._stream.width, self._stream.height
        self.duration = float(self._said_duration() or 0)
        self._read_until = Fraction(0)
        self._quarter_turns: int | None = None

    def sample(self, sampling: Sampling) -> Iterator[SampledFrame]:
        try:
            yield from self._sampled(sampling)
        except (av.FFmpegError, MemoryError, ValueError) as error:  # damaged files cause nearly any
            raise UnreadableFileError(f"{self.path}: {reason(error)}") from error

    def _sampled(self, sampling: Sampling) -> Iterator[SampledFrame]:
        bounds = (
            self._rate_bounds(sampling.rate) if sampling.rate else self._count_bounds(sampling.count or 1)
        )
        for time, frame in self._pick(bounds, stops_at_end=sampling.rate is not None):
            self._check()
            yield SampledFrame(max(float(time), 0.0), self._picture(frame))

    def _rate_bounds(self, rate: float) -> "_Bounds":
        """Where ffmpeg's filter `fps` ends the k-th stretch, of which it keeps the last frame.

        It rounds a frame's time to the nearest multiple of 1/rate, halves up, and shows at k/rate the last
        frame rounded to k or less: the last one before (k + ½)/rate. Its first k is that of the first frame;
        its last is the one before the rounded end.
        """
        exact = Fraction(str(rate)).limit_denominator(1_001_000)

        def bounds(first: Fraction) -> Iterator[Fraction]:
            begin = math.floor(first * exact + Fraction(1, 2))
            return ((k + Fraction(1, 2)) / exact for k in itertools.count(begin))

        return bounds

    def _count_bounds(self, count: int) -> "_Bounds":
        duration = self._said_duration() or self._measured_duration()

        def bounds(first: Fraction) -> Iterator[Fraction]:
            end = max(duration, first)
            return (first + (end - first) * (2 * i + 1) / (2 * count) for i in range(count))

        return bounds

    def _pick(self, bounds: "_Bounds", *, stops_at_end: bool) -> Iterator[tuple[Fraction, Any]]:
        """For each bound the last frame before it, and at least one frame.

        Args:
            bounds: Ascending times, given that of the first frame.
            stops_at_end: Whether there are no frames for bounds after the end of the video.
        """
        frames = self._timed()
        first = held = next(frames, None)
        if first is None or held is None:
            raise UnreadableFileError(f"{self.path}: no frame can be decoded")
        coming = bounds(first.time)
        bound = next(coming, None)
        picked = False
        sought = None
        while bound is not None:
            if bound != sought and self._is_worth_a_seek(held, bound):
                frames, held = self._jump(bound)
                sought = bound
            frame = next(frames, None)
            end = frame.time if frame else held.end
            if end - held.time > _LONGEST_STILL:
                raise UnreadableFileError(f"{self.path}: its time stamps jump by {end - held.time} s")
            while bound is not None and (bound <= end or (frame is None and not stops_at_end)):
                yield held.time, held.frame
                picked = True
                bound = next(coming, None)
            if frame is None:
                self.duration = float(end)
                break
            held = frame
        if not picked:
            yield first.time, first.frame

    def _is_worth_a_seek(self, held: "_Timed", bound: Fraction) -> bool:
        """Whether there are many frames between this one and the key frame to decode from for a bound."""
        until = held.end + _WORTH_A_SEEK * self._usual_duration()
        if bound <= until or not self._keyframes:
            return False
        before = bisect_left(self._keyframes, bound)
        return before > 0 and self._keyframes[before - 1] > until

    def _jump(self, bound: Fraction) -> "tuple[Iterator[_Timed], _Timed]":
        """Goes to a key frame before a bound; returns it, and the frames after it."""
        # Some files index key frames by when they are decoded, a little before they are shown: it may take
        # a second try.
        tries = [bound, *reversed(self._keyframes[: bisect_left(self._keyframes, bound)])]
        for time in tries[:_TRIES]:
            self._container.seek(math.floor((time + self._start) / self._base), stream=self._stream)
            frames = self._timed()
            # Frames before the key frame may lack what they are predicted from.
            first = next((frame for frame in frames if frame.frame.key_frame), None)
            if first and first.time < bound:
                return frames, first
        # No use: the index is wrong. From the beginning, and no more of this.
        self._keyframes = []
        self._container.seek(0)
        frames = self._timed()
        if (first := next(frames, None)) is None:
            raise UnreadableFileError(f"{self.path}: no frame can be decoded after a seek")
        return frames, first

    @cached_property
    def _keyframes(self) -> list[Fraction]:
        """Ascending times of the frames that can be decoded without others, as far as they are indexed."""
        # Of a Matroska file FFmpeg reads the index, which stands at its end, only to seek.
        with self._opened_again() as container, suppress(av.FFmpegError):
            container.seek(0)
            entries = container.streams[self._stream.index].index_entries
            stamps = {entry.timestamp for entry in entries if entry.is_keyframe and not entry.is_discard}
            return [stamp * self._base - self._start for stamp in sorted(stamps)]
        return []  # what was recorded live cannot be sought in

    def _timed(self) -> "Iterator[_Timed]":
        """All frames with their times; the times do not go back."""
        last: _Timed | None = None
        for frame in self._decode():
            stamp = frame.dts if self._by_decoding_time else frame.pts
            if stamp is None:
                stamp = frame.dts
            if stamp is None:  # the last ones of some files: they follow what was read before them
                time = max(self._read_until, last.end if last else self._read_until)
            else:
                time = stamp * self._base - self._start
            duration = frame.duration * self._base if frame.duration else self._usual_duration()
            if last:
                time = max(time, last.time)
            last = _Timed(time, time + duration, frame)
            yield last

    def _decode(self) -> Iterator[Any]:
        """All frames; pieces that cannot be decoded are counted and left out, as ffmpeg does."""
        try:
            for packet in self._container.demux(self._stream):
                self._check()
                if packet.dts is not None:
                    self._read_until = (packet.dts + (packet.duration or 0)) * self._base - self._start
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    self.damaged += 1
        except av.error.InvalidDataError:
            self.damaged += 1

    def _usual_duration(self) -> Fraction:
        rate = self._stream.average_rate
        return 1 / rate if rate else Fraction(1, 25)

    def _said_duration(self) -> Fraction | None:
        if self._stream.duration:
            return Fraction(self._stream.duration * self._base)
        return Fraction(self._container.duration, av.time_base) if self._container.duration else None

    def _measured_duration(self) -> Fraction:
        """The end of the last packet, for a file that does not say how long it is."""
        with self._opened_again() as container:
            ends = [
                (packet.dts if packet.pts is None else packet.pts) + (packet.duration or 0)
                for packet in container.demux(container.streams[self._stream.index])
                if packet.dts is not None
            ]
        return Fraction(max(ends, default=0)) * self._base - self._start

    def _opened_again(self) -> Any:
        return _opened(self.path)

    def _picture(self, frame: Any) -> Picture:
        if self._quarter_turns is None:
            # Counter-clockwise, as NumPy turns.
            self._quarter_turns = round(frame.rotation / 90) % 4
            size = frame.width, frame.height
            self._size = size
            self.width, self.height = size[::-1] if self._quarter_turns % 2 else size
        # One reformatter for all frames: a frame's own costs ten times what decoding it does.
        width, height = self._size
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
        turned: Picture = np.ascontiguousarray(np.rot90(rgb, self._quarter_turns), np.uint8)
        return turned


class _Timed(NamedTuple):
    time: Fraction
    end: Fraction
    frame: Any


class _Bounds(Protocol):
    def __call__(self, first: Fraction, /) -> Iterator[Fraction]: ...


def _is_sleeve(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)
