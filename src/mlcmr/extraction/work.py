"""Decoding and encoding at the same time: threads decode files, one place encodes in batches.

Decoders, Pillow and PyTorch let go of the interpreter, so that threads suffice.
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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlcmr.extraction.decode import Sampling, open_media
from mlcmr.extraction.encoders import FrameEncoder
from mlcmr.extraction.pictures import UnreadableFileError, shrink
from mlcmr.extraction.segments import Cut, Cutter, Rule
from mlcmr.extraction.videos import Kind

Prepared = NDArray[np.generic]

_CHUNK = 16  # features decoded at a time at most


@dataclass(eq=False)
class Extracted:
    """What was made of a file; `error` says why there is nothing.

    Attributes:
        path: The file.
        kind: `video` or `image`.
        duration: Seconds.
        width: As it is shown, in pixels.
        height: As it is shown, in pixels.
        damaged: How many pieces of it could not be decoded.
        times: For each row of the features, when that frame is shown.
        cuts: The segments.
        features: (rows, dimension) float32.
        frames: How many frames were sampled, so far while it is read.
        share: How much of it is read, from 0 to 1, if it says how long it is.
    """

    path: Path
    kind: Kind = "video"
    duration: float = 0.0
    width: int = 0
    height: int = 0
    damaged: int = 0
    times: list[float] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    features: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    frames: int = 0
    share: float = 0.0
    error: UnreadableFileError | None = None


class Settings(NamedTuple):
    """How files are taken apart.

    Attributes:
        encoder: What makes the features.
        sampling: Which frames are taken.
        rule: How videos are cut into segments.
        most_frames: A file with more sampled frames is refused.
        batch_size: Features at a time; by default as many as suit the encoder.
        check: Called again and again while a file is decoded; what it raises ends that.
    """

    encoder: FrameEncoder
    sampling: Sampling
    rule: Rule
    most_frames: float = math.inf
    batch_size: int | None = None
    check: Callable[[], object] = lambda: None

    @property
    def at_a_time(self) -> int:
        """How many features are made at a time."""
        return self.batch_size or self.encoder.batch_size


class _Chunk(NamedTuple):
    """Some rows of a file, ready to be encoded; with the picture before them where that is needed."""

    file: Extracted
    prepared: list[Prepared]
    with_picture_before: bool


class _Row(NamedTuple):
    time: float
    thumbnail: NDArray[np.uint8]
    prepared: list[Prepared]


def extract_file(path: Path, settings: Settings) -> Extracted:
    """Extracts one file.

    Raises:
        UnreadableFileError: it cannot be decoded.
    """
    file = Extracted(path)
    rows = [_encode(settings.encoder, [chunk]) for chunk in _read(file, settings)]
    file.features = np.concatenate(rows)
    return file


def extract_files(
    paths: Iterable[Path],
    settings: Settings,
    workers: int,
    tell: Callable[[Extracted], object] = lambda _: None,
) -> Generator[Extracted, None, None]:
    """Extracts files, several at a time; they come as they get ready.

    The features of a file do not depend on the others: each batch is as large as every other. To be closed
    by who stops before the end, which ends the threads.

    Args:
        paths: The files.
        settings: How they are taken apart.
        workers: How many are decoded at a time.
        tell: Called again and again with files that are read, but not ready.
    """
    batches = _Batches(settings)
    for event in _decode(paths, settings, workers):
        if isinstance(event, _Chunk):
            batches.add(event)
            tell(event.file)
        else:
            batches.ended(event)
        yield from batches.ready()
    batches.flush()
    yield from batches.ready()


def default_workers() -> int:
    """How many files are decoded at a time: one for each processor."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(processors, 16)


def _decode(paths: Iterable[Path], settings: Settings, workers: int) -> Iterator[_Chunk | Extracted]:
    """The chunks of all files; after the last one of a file, the file."""
    decoders = _Decoders(paths, settings, workers)
    with ThreadPoolExecutor(workers, "decode") as pool:
        try:
            for _ in range(workers):
                pool.submit(decoders.run)
            yield from decoders.events(workers)
        finally:
            decoders.stop.set()


class _Decoders:
    """What the threads that decode share: the files that wait, and the way to where they are encoded."""

    def __init__(self, paths: Iterable[Path], settings: Settings, workers: int) -> None:
        self.stop = threading.Event()
        self._settings = settings
        self._paths = iter(paths)
        self._turn = threading.Lock()
        # Short: memory holds few pictures, and who decodes waits for who encodes.
        self._events: queue.Queue[_Chunk | Extracted | Exception | None] = queue.Queue(2 * workers)

    def events(self, workers: int) -> Iterator[_Chunk | Extracted]:
        """What the threads have ready, until the last of them is done."""
        while workers:
            event = self._events.get()
            if isinstance(event, Exception):
                raise event
            if event is None:
                workers -= 1
            else:
                yield event

    def run(self) -> None:
        """Decodes one file after the other."""
        try:
            while path := self._next():
                file = Extracted(path)
                try:
                    for chunk in _read(file, self._settings):
                        if not self._put(chunk):
                            return
                except UnreadableFileError as error:
                    file.error = error
                self._put(file)
            self._put(None)
        except Exception as error:  # told where it can be raised
            self._put(error)

    def _next(self) -> Path | None:
        with self._turn:
            return None if self.stop.is_set() else next(self._paths, None)

    def _put(self, event: _Chunk | Extracted | Exception | None) -> bool:
        """Hands on; False when nobody takes anything any more."""
        while not self.stop.is_set():
            with suppress(queue.Full):
                self._events.put(event, timeout=0.1)
                return True
        return False


