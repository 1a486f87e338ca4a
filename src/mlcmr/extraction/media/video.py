"""Frames of videos, decoded by FFmpeg inside PyAV, and of animations, decoded by Pillow.

With a number of frames per second, the sampled frames are those of `ffmpeg -vf fps=<fps>`. Otherwise they are
evenly spaced. Frames are streamed: memory holds a few at a time, whatever the length of the video.
"""

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mlcmr.errors import MissingDependencyError, reason
from mlcmr.extraction.media.animations import AnimationFrame, AnimationReader
from mlcmr.extraction.media.cropping import Cropping, container_cropping
from mlcmr.extraction.media.ffmpeg import open_container, pixel_limit, too_many_pixels
from mlcmr.extraction.media.geometry import Geometry
from mlcmr.extraction.media.images import Canvas, ImageFile, Picture, UnreadableFileError
from mlcmr.extraction.media.sampling import SampledFrame, Sampling
from mlcmr.extraction.media.timeline import (
    BestStamps,
    Clock,
    Packets,
    Timeline,
    in_decoding_order,
    last_before,
    may_jump,
    usual_duration,
)
from mlcmr.extraction.records import Kind

try:
    import av
    from av.video.reformatter import VideoReformatter
except ImportError as error:
    raise MissingDependencyError("videos need PyAV: pip install 'mlcmr[video]'") from error

_WORTH_A_SEEK = 12
"""The number of frames to skip from which a seek is faster than decoding them."""
_MOST_SEEKS = 4
"""The number of times a seek is repeated further back, if it ends behind the wanted time."""
_WORTH_A_PASS = 4
"""The number of seconds to skip from which it pays to read all packets first, if the index knows no jumps."""
_MOST_ROWS, _BYTES_PER_ROW = 200_000, 2
"""The number of frames sampled from any file (a day at 2 fps), and the bytes that allow one frame more.

Slides shown for minutes, stills of hours and cameras that record all day stay below. A small file whose time
stamps claim years does not.
"""


class _TimedFrame(NamedTuple):
    """A decoded frame, shown from `time` to `end`, in seconds from the beginning of the file."""

    time: Fraction
    end: Fraction
    frame: Any


class _Bounds(Protocol):
    """Yields ascending times, given the time of the first frame; see `Video._pick`."""

    def __call__(self, first: Fraction, /) -> Iterator[Fraction]: ...


