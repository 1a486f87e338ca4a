"""The boxes of mp4 files, and how many samples they claim to hold."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mlcmr.extraction.media.images import UnreadableFileError

_ALLOWED_SAMPLES = 1_000_000
"""The number of samples that any file may claim; FFmpeg allocates memory for each."""
_MOST_BOXES = 1_000_000
"""The most boxes in one place: one for each second of a week."""
_LONGEST_HEADER = 1 << 26
"""The most bytes of a header that is compressed."""
_KINDS = frozenset([b"vide", b"soun", b"subp", b"clcp"])
"""The kinds of tracks that FFmpeg knows."""
_SAMPLES_PER_ENTRY = 160
"""If each sample of sound lasts one tick, FFmpeg lists entries of at least this many samples instead."""
_DEEPEST = 10
"""The depth of nesting up to which FFmpeg reads boxes."""
_WITH_BOXES = frozenset(
    [
        b"dinf",
        b"edts",
        b"mdia",
        b"minf",
        b"moof",
        b"moov",
        b"mvex",
        b"stbl",
        b"tapt",
        b"traf",
        b"trak",
        b"udta",
    ]
)


def require_real_samples(path: Path) -> None:
    """Refuse an mp4 file that claims more samples than it has bytes: FFmpeg would allocate memory for them.

    Raises:
        UnreadableFileError: If the file claims more.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            claimed = _claimed(file, size)
            for header in _compressed_headers(file, size):
                claimed += _claimed(io.BytesIO(header), len(header))
    except OSError:
        return  # FFmpeg reports the error
    except UnreadableFileError as error:
        raise UnreadableFileError(f"{path}: {error}", path=path) from error
    if claimed > max(size, _ALLOWED_SAMPLES):
        raise UnreadableFileError(
            f"{path}: claims {claimed:,} frames and pieces of sound in {size:,} bytes", path=path
        )


def _claimed(file: BinaryIO, size: int) -> int:
    """Return how many samples FFmpeg would list for the tracks and the fragments of tracks."""
    runs = sum(_numbers(file, start + 4, 1)[0] for start, _ in boxes(file, (0, size), b"trun"))
    return runs + sum(_claimed_of(file, track) for track in boxes(file, (0, size), b"trak"))


def _claimed_of(file: BinaryIO, track: tuple[int, int]) -> int:
    # Each edit may repeat all samples.
    edits = sum(_numbers(file, start + 4, 1)[0] for start, _ in boxes(file, track, b"elst"))
    kinds = {_numbers(file, start + 8, 1)[0].to_bytes(4, "big") for start, _ in boxes(file, track, b"hdlr")}
    durations = [_numbers(file, start + 4, 3) for start, _ in boxes(file, track, b"stts")]
    if (
        kinds & _KINDS == {b"soun"}
        and durations
        and all(entries == ticks == 1 for entries, _, ticks in durations)
    ):
        samples = _in_chunks(file, track) // _SAMPLES_PER_ENTRY
    else:
        samples = sum(_numbers(file, start + 8, 1)[0] for start, _ in boxes(file, track, b"stsz"))
    return samples * max(edits, 1)


def _in_chunks(file: BinaryIO, track: tuple[int, int]) -> int:
    """Return an upper bound for the samples of a track: its chunks, times the size of the largest."""
    chunks = largest = 0
    for name in (b"stco", b"co64"):
        chunks += sum(_numbers(file, start + 4, 1)[0] for start, _ in boxes(file, track, name))
    for start, _ in boxes(file, track, b"stsc"):
        (count,) = _numbers(file, start + 4, 1)
        table = file.read(min(12 * count, _LONGEST_HEADER))
        in_chunks = np.frombuffer(table[: len(table) // 12 * 12], ">u4")[1::3]
        largest = max(largest, int(in_chunks.max(initial=0)))
    return chunks * largest


def _compressed_headers(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the decompressed headers of old QuickTime files; FFmpeg refuses damaged headers itself."""
    left = _LONGEST_HEADER
    for movie in boxes(file, (0, size), b"cmov"):
        for start, end in boxes(file, movie, b"cmvd"):
            file.seek(start + 4)
            packed = file.read(max(0, min(end - start - 4, _LONGEST_HEADER)))
            try:
                header = zlib.decompressobj().decompress(packed, left)
            except zlib.error:
                continue
            left -= len(header)
            if left <= 0:
                raise UnreadableFileError(f"its header unpacks to more than {_LONGEST_HEADER:,} bytes")
            if any(boxes(io.BytesIO(header), (0, len(header)), b"cmov")):
                raise UnreadableFileError("its header is compressed twice")
            yield header


def _numbers(file: BinaryIO, start: int, count: int) -> tuple[int, ...]:
    """Return 32-bit numbers; as in FFmpeg, numbers behind the end of the file are 0."""
    file.seek(start)
    return struct.unpack(f">{count}I", file.read(4 * count).ljust(4 * count, b"\0"))


def boxes(
    file: BinaryIO, place: tuple[int, int], name: bytes, deepest: int = _DEEPEST
) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of the content of all boxes with a name that FFmpeg would find.

    As in FFmpeg, reading stops before a box that is shorter than its own header.

    Args:
        file: The opened file.
        place: Begin and end of the bytes to search.
        name: The name of the boxes.
        deepest: The depth of nesting up to which boxes are read.

    Raises:
        UnreadableFileError: If there are too many boxes.
    """
    start, end = place
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        begin = start + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
            begin += 8
        past = end if size == 0 else min(start + size, end)
        if past < begin:
            return
        if kind == name:
            yield begin, past
        elif kind in _WITH_BOXES and deepest:
            yield from boxes(file, (begin, past), name, deepest - 1)
        start = past
    raise UnreadableFileError(f"more than {_MOST_BOXES:,} boxes")
