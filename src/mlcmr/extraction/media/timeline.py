"""The times of a video's packets: corrected at jumps of the clock, and measured without decoding."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av

from mlcmr.extraction.media.ffmpeg import open_container

_SECOND = av.time_base
"""FFmpeg's own unit of time is a microsecond."""
_FARTHEST_STEP = 10 * _SECOND
"""The longest step between packets that is not a jump of the clock; ffmpeg's `dts_delta_threshold`."""
_FARTHEST_BACK = _SECOND // 10
"""The longest step back of decoding times that is no jump."""
_ROUNDED = _SECOND // 1000
"""The largest rounding difference from FFmpeg's decoding times: a tick at 24000/1001 fps."""
_MOST_REORDERED = 16
"""The number of pictures that H.264 and HEVC may decode before a picture that is shown earlier."""
_FARTHEST_STAMP = 30 * 3600 * _SECOND
"""In formats whose clock does not jump, a farther stamp is damaged; ffmpeg's `dts_error_threshold`."""


class Clock:
    """Corrects the times of packets where the clock of a file jumps, as ffmpeg does.

    Transport and program streams (TS, M2TS, MPG, VOB) are recorded from broadcasts, and joined: their clock
    may restart, step back or jump ahead. From a jump on, all times are shifted so that the packet follows the
    packet before in its stream. In other formats, an impossible time is dropped. Corrected times count from
    the beginning of the file. After a seek, use a new clock.

    Args:
        container: The opened file.
        pictures: The stream of its pictures.

    Attributes:
        jumps: How often the clock has jumped so far.
        streams: The streams whose packets the clock must see: also sound, if the clock may jump.
    """

    # Times are whole microseconds, rounded like ffmpeg's. With exact fractions, other frames would be sampled
    # where a time lies in the middle between two frames. Besides, fractions take longer than the packets.

    def __init__(self, container: Any, pictures: Any) -> None:
        self.jumps = 0
        self._may_jump = may_jump(container)
        sound = container.streams.best("audio") if self._may_jump else None
        self.streams = [pictures, *([sound] if sound else [])]
        self._start = self._start_time(container)
        self._offset = -self._start
        self._base: Fraction = pictures.time_base
        self._units = {stream.index: stream.time_base.as_integer_ratio() for stream in self.streams}
        self._shifts = {index: _ticks(self._offset, unit) for index, unit in self._units.items()}
        self._pictures: int = pictures.index
        self._usual = {stream.index: _usual_microseconds(stream) for stream in self.streams}
        self._last: dict[int, int] = {}  # the decoding time of the last packet of each stream
        self._next: dict[int, int] = {}  # the expected decoding time of the next packet of each stream
        self._file_last: int | None = None
        self._is_damaged = False

    def correct(self, packet: Any) -> None:
        """Correct the times of the next packet of a file, in place."""
        stream, dts, pts = packet.stream.index, packet.dts, packet.pts
        unit, shift = self._units[stream], self._shifts[stream]
        if dts is not None:
            dts += shift
        if pts is not None:
            pts += shift
        expected = self._next.get(stream)
        if self._may_jump:
            dts, pts = self._continued(stream, dts, pts, expected)
        elif expected is not None:
            dts, pts = self._without_damaged_stamps(stream, dts, pts, expected)
        packet.dts, packet.pts = dts, pts
        last = expected if dts is None else _microseconds(dts, unit)
        if last is not None:
            usual, lasts = self._usual[stream], packet.duration
            if lasts and (stream == self._pictures or not usual):
                usual = _microseconds(lasts, unit)
            self._last[stream], self._next[stream] = last, last + usual
            self._file_last = last

    def _continued(
        self, stream: int, dts: int | None, pts: int | None, expected: int | None
    ) -> tuple[int | None, int | None]:
        """Return stamps that follow the packet before; after a jump, all later stamps are shifted."""
        if dts is None:
            return dts, pts
        unit = self._units[stream]
        # FFmpeg may continue to count decoding times from before a jump. They are also far from the times at
        # which pictures are shown if pictures last for many seconds.
        continues = expected is not None and abs(_microseconds(dts, unit) - expected) < _ROUNDED
        farthest = _FARTHEST_STEP + _MOST_REORDERED * self._usual[stream]
        if pts is not None and continues and abs(_microseconds(pts - dts, unit)) > farthest:
            dts = pts - _ticks(self._usual[stream], unit)
        now = _microseconds(dts, unit)
        step = self._jump(stream, now, expected)
        if step:
            self.jumps += 1
            self._offset -= step
            self._shifts = {index: _ticks(self._offset, unit) for index, unit in self._units.items()}
            ticks = _ticks(step, unit)
            dts, pts = dts - ticks, None if pts is None else pts - ticks
        return dts, pts

    def _without_damaged_stamps(
        self, stream: int, dts: int | None, pts: int | None, expected: int
    ) -> tuple[int | None, int | None]:
        """Return stamps with None in place of damaged stamps.

        A picture without a stamp is shown right after the picture before.
        """
        unit = self._units[stream]
        good_dts, good_pts = (
            None if stamp is None or abs(_microseconds(stamp, unit) - expected) > _FARTHEST_STAMP else stamp
            for stamp in (dts, pts)
        )
        is_damaged = (good_dts, good_pts) != (dts, pts)
        self.jumps += is_damaged and not self._is_damaged
        self._is_damaged = is_damaged
        return good_dts, good_pts

    def _jump(self, stream: int, now: int, expected: int | None) -> int:
        """Return the length of a jump of the clock in microseconds; 0 without a jump."""
        if expected is None:
            step = 0 if self._file_last is None else now - self._file_last
            return step if abs(step) > _FARTHEST_STEP else 0
        step = now - expected
        jumps = abs(step) > _FARTHEST_STEP or now + _FARTHEST_BACK < self._last[stream]
        return step if jumps else 0

    def _start_time(self, container: Any) -> int:
        """Return the time of the first picture or sound, from which players and ffmpeg count."""
        if self._may_jump:  # the clocks of other streams may differ
            starts = [
                _microseconds(stream.start_time, stream.time_base.as_integer_ratio())
                for stream in self.streams
                if stream.start_time is not None
            ]
            if starts:
                return min(starts)
        return container.start_time or 0

    def ticks(self, time: Fraction) -> int:
        """Return the file's own stamp for a corrected time in seconds, such as for a seek."""
        return int((time + Fraction(self._start, _SECOND)) // self._base)

    def time(self, stamp: int) -> Fraction:
        """Return the corrected time, in seconds, of a stamp in the file's index."""
        return stamp * self._base - Fraction(self._start, _SECOND)


class BestStamps:
    """Chooses between the two stamps of a frame, like FFmpeg: the kind that has stepped back less often."""

    def __init__(self) -> None:
        self._last: list[int | None] = [None, None]
        self._faults = [0, 0]
        self._frames = 0

    @property
    def are_proven(self) -> bool:
        """Return whether enough frames had good stamps to trust the stamps after a seek."""
        return self._faults[0] == 0 and self._frames >= _MOST_REORDERED

    def restart(self) -> None:
        """Accept any stamp next, after a seek."""
        self._last = [None, None]

    def of(self, pts: int | None, dts: int | None) -> int | None:
        """Return the stamp of the decoder's next frame."""
        self._frames += 1
        for kind, (stamp, other) in enumerate(((pts, dts), (dts, pts))):
            last = self._last[kind]
            if stamp is not None:
                self._faults[kind] += last is not None and stamp <= last
                self._last[kind] = stamp
            elif other is not None:
                self._last[kind] = other
        believes_pts = dts is None or self._faults[0] <= self._faults[1]
        return pts if pts is not None and believes_pts else dts


def _usual_microseconds(stream: Any) -> int:
    """Return the duration of a packet without a duration: for sound, that of its codec."""
    if stream.type == "video":
        return round(usual_duration(stream) * _SECOND)
    codec = stream.codec_context
    return int(_SECOND * codec.frame_size // codec.sample_rate) if codec and codec.sample_rate else 0


def _microseconds(ticks: int, unit: tuple[int, int]) -> int:
    return _rescaled(ticks, unit[0] * _SECOND, unit[1])


def _ticks(microseconds: int, unit: tuple[int, int]) -> int:
    return _rescaled(microseconds, unit[1], unit[0] * _SECOND)


def _rescaled(value: int, numerator: int, denominator: int) -> int:
    """Return value × numerator ÷ denominator; halves are rounded away from zero, as FFmpeg does."""
    rounded = (2 * abs(value) * numerator + denominator) // (2 * denominator)
    return rounded if value >= 0 else -rounded


def usual_duration(pictures: Any) -> Fraction:
    """Return the duration of a picture without a duration, in seconds."""
    rate = pictures.average_rate
    return 1 / rate if rate else Fraction(1, 25)


def may_jump(container: Any) -> bool:
    """Return whether the clock of a file in this format may jump."""
    return bool(container.format.flags & av.format.Flags.ts_discont.value)


def in_decoding_order(container: Any) -> bool:
    """Return whether a format has no presentation times, so that decoding times must be used.

    The presentation times that FFmpeg invents for AVI step back and forth; those for elementary streams leave
    a gap after the first picture. Pictures leave the decoder in the order of their decoding times.
    """
    no_times = av.format.Flags.no_timestamps.value
    return container.format.name == "avi" or bool(container.format.flags & no_times)


@dataclass(frozen=True)
class Timeline:
    """The times of a video's pictures, in seconds from the beginning of the file.

    Attributes:
        begin: The time of the first picture.
        end: The end of the last picture.
        keyframes: Ascending times of the pictures that can be decoded without others.
        jumps: How often the clock jumps.
    """

    begin: Fraction
    end: Fraction
    keyframes: list[Fraction]
    jumps: int


class Packets:
    """Reads the packets of a video's pictures without decoding them, independently of the decoder.

    Args:
        path: The file.
        container: The file, opened for the decoder.
        stream: The number of the stream of its pictures.
        check_cancelled: Called for each packet. Raises an exception to cancel.
    """

    def __init__(
        self, path: Path, container: Any, stream: int, check_cancelled: Callable[[], object]
    ) -> None:
        self._path = path
        self._stream = stream
        self._check_cancelled = check_cancelled
        self._may_jump = may_jump(container)
        # FFmpeg guesses the position of a time in an elementary stream.
        self._is_guessed = in_decoding_order(container) and container.format.name != "avi"

    @cached_property
    def timeline(self) -> Timeline:
        """The timeline from all packets, or from the index and the packets at the end."""
        if keyframes := self._indexed:
            with open_container(self._path) as container:
                stamp = Clock(container, container.streams[self._stream]).ticks(keyframes[-1])
                tail = self._read(container, stamp)
            if tail.keyframes:
                return Timeline(keyframes[0], tail.end, keyframes, tail.jumps)
        with open_container(self._path) as container:
            return self._read(container)

    @cached_property
    def keyframes(self) -> list[Fraction]:
        """Ascending times of key frames; empty if a seek by time does not find key frames in this file."""
        if not self._may_jump:
            return self._indexed
        # Seeks work if each packet holds its time, and no two packets hold the same time.
        return [] if self.timeline.jumps else self.timeline.keyframes

    @cached_property
    def _indexed(self) -> list[Fraction]:
        """The ascending times of the key frames in the file's index that the file contains."""
        if self._may_jump or self._is_guessed:
            return []
        with open_container(self._path) as container:
            try:
                container.seek(0)  # FFmpeg reads the index of a Matroska file, at its end, only for a seek
            except av.FFmpegError:
                return []  # a live recording cannot be sought
            pictures, size = container.streams[self._stream], container.size
            clock = Clock(container, pictures)
            # The index of a partial download names key frames that the file does not contain.
            stamps = {
                entry.timestamp
                for entry in pictures.index_entries
                if entry.is_keyframe and not entry.is_discard and entry.pos + entry.size <= size
            }
            return [clock.time(stamp) for stamp in sorted(stamps)]

    def _read(self, container: Any, start: int | None = None) -> Timeline:
        """Read packets from a stamp, or from the beginning, to the end or to the first damage."""
        pictures = container.streams[self._stream]
        usual, base = usual_duration(pictures), pictures.time_base
        by_decoding_time = in_decoding_order(container)
        clock = Clock(container, pictures)
        begin: int | None = None
        end = following = 0
        keyframes = set()
        try:
            if start is not None:
                container.seek(start, stream=pictures)
            for packet in container.demux(clock.streams):
                self._check_cancelled()
                if not packet.size:
                    continue
                clock.correct(packet)
                if packet.stream.index != self._stream or packet.is_discard:
                    continue
                stamp = packet.dts if by_decoding_time or packet.pts is None else packet.pts
                stamp = following if stamp is None else stamp
                following = stamp + (packet.duration or round(usual / base))
                begin, end = stamp if begin is None else min(begin, stamp), max(end, following)
                if packet.is_keyframe:
                    keyframes.add(stamp)
        except (av.FFmpegError, IndexError):  # IndexError: a stream begins after the header
            pass
        times = [stamp * base for stamp in sorted(keyframes)]
        return Timeline((begin or 0) * base, end * base, times, clock.jumps)


def last_before(times: list[Fraction], bound: Fraction) -> Iterator[Fraction]:
    """Yield the times before a bound, the last one first."""
    return reversed(times[: bisect_left(times, bound)])