class Video:
    """A video file, decoded by FFmpeg; see `mlcmr.extraction.media.decode.OpenedMedia`.

    Args:
        path: The file.
        check_cancelled: Called for each packet and each sampled frame. Raises an exception to cancel.

    Raises:
        UnreadableFileError: If the file has no pictures that can be decoded.
        av.FFmpegError: If FFmpeg cannot open the file.
    """

    kind: Kind = "video"
    _packets: "Packets | _AnimationPackets"

    def __init__(self, path: Path, check_cancelled: Callable[[], object]) -> None:
        self.path = path
        self.damaged = 0
        self.jumps = 0
        self._check_cancelled = check_cancelled
        self._reformatter = VideoReformatter()
        self._geometry: Geometry | None = None
        self._read_until = Fraction(0)
        self._stamps = BestStamps()
        self._bytes = path.stat().st_size
        self._open()
        self._describe()

    def _open(self) -> None:
        self._container = open_container(self.path)
        try:
            self._stream = self._choose_stream()
        except BaseException:
            self._container.close()
            raise
        self._stream.codec_context.options = pixel_limit()  # frames may be larger than the header says
        self._stream.thread_type = "SLICE"
        self._base: Fraction = self._stream.time_base
        self._usual = usual_duration(self._stream)
        self._may_jump = may_jump(self._container)
        self._by_decoding_time = in_decoding_order(self._container)

    def _describe(self) -> None:
        """Read the properties that the header claims."""
        self.format: str = self._container.format.name
        self._packets = Packets(self.path, self._container, self._stream.index, self._check_cancelled)
        self.width, self.height = self._stream.width, self._stream.height
        self.duration = self.end = self._claimed_duration()

    def _choose_stream(self) -> Any:
        """Return the decodable stream with the largest pictures; of several, that with the most pictures."""
        streams = self._video_streams()
        if not streams:
            raise self._unreadable("audio only" if self._container.streams.audio else "no pictures")
        decodable = [stream for stream in streams if stream.codec_context is not None]
        if not decodable:
            raise self._unreadable("no decoder for its pictures")
        chosen = max(decodable, key=lambda stream: (stream.width * stream.height, stream.frames))
        if too_many_pixels(chosen.width, chosen.height):
            raise self._unreadable(f"{chosen.width:,} × {chosen.height:,} pixels are too many")
        return chosen

    def _video_streams(self) -> list[Any]:
        """Return the video streams, without cover images, which are video streams too."""
        cover = av.stream.Disposition.attached_pic
        return [stream for stream in self._container.streams.video if not stream.disposition & cover]

    def _unreadable(self, why: str) -> UnreadableFileError:
        return UnreadableFileError(f"{self.path}: {why}", path=self.path)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def measure(self) -> None:
        """Find `duration` and `end` from the packets and the first frame."""
        from mlcmr.extraction.media.decode import open_media  # noqa: PLC0415 – it imports this module

        with open_media(self.path) as media:
            for _ in media.sample(Sampling(num_frames=1)):
                pass
        self.duration, self.end = media.duration, media.end

    def sample(self, sampling: Sampling) -> Iterator[SampledFrame]:
        """Decode the frames chosen by `sampling`, in order and at least one. Call it once.

        Raises:
            UnreadableFileError: If no frame can be decoded.
        """
        try:
            yield from self._sampled(sampling)
        # A damaged file may cause any of these.
        except (av.FFmpegError, MemoryError, OverflowError, ValueError, IndexError) as error:
            raise self._unreadable(reason(error)) from error

    def _sampled(self, sampling: Sampling) -> Iterator[SampledFrame]:
        if sampling.fps is not None:
            if self.end * sampling.fps > self._most_rows:  # according to the header, which may be wrong
                self._require_moderate(float(self._packets.timeline.end) * sampling.fps)
            picked = self._pick(self._fps_bounds(sampling.fps), sampling.fps)
        else:
            picked = self._pick(self._even_bounds(sampling.num_frames or 1))
        previous = picture = None
        for time, frame in picked:
            self._check_cancelled()
            if picture is None or frame is not previous:
                previous, picture = frame, self._picture(frame)
            yield SampledFrame(max(float(time), 0.0), picture)

    def _fps_bounds(self, fps: float) -> _Bounds:
        """Return the ends of the stretches of which ffmpeg's filter `fps` keeps the last frame.

        The filter rounds a frame's time to the nearest multiple of 1/fps, halves up. At k/fps it shows the
        last frame rounded to k or less: the last frame before (k + ½)/fps. The first k is that of the first
        frame. The last k is the k before the rounded end.
        """
        exact = Fraction(str(fps)).limit_denominator(1_001_000)

        def bounds(first: Fraction) -> Iterator[Fraction]:
            begin = math.floor(first * exact + Fraction(1, 2))
            return ((k + Fraction(1, 2)) / exact for k in itertools.count(begin))

        return bounds

    def _even_bounds(self, count: int) -> _Bounds:
        """Return the middles of stretches of equal length."""

        def bounds(first: Fraction) -> Iterator[Fraction]:
            timeline = self._packets.timeline
            self.jumps = timeline.jumps
            # The decoding times of frames are later than those of their packets.
            delay = first - timeline.begin if self._by_decoding_time else 0
            end = max(timeline.end + delay, first)
            self.end, self.duration = float(end), float(end - first)
            return (first + (end - first) * (2 * i + 1) / (2 * count) for i in range(count))

        return bounds

    def _pick(self, bounds: _Bounds, fps: float | None = None) -> Iterator[tuple[Fraction, Any]]:
        """Yield for each bound the last frame before the bound, and at least one frame.

        Args:
            bounds: Returns ascending times, given the time of the first frame.
            fps: The number of bounds per second, if bounds after the end get no frame.
        """
        frames = self._timed()
        held = next(frames, None)
        if held is None:
            raise self._unreadable("no frame can be decoded")
        begin = held.time
        first: _TimedFrame | None = held
        remaining = bounds(begin)
        bound = next(remaining, None)
        picked = 0
        sought = None
        while bound is not None:
            if bound != sought and self._is_worth_a_seek(held, bound):
                frames, held = self._jump(bound)
                sought = bound
            frame = next(frames, None)
            end = frame.time if frame else held.end
            if fps and bound <= end:
                self._require_moderate(picked + float(end - bound) * fps)
            while bound is not None and (bound <= end or (frame is None and not fps)):
                yield held.time, held.frame
                picked, first = picked + 1, None  # the first frame is no longer needed, and may be large
                bound = next(remaining, None)
            if frame is None:
                self.end, self.duration = float(end), float(end - begin)
                break
            held = frame
        if first is not None:
            yield first.time, first.frame

    @property
    def _most_rows(self) -> int:
        return _MOST_ROWS + self._bytes // _BYTES_PER_ROW

    def _require_moderate(self, rows: float) -> None:
        """Refuse a small file whose time stamps claim a very long video.

        Raises:
            UnreadableFileError: If far more frames would be sampled than the file can hold.
        """
        if rows > self._most_rows:
            raise self._unreadable(
                f"its time stamps make {self._bytes:,} bytes last so long that {int(rows):,} frames would be "
                f"sampled, more than {self._most_rows:,}; lower `rate`"
            )

    def _is_worth_a_seek(self, held: _TimedFrame, bound: Fraction) -> bool:
        """Return whether many frames lie between the held frame and the last key frame before a bound."""
        if not self._by_decoding_time and not self._stamps.are_proven:
            return False
        until = held.end + _WORTH_A_SEEK * self._usual
        if bound <= until + (_WORTH_A_PASS if self._may_jump else 0):
            return False
        return next(last_before(self._keyframes, bound), until) > until

    def _jump(self, bound: Fraction) -> tuple[Iterator[_TimedFrame], _TimedFrame]:
        """Seek to a key frame before a bound. Return the frames after the key frame, and the key frame."""
        # Some files index key frames by decoding time, a little before they are shown. A second seek, further
        # back, may be needed.
        times = itertools.chain([bound], last_before(self._keyframes, bound))
        for time in itertools.islice(times, _MOST_SEEKS):
            with suppress(av.FFmpegError):
                self._container.seek(self._clock.ticks(time), stream=self._stream)
                frames = self._timed()
                # Frames before the key frame may lack the frames that they are predicted from.
                first = next((frame for frame in frames if frame.frame.key_frame), None)
                if first and first.time < bound and self._is_known(first.time):
                    return frames, first
        # The index is wrong: decode from the beginning, and seek no more. The file is opened again, since a
        # seek to the beginning may fail: the clock of a recording may start before 0.
        self._keyframes = []
        self.close()
        self._open()
        frames = self._timed()
        if (first := next(frames, None)) is None:
            raise self._unreadable("no frame can be decoded after a seek")
        return frames, first

    def _is_known(self, time: Fraction) -> bool:
        """Return whether the time of a key frame after a seek can be right.

        After a seek in a program stream, FFmpeg may give a picture the time of the next picture.
        """
        place = bisect_left(self._keyframes, time)  # called for each seek; a day has 100,000 key frames
        return not self._may_jump or (place < len(self._keyframes) and self._keyframes[place] == time)

    @cached_property
    def _keyframes(self) -> list[Fraction]:
        return self._packets.keyframes

    def _timed(self) -> Iterator[_TimedFrame]:
        """Yield all frames with their times, which never decrease."""
        last: _TimedFrame | None = None
        self._stamps.restart()
        for frame in self._decode():
            stamp = frame.dts if self._by_decoding_time else self._stamps.of(frame.pts, frame.dts)
            if stamp is None:  # the last frames of some files; they follow the packets read so far
                time = max(self._read_until, last.end if last else self._read_until)
            else:
                time = stamp * self._base
            duration = frame.duration * self._base if frame.duration else self._usual
            if last:
                time = max(time, last.time)
            last = _TimedFrame(time, time + duration, frame)
            yield last

    def _decode(self) -> Iterator[Any]:
        """Yield all frames. Count and skip pieces that cannot be decoded, as ffmpeg does."""
        self._clock = clock = Clock(self._container, self._stream)
        try:
            for packet in self._container.demux(clock.streams):
                self._check_cancelled()
                clock.correct(packet)
                # An empty packet repeats the frame before; the decoder would take it for the end.
                if packet.stream.index != self._stream.index or not packet.size:
                    continue
                self.jumps = max(self.jumps, clock.jumps)
                if packet.dts is not None:
                    self._read_until = (packet.dts + (packet.duration or 0)) * self._base
                yield from self._decode_packet(packet)
            yield from self._decode_packet(None)
        # PyAV has no stream object for a stream that begins after the header.
        except (av.error.InvalidDataError, IndexError):
            self.damaged += 1

    def _decode_packet(self, packet: Any) -> Iterator[Any]:
        """Yield the frames that a packet completes; None stands for the end."""
        try:
            yield from self._stream.decode(packet)
        # FFmpeg raises PermissionError at headers between pictures.
        except (av.error.InvalidDataError, av.error.PermissionError):
            self.damaged += 1

    def _claimed_duration(self) -> float:
        if self._stream.duration:
            return float(self._stream.duration * self._base)
        return (self._container.duration or 0) / av.time_base

    def _picture(self, frame: Any) -> Picture:
        if self._geometry is None:
            self._geometry = Geometry.of(self._container_cropping(), self._stream, frame)
            self.width, self.height = self._geometry.shown_size
        return self._geometry.apply(frame, self._reformatter)

    def _container_cropping(self) -> Cropping:
        """Return the pixels that the container hides."""
        number = self._video_streams().index(self._stream)
        return container_cropping(self.path, self._container.format.name, number)


