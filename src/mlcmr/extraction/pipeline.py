"""Decoding and encoding at the same time: threads decode files, the calling thread encodes in batches.

Decoders, Pillow and PyTorch release the interpreter lock, so threads are enough.
"""

import math
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlcmr.data.features.finite import describe_not_finite, not_finite
from mlcmr.extraction.encoders.base import FrameEncoder
from mlcmr.extraction.media.decode import open_media
from mlcmr.extraction.media.images import UnreadableFileError, shrink
from mlcmr.extraction.media.sampling import SampledFrame, Sampling
from mlcmr.extraction.records import Kind
from mlcmr.extraction.segments import SegmentDraft, Segmenter, SegmentRule
from mlcmr.text import plural

Prepared = NDArray[np.generic]
"""A picture that an encoder has prepared."""

_LARGEST_CHUNK = 16  # features


@dataclass(eq=False)
class ExtractedFile:
    """A file during and after its extraction.

    Attributes:
        path: The file.
        kind: `video` or `image`.
        duration: Seconds from the first picture to the end of the last.
        width: Of a displayed frame, in pixels.
        height: Of a displayed frame, in pixels.
        damaged: The number of pieces that could not be decoded.
        jumps: How often the clock of the file jumps.
        times: For each row of the features, when that frame is shown, in seconds.
        segments: The segments.
        features: (rows, dimension) float32.
        frames: The number of frames sampled so far.
        share: The share of the file that has been read, from 0 to 1; 0 if the length is unknown.
        error: Why the file cannot be extracted.
    """

    path: Path
    kind: Kind = "video"
    duration: float = 0.0
    width: int = 0
    height: int = 0
    damaged: int = 0
    jumps: int = 0
    times: list[float] = field(default_factory=list)
    segments: list[SegmentDraft] = field(default_factory=list)
    features: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    frames: int = 0
    share: float = 0.0
    error: UnreadableFileError | None = None


class PipelineSettings(NamedTuple):
    """The settings of an extraction.

    Attributes:
        encoder: The frame encoder.
        sampling: Which frames are sampled.
        rule: How videos are divided into segments.
        most_frames: The largest number of sampled frames; a longer file is refused.
        batch_size: The number of features computed at a time; by default that of the encoder.
        check_cancelled: Called often while a file is decoded. Raises an exception to cancel.
    """

    encoder: FrameEncoder
    sampling: Sampling
    rule: SegmentRule
    most_frames: float = math.inf
    batch_size: int | None = None
    check_cancelled: Callable[[], object] = lambda: None

    @property
    def features_per_batch(self) -> int:
        """The number of features computed at a time."""
        return self.batch_size or self.encoder.batch_size


class _Chunk(NamedTuple):
    """Consecutive prepared pictures of a file.

    Attributes:
        file: The file.
        prepared: The pictures.
        has_previous: Whether the first picture belongs to the chunk before, and gets no feature here.
    """

    file: ExtractedFile
    prepared: list[Prepared]
    has_previous: bool


class _FeatureRow(NamedTuple):
    """A row of the features before it is encoded: one frame, or a window of frames."""

    time: float
    thumbnail: NDArray[np.uint8]
    prepared: list[Prepared]


def extract_file(path: Path, settings: PipelineSettings) -> ExtractedFile:
    """Extract one file.

    Raises:
        UnreadableFileError: If the file cannot be decoded.
    """
    file = ExtractedFile(path)
    rows = [_encode(settings.encoder, chunk) for chunk in _read(file, settings)]
    if error := _set_features(file, rows):
        raise error
    return file


def extract_files(
    paths: Iterable[Path],
    settings: PipelineSettings,
    workers: int,
    report: Callable[[ExtractedFile], object] = lambda _: None,
) -> Generator[ExtractedFile, None, None]:
    """Extract several files at a time; yield each file when it is finished.

    A batch of more than 16 features may hold features of several files, in the order in which the files are
    decoded. Smaller batches hold features of one file, which then do not depend on the other files. A caller
    that stops early must close the generator, which ends the threads.

    Args:
        paths: The files.
        settings: How the files are extracted.
        workers: The number of files decoded at a time.
        report: Called often with a file that has been read in part.
    """
    batches = _Batches(settings)
    for event in _decode(paths, settings, workers):
        if isinstance(event, _Chunk):
            batches.add(event)
            report(event.file)
        else:
            batches.end(event)
        yield from batches.finished()
    batches.flush()
    yield from batches.finished()


