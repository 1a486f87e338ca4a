"""NumPy files as blocks of frame features, and back; nothing pickled is ever loaded.

Blocks are read as they are needed: `.npy` files are mapped into memory, an `.npz` is read as a stream.
"""

import math
import os
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mlcmr.data.features import Features, Progress, read_text
from mlcmr.errors import UserError

BLOCK_BYTES = 16 << 20
_FEATURES, _IDS, _VIDEOS = "features", "ids", "videos"  # the arrays of an .npz with ids
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of all archives: equal features make equal files

Array = NDArray[Any]
Block = tuple[Sequence[str], Features]
RowIds = Literal["frames", "videos"]


def rows_per_block(dimension: int) -> int:
    """How many frames of this size memory holds at a time."""
    return max(1, BLOCK_BYTES // (4 * dimension))


def told(blocks: Iterable[Block], progress: Progress | None, what: str, total: int) -> Iterator[Block]:
    """Passes blocks on and tells how many of their rows are done."""
    done = 0
    for ids, features in blocks:
        yield ids, features
        done += len(ids)
        if progress:
            progress(what, done, total)


def read_folder(source: Path, progress: Progress | None) -> Iterator[Block]:
    """The blocks of a folder with one `<video>.npy` per video, (frames, dimension) or (dimension,).

    Raises:
        UserError: there is none, or one is not numbers in such a shape.
    """
    videos = sorted(path.stem for path in source.glob("*.npy"))
    if (source / "ids.txt").exists():
        raise UserError(f"{source}: has an ids.txt, so name the array itself: {source / '<array>.npy'}")
    if not videos:
        raise UserError(f"{source}: no <video>.npy in it")
    return _video_blocks(source, videos, lambda video: _load(source / f"{video}.npy"), progress)


def read_npy(source: Path, rows: RowIds, progress: Progress | None) -> Iterator[Block]:
    """The blocks of one array, whose ids stand in `ids.txt` beside it.

    Raises:
        UserError: a file is missing, or they do not belong together.
    """
    array, path = _load(source), source.with_name("ids.txt")
    if not path.exists():
        raise UserError(f"{path}: no such file; it says which {rows[:-1]} each row of {source.name} is")
    blocks = _named_blocks(source, array.shape, _slices(array), read_text(path).split(), rows)
    return told(blocks, progress, source.name, math.prod(array.shape[:-1]))


@contextmanager
def read_npz(
    source: Path, rows: RowIds, progress: Progress | None
) -> Iterator[tuple[Iterator[Block], Mapping[str, Sequence[str]] | None]]:
    """The blocks of an archive, and which frames each video has if it says so.

    The archive has one array per video, or `features`, `ids` and perhaps `videos`, row by row.

    Raises:
        UserError: the archive is damaged, or something in it is not numbers or ids.
    """
    with _reading(source), np.load(source, allow_pickle=False) as arrays, zipfile.ZipFile(source) as archive:
        if not {_FEATURES, _IDS} <= set(arrays.files) <= {_FEATURES, _IDS, _VIDEOS}:
            yield _video_blocks(source, arrays.files, arrays.__getitem__, progress), None
            return
        ids = arrays[_IDS].astype(str).ravel().tolist()
        frames_of: dict[str, list[str]] = defaultdict(list)
        if _VIDEOS in arrays.files:
            for video, frame in zip(arrays[_VIDEOS].astype(str).ravel().tolist(), ids, strict=True):
                frames_of[video].append(frame)
        with archive.open(f"{_FEATURES}.npy") as member:
            shape, slices = _stream(source, member)
            blocks = _named_blocks(source, shape, slices, ids, "frames" if frames_of else rows)
            yield told(blocks, progress, source.name, math.prod(shape[:-1])), frames_of or None


def write_npz(path: Path, blocks: Iterable[Block], shape: tuple[int, int], videos: Sequence[str]) -> None:
    """Writes what `np.savez(path, features=…, ids=…, videos=…)` would, holding one block at a time.

    Args:
        path: The file.
        blocks: Frame ids and features.
        shape: Frames and dimension, all blocks together.
        videos: The video of each frame.
    """
    ids: list[str] = []
    with zipfile.ZipFile(path, "w") as archive:
        with _new_member(archive, _FEATURES) as member:
            npy.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for frame_ids, features in blocks:
                member.write(np.ascontiguousarray(features, "<f4").data)
                ids.extend(frame_ids)
        for key, values in ((_IDS, ids), (_VIDEOS, videos)):
            with _new_member(archive, key) as member:
                npy.write_array(member, np.array(values), allow_pickle=False)


def write_npy(folder: Path, video: str, features: Features) -> None:
    """Writes the frames of one video as `<video>.npy`.

    Raises:
        UserError: the video's id cannot be the name of a file.
    """
    if not video or any(character in video for character in ("/", os.sep, "\0")):
        raise UserError(f"video '{video}' cannot name a file; write one .npz instead")
    np.save(folder / f"{video}.npy", features, allow_pickle=False)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what NumPy and zipfile raise on damaged files into one line."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path}: cannot be read as NumPy arrays of numbers: {reason}") from error


