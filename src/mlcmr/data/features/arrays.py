"""Read NumPy files as blocks of frame features, and write them; nothing pickled is ever loaded.

Memory holds one block at a time: `.npy` files are mapped, an `.npz` is read as a stream.
"""

import math
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.lib import format as npy

from mlcmr.data.features.feature_files import Features, read_text
from mlcmr.data.features.finite import require_finite
from mlcmr.data.features.numpy_files import Array, ArrayHeader, map_array, open_archive
from mlcmr.data.ids import VideoIds
from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.progress import Progress
from mlcmr.text import plural

BLOCK_BYTES = 16 << 20
_FEATURES, _IDS, _VIDEOS = "features", "ids", "videos"  # the arrays of an .npz with ids
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of all archives: equal features make equal files

Block = tuple[Sequence[str], Features]
RowIds = Literal["frames", "videos"]


def rows_per_block(dimension: int) -> int:
    """Return the number of frames of this dimension in a block."""
    return max(1, BLOCK_BYTES // (4 * dimension))


def with_progress(blocks: Iterable[Block], progress: Progress, name: str, total: int) -> Iterator[Block]:
    """Yield the blocks, and count their rows as done.

    Args:
        blocks: The blocks.
        progress: Shows the number of rows that are done.
        name: The name of the task, such as the file that is read or written.
        total: The number of rows of all blocks.
    """
    with progress.task(name, total) as task:
        for ids, features in blocks:
            yield ids, features
            task.advance(len(ids))


def read_folder(source: Path, progress: Progress) -> Iterator[Block]:
    """Return the blocks of a folder with one `<video>.npy` per video, (frames, dimension) or (dimension,).

    Subfolders are part of the names of the videos. Hidden files are left out.

    Raises:
        InvalidValueError: If the folder has no such file, or an array has another shape or type.
    """
    if (source / "ids.txt").exists():
        raise InvalidValueError(
            f"{source}: has an ids.txt, so name the array itself: {source / '<array>.npy'}", path=source
        )
    paths = {
        path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if _holds_array(path)
    }
    # Names with a dot in front are hidden: on some disks, macOS puts a `._` file beside each file.
    names = {name[:-4]: path for name, path in paths.items() if not re.search(r"(^|/)\.", name)}
    if not names:
        raise InvalidValueError(f"{source}: no <video>.npy in it", path=source)
    return _video_blocks(
        source, list(names), lambda name: map_array(names[name]), lambda name: str(names[name]), progress
    )


def _holds_array(path: Path) -> bool:
    return path.suffix.lower() == ".npy" and not path.is_dir()


def read_npy(source: Path, rows: RowIds, progress: Progress) -> Iterator[Block]:
    """Return the blocks of one array, whose ids are in `ids.txt` beside it.

    Raises:
        NotFoundError: If a file does not exist.
        InvalidValueError: If the array and the ids do not match.
    """
    array, path = _load(source), source.with_name("ids.txt")
    if not path.exists():
        raise NotFoundError(
            f"{path}: no such file; it says which {rows[:-1]} each row of {source.name} is", path=path
        )
    blocks = _named_blocks(source, array.shape, _slices(array), read_text(path).split(), rows)
    return with_progress(blocks, progress, source.name, math.prod(array.shape[:-1]))


@contextmanager
def read_npz(
    source: Path, rows: RowIds, progress: Progress
) -> Iterator[tuple[Iterator[Block], Mapping[str, Sequence[str]] | None]]:
    """Open an archive: its blocks, and the frames of each video if the archive names videos.

    The archive has one array per video, or the arrays `features`, `ids` and perhaps `videos`, row by row.

    Raises:
        NotFoundError: If the archive does not exist.
        CorruptFileError: If the archive is damaged.
        InvalidValueError: If an array has another shape or type, or the arrays do not match.
    """
    with open_archive(source) as archive:
        if not {_FEATURES, _IDS} <= set(archive.names) <= {_FEATURES, _IDS, _VIDEOS}:
            yield (
                _video_blocks(
                    source, archive.names, archive.read, lambda name: f"{source}: video '{name}'", progress
                ),
                None,
            )
            return
        ids = archive.read(_IDS).astype(str).ravel().tolist()
        frames_of: dict[str, list[str]] = defaultdict(list)
        if _VIDEOS in archive.names:
            videos = archive.read(_VIDEOS).astype(str).ravel().tolist()
            if len(videos) != len(ids):
                raise InvalidValueError(
                    f"{source}: {plural(len(videos), 'video')} for {plural(len(ids), 'id')}; "
                    "name one for each row",
                    path=source,
                )
            names = VideoIds()
            for video, frame in zip(videos, ids, strict=True):
                frames_of[names.of(video, source)].append(frame)
        with archive.open(_FEATURES) as (header, member):
            shape, slices = header.shape, _stream(source, header, member)
            blocks = _named_blocks(source, shape, slices, ids, "frames" if frames_of else rows)
            yield with_progress(blocks, progress, source.name, math.prod(shape[:-1])), frames_of or None


def ids_of_rows(videos: Iterable[str]) -> list[str]:
    """Return frame ids `<video>_<number>`, given the video of each row; frames are in the order of rows."""
    numbers: dict[str, Iterator[int]] = defaultdict(count)
    return [f"{video}_{next(numbers[video])}" for video in videos]


def write_npz(path: Path, blocks: Iterable[Block], shape: tuple[int, int], videos: Sequence[str]) -> None:
    """Write the file of `np.savez(path, features=…, ids=…, videos=…)`, holding one block at a time.

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
    """Write the frames of one video as `<video>.npy`.

    Raises:
        InvalidValueError: If the id of the video cannot be the name of a file.
    """
    if not video or any(character in video for character in ("/", os.sep, "\0")):
        raise InvalidValueError(f"video '{video}' cannot name a file; write one .npz instead")
    np.save(folder / f"{video}.npy", features, allow_pickle=False)


def _load(path: Path) -> Array:
    return _require_numbers(path, map_array(path))


def _require_numbers(where: object, array: Array) -> Array:
    if array.ndim and not array.size:
        raise InvalidValueError(f"{where}: an array of shape {array.shape}, which has no numbers")
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise InvalidValueError(
            f"{where}: an array of shape {array.shape} and type {array.dtype}, expected numbers"
        )
    return array


def _slices(array: Array) -> Iterator[Array]:
    step = max(1, BLOCK_BYTES * len(array) // array.nbytes)
    return (array[start : start + step] for start in range(0, len(array), step))


def _stream(source: Path, header: ArrayHeader, member: IO[bytes]) -> Iterator[Array]:
    """Return the rows of an array in an archive, block by block as they are read."""
    shape, dtype = header.shape, header.dtype
    if header.by_column and len(shape) > 1:
        raise InvalidValueError(
            f"{source}: '{_FEATURES}' is stored column by column; np.ascontiguousarray it first", path=source
        )
    _require_numbers(f"{source}: '{_FEATURES}'", np.broadcast_to(np.empty((), dtype), shape))
    row_bytes = dtype.itemsize * math.prod(shape[1:])
    step = max(1, BLOCK_BYTES // row_bytes)
    sizes = (min(step, shape[0] - start) for start in range(0, shape[0], step))
    return (np.frombuffer(member.read(size * row_bytes), dtype).reshape(size, *shape[1:]) for size in sizes)


def _video_blocks(
    source: Path,
    videos: Sequence[str],
    load: Callable[[str], Array],
    describe: Callable[[str], str],
    progress: Progress,
) -> Iterator[Block]:
    """Yield the arrays of single videos, with new frame ids.

    Args:
        source: The folder or archive of the arrays.
        videos: The names of the arrays.
        load: Returns the array of a name.
        describe: Returns the place of an array for messages.
        progress: Shows the number of videos that are done.
    """
    video_ids = VideoIds()
    name_of: dict[str, str] = {}
    dimension = 0
    with progress.task(source.name, len(videos)) as task:
        for name in videos:
            where, video = describe(name), video_ids.of(name, source)
            if name_of.setdefault(video, name) != name:  # `a` and `a.mp4` are one video elsewhere
                raise InvalidValueError(
                    f"{source}: '{name_of[video]}' and '{name}' both get the video id '{video}': rename one",
                    path=source,
                )
            frames = _require_matrix(where, load(name))
            dimension = dimension or frames.shape[1]
            if frames.shape[1] != dimension:
                raise InvalidValueError(
                    f"{where}: {plural(frames.shape[1], 'number')} a frame, but {describe(videos[0])} has "
                    f"{dimension:,}",
                    path=source,
                )
            start = 0
            for block in _slices(frames):
                require_finite(block, partial(_name_row, where, start))
                yield [f"{video}_{start + row}" for row in range(len(block))], block
                start += len(block)
            task.advance()


def _require_matrix(where: str, array: Array) -> Array:
    """Return the frames of one video, (frames, dimension); a vector is one frame."""
    array = _require_numbers(where, array)
    frames = array[None] if array.ndim == 1 else array
    if frames.ndim != 2:
        raise InvalidValueError(f"{where}: has shape {array.shape}, expected (frames, dimension)")
    return frames


def _named_blocks(
    source: Path, shape: tuple[int, ...], slices: Iterable[Array], ids: Sequence[str], rows: RowIds
) -> Iterator[Block]:
    """Yield the rows of an array with their ids; a row may hold the frames of a video."""
    if len(shape) not in {2, 3} or len(ids) != shape[0]:
        raise InvalidValueError(
            f"{source}: {plural(len(ids), 'id')} for an array of shape {shape}, expected one for each row",
            path=source,
        )
    names = VideoIds()
    if len(shape) == 3:
        videos = [names.of(name, source) for name in ids]
        ids = [f"{video}_{number}" for video in videos for number in range(shape[1])]
    elif rows == "videos":
        ids = ids_of_rows([names.of(name, source) for name in ids])
    start = 0
    for block in slices:
        features = block.reshape(-1, shape[-1])
        require_finite(features, partial(_name_row, source, start))
        yield ids[start : start + len(features)], features
        start += len(features)


def _name_row(where: object, start: int, row: int) -> str:
    return f"{where}, row index {start + row:,}"


def _new_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    return archive.open(zipfile.ZipInfo(f"{name}.npy", _FIRST_DATE), "w", force_zip64=True)