def _read(file: Extracted, settings: Settings) -> Iterator[_Chunk]:
    """Decodes a file; what it is stands in `file` when all its chunks have come."""
    encoder = settings.encoder
    cutter = Cutter(settings.rule)
    size = min(settings.at_a_time, _CHUNK)
    chunk: list[Prepared] = []
    before: list[Prepared] = []
    with open_media(file.path, settings.check) as media:
        for row in _rows(file, media.sample(settings.sampling), encoder):
            if file.frames > settings.most_frames:
                raise UnreadableFileError(f"{file.path}: longer than {settings.most_frames:,} sampled frames")
            file.times.append(round(row.time, 6))
            file.share = min(max(row.time / media.duration, 0), 1) if media.duration > 0 else 0
            cutter.add(row.time, row.thumbnail)
            chunk += row.prepared
            if len(chunk) == size * encoder.frames_per_feature:
                yield _Chunk(file, before + chunk, bool(before))
                before = chunk[-1:] if encoder.looks_back else []
                chunk = []
        if chunk:
            yield _Chunk(file, before + chunk, bool(before))
        file.kind, file.damaged = media.kind, media.damaged
        file.width, file.height = media.width, media.height
        file.duration = round(media.duration, 6)
    file.cuts = cutter.finish(file.duration)


def _rows(file: Extracted, frames: Iterable[Any], encoder: FrameEncoder) -> Iterator[_Row]:
    """Frames as the rows of features, one by one or in windows.

    A last window that is not full reaches back to be so; a video shorter than a window is shown slower.
    """
    size = encoder.frames_per_feature
    window: list[_Row] = []
    full: list[_Row] = []
    for frame in frames:
        file.frames += 1
        window.append(_Row(frame.time, shrink(frame.picture), [encoder.prepare(frame.picture)]))
        if len(window) == size:
            yield _joined(window)
            full, window = window, []
    if window:
        few = len(window)
        yield _joined((full + window)[-size:] if full else [window[i * few // size] for i in range(size)])


def _joined(window: list[_Row]) -> _Row:
    middle = window[len(window) // 2]
    return _Row(middle.time, middle.thumbnail, [picture for row in window for picture in row.prepared])


def _encode(encoder: FrameEncoder, chunks: Sequence[_Chunk]) -> NDArray[np.float32]:
    features = encoder.encode_prepared([picture for chunk in chunks for picture in chunk.prepared])
    return features[1:] if chunks[0].with_picture_before else features


class _Batches:
    """Encodes chunks: with those of other files, unless the encoder looks back."""

    def __init__(self, settings: Settings) -> None:
        self._encoder = settings.encoder
        self._size = settings.at_a_time
        self._pictures: list[Prepared] = []  # that wait to be encoded
        self._owners: list[Extracted] = []  # of each row that waits
        self._encoded: dict[Extracted, list[NDArray[np.float32]]] = {}  # of files that are not ready
        self._ended: list[Extracted] = []

    def add(self, chunk: _Chunk) -> None:
        if self._encoder.looks_back:
            self._encoded.setdefault(chunk.file, []).append(_encode(self._encoder, [chunk]))
            return
        if self._pictures and self._pictures[0].shape != chunk.prepared[0].shape:
            self.flush()
        self._pictures += chunk.prepared
        self._owners += [chunk.file] * (len(chunk.prepared) // self._encoder.frames_per_feature)
        while len(self._owners) >= self._size:
            self._encode_batch()

    def ended(self, file: Extracted) -> None:
        self._ended.append(file)

    def flush(self) -> None:
        """Encodes what waits."""
        while self._owners:
            self._encode_batch()

    def ready(self) -> Iterator[Extracted]:
        """Files that are decoded and encoded."""
        waiting = set(self._owners)
        for file in [file for file in self._ended if file.error or file not in waiting]:
            self._ended.remove(file)
            rows = self._encoded.pop(file, [])
            if file.error is None:
                file.features = np.concatenate(rows)
            yield file

    def _encode_batch(self) -> None:
        size, each = self._size, self._encoder.frames_per_feature
        owners, self._owners = self._owners[:size], self._owners[size:]
        pictures, self._pictures = self._pictures[: size * each], self._pictures[size * each :]
        # How a product of matrices rounds depends on their size: a batch that is not full is filled up, so
        # that a feature is the same whatever is encoded with it, also after an interruption.
        pictures += pictures[-1:] * (size * each - len(pictures))
        features = self._encoder.encode_prepared(pictures)[: len(owners)]
        for owner, row in zip(owners, features, strict=True):
            if owner.error is None:  # else it may be past, with rows that still waited
                self._encoded.setdefault(owner, []).append(row[None])