def _load(path: Path) -> Array:
    with _reading(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an .npz")
    return _of_numbers(path, array)


def _of_numbers(where: object, array: Array) -> Array:
    if array.dtype.kind not in "fiub" or not array.ndim or not array.size:
        raise UserError(f"{where}: an array of shape {array.shape} and type {array.dtype}, expected numbers")
    return array


def _slices(array: Array) -> Iterator[Array]:
    step = max(1, BLOCK_BYTES * len(array) // array.nbytes)
    return (array[start : start + step] for start in range(0, len(array), step))


def _stream(source: Path, member: IO[bytes]) -> tuple[tuple[int, ...], Iterator[Array]]:
    """The shape of an array in an archive, and its rows, block by block as they are read."""
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, by_column, dtype = read_header[npy.read_magic(member)](member)
    if by_column and len(shape) > 1:
        raise UserError(f"{source}: '{_FEATURES}' is stored column by column; np.ascontiguousarray it first")
    _of_numbers(f"{source}: '{_FEATURES}'", np.broadcast_to(np.empty((), dtype), shape))
    row_bytes = dtype.itemsize * math.prod(shape[1:])
    step = max(1, BLOCK_BYTES // row_bytes)
    sizes = (min(step, shape[0] - start) for start in range(0, shape[0], step))
    return shape, (
        np.frombuffer(member.read(size * row_bytes), dtype).reshape(size, *shape[1:]) for size in sizes
    )


def _video_blocks(
    source: Path, videos: Sequence[str], load: Callable[[str], Array], progress: Progress | None
) -> Iterator[Block]:
    """The arrays of single videos, with frame ids made for them."""
    for done, video in enumerate(videos, start=1):
        where = f"{source}: video '{video}'"
        array = _of_numbers(where, load(video))
        frames = array[None] if array.ndim == 1 else array
        if frames.ndim != 2:
            raise UserError(f"{where} has shape {array.shape}, expected (frames, dimension)")
        number = count()
        for block in _slices(frames):
            yield [f"{video}_{next(number)}" for _ in block], block
        if progress:
            progress(source.name, done, len(videos))


def _named_blocks(
    source: Path, shape: tuple[int, ...], slices: Iterable[Array], ids: Sequence[str], rows: RowIds
) -> Iterator[Block]:
    """The rows of one array with an id for each; (videos, frames, dimension) counts as its rows in turn."""
    if len(shape) not in {2, 3} or len(ids) != shape[0]:
        raise UserError(
            f"{source}: {len(ids):,} ids for an array of shape {shape}, expected one for each row"
        )
    if len(shape) == 3:
        ids = [f"{video}_{number}" for video in ids for number in range(shape[1])]
    elif rows == "videos":
        numbers: dict[str, Iterator[int]] = defaultdict(count)
        ids = [f"{video}_{next(numbers[video])}" for video in ids]
    start = 0
    for block in slices:
        features = block.reshape(-1, shape[-1])
        yield ids[start : start + len(features)], features
        start += len(features)


def _new_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    return archive.open(zipfile.ZipInfo(f"{name}.npy", _FIRST_DATE), "w", force_zip64=True)