class Animation(Video):
    """An animated image, sampled like a video. Pillow decodes it: FFmpeg lacks WebP and transparency.

    Args:
        image: The opened image.
        check_cancelled: Called for each frame. Raises an exception to cancel.

    Raises:
        UnreadableFileError: If the image has too many frames.
    """

    def __init__(self, image: ImageFile, check_cancelled: Callable[[], object]) -> None:
        self._opened = image
        self._canvas = Canvas(animated=True)
        super().__init__(image.path, check_cancelled)

    def _open(self) -> None:
        self._reader = AnimationReader(self._opened.image, str(self.path))
        self._by_decoding_time = False

    def _describe(self) -> None:
        self.format = self._opened.format
        self._packets = _AnimationPackets(self._reader, self._check_cancelled)
        first = next(self._reader.frames())
        self.height, self.width = Canvas().draw(first.image).shape[:2]
        self.duration = self.end = 0.0  # no header holds the duration

    def sample(self, sampling: Sampling) -> Iterator[SampledFrame]:
        """Decode the frames chosen by `sampling`, in order and at least one. Call it once.

        Raises:
            UnreadableFileError: If no frame can be decoded.
        """
        with self._opened.decoding():
            yield from self._sampled(sampling)

    def _is_worth_a_seek(self, *_: object) -> bool:
        return False

    def close(self) -> None:
        """Do nothing: `open_image` closes the file."""

    def _timed(self) -> Iterator[_TimedFrame]:
        for frame in self._reader.frames():
            self._check_cancelled()
            yield _TimedFrame(frame.time, frame.end, frame)
        self.damaged = self._reader.damaged

    def _picture(self, frame: AnimationFrame) -> Picture:
        return self._canvas.draw(frame.image)


class _AnimationPackets:
    """The timeline of an animated image, which only decoding tells; see `Packets`.

    Args:
        reader: The animated image.
        check_cancelled: Called for each frame. Raises an exception to cancel.
    """

    def __init__(self, reader: AnimationReader, check_cancelled: Callable[[], object]) -> None:
        self.keyframes: list[Fraction] = []  # each frame is a difference from the frame before
        self._reader = reader
        self._check_cancelled = check_cancelled

    @cached_property
    def timeline(self) -> Timeline:
        """The end of the last frame."""
        end = Fraction(0)
        for frame in self._reader.frames():
            self._check_cancelled()
            end = frame.end
        return Timeline(Fraction(0), end, [], 0)