def default_workers() -> int:
    """Return the number of files decoded at a time by default: the number of processors, 16 at most."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(processors, 16)


def _decode(
    paths: Iterable[Path], settings: PipelineSettings, workers: int
) -> Iterator[_Chunk | ExtractedFile]:
    """Yield the chunks of all files, and each file after its last chunk."""
    decoders = _WorkerPool(paths, settings, workers)
    with ThreadPoolExecutor(workers, "decode") as pool:
        try:
            for _ in range(workers):
                pool.submit(decoders.run)
            yield from decoders.events(workers)
        finally:
            decoders.stop.set()


class _WorkerPool:
    """The state that decoding threads share: the files that wait, and a queue to the encoding thread."""

    def __init__(self, paths: Iterable[Path], settings: PipelineSettings, workers: int) -> None:
        self.stop = threading.Event()
        self._settings = settings
        self._paths = iter(paths)
        self._paths_lock = threading.Lock()
        # A short queue: memory holds few pictures, and decoding waits for encoding.
        self._events: queue.Queue[_Chunk | ExtractedFile | Exception | None] = queue.Queue(2 * workers)

    def events(self, workers: int) -> Iterator[_Chunk | ExtractedFile]:
        """Yield the results of the threads until the last thread is done."""
        while workers:
            event = self._events.get()
            if isinstance(event, Exception):
                raise event
            if event is None:
                workers -= 1
            else:
                yield event

    def run(self) -> None:
        """Decode files until none is left; the body of a thread."""
        try:
            while path := self._next():
                file = ExtractedFile(path)
                try:
                    for chunk in _read(file, self._settings):
                        if not self._put(chunk):
                            return
                except UnreadableFileError as error:
                    file.error = error
                self._put(file)
            self._put(None)
        except Exception as error:  # the encoding thread raises it
            self._put(error)

    def _next(self) -> Path | None:
        with self._paths_lock:
            return None if self.stop.is_set() else next(self._paths, None)

    def _put(self, event: _Chunk | ExtractedFile | Exception | None) -> bool:
        """Put an event into the queue; return False if the encoding thread has stopped."""
        while not self.stop.is_set():
            with suppress(queue.Full):
                self._events.put(event, timeout=0.1)
                return True
        return False


def _read(file: ExtractedFile, settings: PipelineSettings) -> Iterator[_Chunk]:
    """Decode a file into chunks. The attributes of `file` are complete after the last chunk."""
    encoder = settings.encoder
    segmenter = Segmenter(settings.rule)
    size = min(settings.features_per_batch, _LARGEST_CHUNK)
    chunk: list[Prepared] = []
    previous: list[Prepared] = []
    with open_media(file.path, settings.check_cancelled) as media:
        for row in _rows(file, media.sample(settings.sampling), encoder):
            if file.frames > settings.most_frames:
                raise UnreadableFileError(
                    f"{file.path}: longer than {settings.most_frames:,} sampled frames", path=file.path
                )
            file.times.append(round(row.time, 6))
            file.share = min(max(row.time / media.end, 0), 1) if media.end > 0 else 0
            segmenter.add(row.time, row.thumbnail)
            chunk += row.prepared
            if len(chunk) == size * encoder.frames_per_feature:
                yield _Chunk(file, previous + chunk, bool(previous))
                previous = chunk[-1:] if encoder.needs_previous_frame else []
                chunk = []
        if chunk:
            yield _Chunk(file, previous + chunk, bool(previous))
        file.kind, file.damaged, file.jumps = media.kind, media.damaged, media.jumps
        file.width, file.height = media.width, media.height
        file.duration = round(media.duration, 6)
        file.segments = segmenter.finish(round(media.end, 6))


def _rows(
    file: ExtractedFile, frames: Iterable[SampledFrame], encoder: FrameEncoder
) -> Iterator[_FeatureRow]:
    """Group frames into the rows of the features: single frames, or windows.

    A last window that is not full starts earlier. A video shorter than a window repeats its frames.
    """
    size = encoder.frames_per_feature
    window: list[_FeatureRow] = []
    last_full: list[_FeatureRow] = []
    for frame in frames:
        file.frames += 1
        window.append(_FeatureRow(frame.time, shrink(frame.picture), [encoder.prepare(frame.picture)]))
        if len(window) == size:
            yield _join(window)
            last_full, window = window, []
    if not window:
        return
    if last_full:
        yield _join((last_full + window)[-size:])
    else:
        yield _join([window[i * len(window) // size] for i in range(size)])


def _join(window: list[_FeatureRow]) -> _FeatureRow:
    """Return the row of a window; its time and thumbnail are those of the middle frame."""
    middle = window[len(window) // 2]
    return _FeatureRow(middle.time, middle.thumbnail, [picture for row in window for picture in row.prepared])


def _encode(encoder: FrameEncoder, chunk: _Chunk) -> NDArray[np.float32]:
    features = encoder.encode_prepared(chunk.prepared)
    return features[1:] if chunk.has_previous else features


def _set_features(file: ExtractedFile, rows: Sequence[NDArray[np.float32]]) -> UnreadableFileError | None:
    """Set the features of a file; return an error if they are not finite: no query could find them."""
    file.features = np.concatenate(rows)
    wrong = not_finite(file.features)
    if not wrong.size:
        return None
    first = int(wrong[0])
    return UnreadableFileError(
        f"{file.path}: the encoder's feature {describe_not_finite(file.features[first])} at "
        f"{file.times[first]:.2f} s ({plural(len(wrong), 'row')} of {len(file.features):,})",
        path=file.path,
    )


class _Batches:
    """Encodes the chunks of all files in batches.

    If the encoder needs the previous frame, or a batch is no larger than a chunk, each chunk is a batch. The
    rounding of a feature depends on its place in a batch, which here follows from the file alone. On one core
    of an AMD EPYC (2026-11-30), ViT-B/16 takes 0.37 s for a picture in batches of 1 or 8; CLIP ViT-B/32, with
    fewer patches, takes 0.12 s in batches of 1 and 0.09 s in batches of 8.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self._encoder = settings.encoder
        self._size = settings.features_per_batch
        self._one_file_each = self._encoder.needs_previous_frame or self._size <= _LARGEST_CHUNK
        self._waiting: list[Prepared] = []  # pictures
        self._owners: list[ExtractedFile] = []  # the file of each row that waits
        self._encoded: dict[ExtractedFile, list[NDArray[np.float32]]] = {}  # rows of unfinished files
        self._ended: list[ExtractedFile] = []

    def add(self, chunk: _Chunk) -> None:
        """Add a chunk, and encode all full batches."""
        if self._one_file_each:
            self._encoded.setdefault(chunk.file, []).append(_encode(self._encoder, chunk))
            return
        if self._waiting and self._waiting[0].shape != chunk.prepared[0].shape:
            self.flush()
        self._waiting += chunk.prepared
        self._owners += [chunk.file] * (len(chunk.prepared) // self._encoder.frames_per_feature)
        while len(self._owners) >= self._size:
            self._encode_batch()

    def end(self, file: ExtractedFile) -> None:
        """Note that all chunks of a file have been added."""
        self._ended.append(file)

    def flush(self) -> None:
        """Encode all pictures that wait."""
        while self._owners:
            self._encode_batch()

    def finished(self) -> Iterator[ExtractedFile]:
        """Yield the files that are decoded and encoded, once."""
        waiting = set(self._owners)
        for file in [file for file in self._ended if file.error or file not in waiting]:
            self._ended.remove(file)
            rows = self._encoded.pop(file, [])
            file.error = file.error or _set_features(file, rows)
            yield file

    def _encode_batch(self) -> None:
        size, window = self._size, self._encoder.frames_per_feature
        owners, self._owners = self._owners[:size], self._owners[size:]
        pictures, self._waiting = self._waiting[: size * window], self._waiting[size * window :]
        # The rounding of a matrix product depends on its size: a batch that is not full is filled up.
        pictures += pictures[-1:] * (size * window - len(pictures))
        features = self._encoder.encode_prepared(pictures)[: len(owners)]
        for owner, row in zip(owners, features, strict=True):
            if owner.error is None:  # a file that failed was yielded already, while some of its rows waited
                self._encoded.setdefault(owner, []).append(row[None])
