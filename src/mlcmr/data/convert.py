"""Frame features from and to other forms: lines of text, NumPy arrays; joined, selected.

Everything passes through block by block, so that memory does not grow with the collection, and a result
takes its name only when it is complete.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from mlcmr.data.arrays import (
    Block,
    RowIds,
    read_folder,
    read_npy,
    read_npz,
    rows_per_block,
    told,
    write_npy,
    write_npz,
)
from mlcmr.data.captions import decode_lines
from mlcmr.data.features import (
    Features,
    FrameFeatures,
    Progress,
    Rows,
    decode,
    map_matrix,
    open_features,
    parse_video2frames,
    read_frame_ids,
    read_shape,
    read_text,
    videos_of_frames,
    write_features,
)
from mlcmr.errors import UserError
from mlcmr.files import new_folder, replacing, write_text

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class FeatureSize:
    """What a conversion wrote."""

    videos: int
    frames: int
    dimension: int

    def __str__(self) -> str:
        videos = "1 video" if self.videos == 1 else f"{self.videos:,} videos"
        return f"{videos}, {self.frames:,} frames × {self.dimension:,}"


def text_to_features(
    texts: AnyPath | Sequence[AnyPath],
    folder: AnyPath,
    video2frames: AnyPath | None = None,
    progress: Progress | None = None,
) -> FeatureSize:
    """Makes a feature folder from lines `<frame id> <number> <number> …`.

    Args:
        texts: One text file, or several that are read one after the other. Blank lines are skipped.
        folder: The folder `FeatureData/<feature>` to make; it must not exist yet.
        video2frames: A file with a dict literal, video → frame ids in order; by default from frame ids
            `<video>_<number>`.
        progress: Told the bytes that were read.

    Raises:
        UserError: a line is malformed (with file and line), an id repeats, or the folder cannot be made.
    """
    paths = [Path(path) for path in ([texts] if isinstance(texts, str | os.PathLike) else texts)]
    videos = None
    if video2frames is not None:
        videos = parse_video2frames(Path(video2frames), read_text(Path(video2frames)))
    write_features(folder, _text_blocks(paths, progress), videos)
    return _size(open_features(folder))


def arrays_to_features(
    source: AnyPath,
    folder: AnyPath,
    rows: RowIds = "frames",
    progress: Progress | None = None,
) -> FeatureSize:
    """Makes a feature folder from NumPy arrays of numbers; nothing pickled is ever loaded.

    Args:
        source: One of

            - a folder with one `<video>.npy` per video, (frames, dimension) or (dimension,);
            - an `.npz` with one such array per video;
            - an `.npz` with `features` (rows, dimension), `ids` (rows,) and, if it likes, `videos` (rows,),
              the video of each row; so `features_to_arrays` writes it;
            - an `.npy` (rows, dimension) with its ids, one per row, in `ids.txt` beside it.

            Where there are ids, `features` may also be (videos, frames, dimension), the ids being videos'.
        folder: The folder `FeatureData/<feature>` to make; it must not exist yet.
        rows: What ids name: `frames`, with ids `<video>_<number>`, or `videos`; then rows with the same id
            are its frames, in order.
        progress: Told the videos or rows that were written.

    Raises:
        UserError: the source is none of these, or the folder cannot be made.
    """
    source = Path(source)
    if source.is_dir():
        write_features(folder, read_folder(source, progress))
    elif source.suffix == ".npy":
        write_features(folder, read_npy(source, rows, progress))
    elif source.suffix == ".npz":
        with read_npz(source, rows, progress) as (blocks, video2frames):
            write_features(folder, blocks, video2frames)
    else:
        raise UserError(f"{source}: neither a folder nor an .npy or .npz file")
    return _size(open_features(folder))


def features_to_arrays(folder: AnyPath, target: AnyPath, progress: Progress | None = None) -> FeatureSize:
    """Writes a feature folder as NumPy arrays.

    Args:
        folder: The folder `FeatureData/<feature>`.
        target: Where to: a name that ends in `.npz` becomes one file with `features` (frames, dimension),
            `ids` and `videos` (frames,), video by video; any other a folder with one `<video>.npy` per
            video, (frames, dimension). It must not exist yet.
        progress: Told the videos that were written.

    Raises:
        UserError: the features are damaged, or the target exists or cannot be written.
    """
    features, target = open_features(folder), Path(target)
    if target.suffix == ".npz":
        if target.exists():
            raise UserError(f"{target}: exists already; remove it or name another file")
        rows = np.concatenate([features.rows(video) for video in features.videos])
        videos = [video for video in features.videos for _ in features.rows(video)]
        with replacing(target) as temporary:
            blocks = told(_blocks(features, rows), progress, target.name, len(rows))
            write_npz(temporary, blocks, (len(rows), features.dimension), videos)
    else:
        with new_folder(target) as temporary:
            for done, video in enumerate(features.videos, start=1):
                write_npy(temporary, video, features[video])
                if progress:
                    progress(target.name, done, len(features))
    return _size(features)


def join_features(
    folders: Sequence[AnyPath], folder: AnyPath, progress: Progress | None = None
) -> FeatureSize:
    """Joins features of the same frames, one after the other along the dimension.

    So `resnext101-resnet152` came about. Frames are matched by their ids; their order, and which frames a
    video has, are those of the first.

    Args:
        folders: The folders `FeatureData/<feature>` to join, two or more.
        folder: The folder to make; it must not exist yet.
        progress: Told the frames that were written.

    Raises:
        UserError: a frame is missing in one of them (with its id), or one is damaged.
    """
    parts = [open_features(part) for part in folders]
    if len(parts) < 2:
        raise UserError(f"{folder}: name two or more features to join")
    first, ids = parts[0], _frame_ids(parts[0])
    orders = [_order(part, first, ids) for part in parts]
    step = rows_per_block(sum(part.dimension for part in parts))
    blocks = (
        (
            ids[start : start + step],
            np.concatenate(
                [part.matrix[order[start : start + step]] for part, order in zip(parts, orders, strict=True)],
                axis=1,
            ),
        )
        for start in range(0, len(ids), step)
    )
    video2frames = {video: [ids[row] for row in first.rows(video)] for video in first.videos}
    write_features(folder, told(blocks, progress, Path(folder).name, len(ids)), video2frames)
    return _size(open_features(folder))


def select_videos(
    folder: AnyPath,
    videos: AnyPath | Iterable[str],
    target: AnyPath,
    progress: Progress | None = None,
) -> FeatureSize:
    """Makes a feature folder with some of the videos of another.

    Args:
        folder: The folder `FeatureData/<feature>` to take them from.
        videos: The video ids, or a text file with one id a line. Their order is kept.
        target: The folder to make; it must not exist yet.
        progress: Told the frames that were written.

    Raises:
        UserError: a video is not there (with its id), or the target cannot be made.
    """
    if isinstance(videos, str | os.PathLike):
        videos = filter(None, map(str.strip, decode_lines(Path(videos))))
    features, wanted = open_features(folder), list(dict.fromkeys(videos))
    missing = [video for video in wanted if video not in features]
    if missing:
        others = f", nor {len(missing) - 1:,} others" if missing[1:] else ""
        raise UserError(f"{features.folder}: no video '{missing[0]}'{others} of the {len(wanted):,} wanted")
    ids = _frame_ids(features)
    video2frames = {video: [ids[row] for row in features.rows(video)] for video in wanted}
    chosen = np.fromiter(
        dict.fromkeys(chain.from_iterable(features.rows(video).tolist() for video in wanted)), np.int64
    )
    blocks = told(_blocks(features, chosen), progress, Path(target).name, len(chosen))
    write_features(target, blocks, video2frames)
    return _size(open_features(target))


def write_video2frames(folder: AnyPath, overwrite: bool = False) -> FeatureSize:
    """Makes the `video2frames.txt` of a feature folder from its frame ids `<video>_<number>`.

    Args:
        folder: The folder `FeatureData/<feature>`, with `id.txt`, `shape.txt` and `feature.bin`.
        overwrite: Whether to replace the file where there is one.

    Raises:
        UserError: there is one already, a frame id has another form, or the features are damaged.
    """
    folder = Path(folder)
    path = folder / "video2frames.txt"
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; --overwrite replaces it")
    frames, dimension = read_shape(folder)
    map_matrix(folder, frames, dimension)
    ids = read_frame_ids(folder, frames)
    try:
        videos = videos_of_frames(ids)
    except UserError as error:
        raise UserError(f"{folder / 'id.txt'}: {error}") from error
    write_text(path, repr(videos))
    return _size(open_features(folder))


def _size(features: FrameFeatures) -> FeatureSize:
    return FeatureSize(len(features), len(features.matrix), features.dimension)


def _frame_ids(features: FrameFeatures) -> list[str]:
    return read_frame_ids(features.folder, len(features.matrix))


def _blocks(features: FrameFeatures, rows: Rows) -> Iterator[Block]:
    ids = _frame_ids(features)
    step = rows_per_block(features.dimension)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        yield [ids[row] for row in block], features.matrix[block]


def _text_blocks(paths: Sequence[Path], progress: Progress | None) -> Iterator[Block]:
    lines = _text_lines(paths, progress)
    for first in lines:
        block = [first, *islice(lines, rows_per_block(len(first[1])) - 1)]
        yield [frame for frame, _ in block], np.stack([row for _, row in block])


def _text_lines(paths: Sequence[Path], progress: Progress | None) -> Iterator[tuple[str, Features]]:
    try:
        before, total = 0, sum(path.stat().st_size for path in paths)
        seen: set[str] = set()
        dimension = 0
        for path in paths:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.isspace():
                        continue
                    frame, row = _parse_line(line, f"{path}:{number}", dimension)
                    if frame in seen:
                        raise UserError(f"{path}:{number}: frame '{frame}' has a line already")
                    seen.add(frame)
                    dimension = len(row)
                    yield frame, row
                    if progress and number % 1000 == 0:
                        progress(path.name, before + file.tell(), total)
                before += file.tell()
            if progress:
                progress(path.name, before, total)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _parse_line(line: bytes, where: str, dimension: int) -> tuple[str, Features]:
    name, *numbers = line.split()
    frame = decode(name)
    try:
        row = np.array(numbers, dtype=np.float32)
    except ValueError as error:
        wrong = str(error).rpartition(": ")[2].removeprefix("b")
        raise UserError(f"{where}: {wrong[:60]} is not a number") from error
    if not numbers or len(row) != (dimension or len(row)):
        expected = f"those before it {dimension:,}" if dimension else "expected <frame id> <number> …"
        raise UserError(f"{where}: frame '{frame[:60]}' has {len(row):,} numbers, {expected}")
    return frame, row


def _order(part: FrameFeatures, first: FrameFeatures, ids: list[str]) -> Rows:
    """Where the frames `ids` of `first` stand in `part`."""
    there = _frame_ids(part)
    if there == ids:
        return np.arange(len(ids))
    for here, others, folder, other in ((there, ids, part.folder, first), (ids, there, first.folder, part)):
        known = set(here)
        missing = next((frame for frame in others if frame not in known), None)
        if missing is not None:
            raise UserError(f"{folder / 'id.txt'}: no frame '{missing}', which {other.folder} has")
    row_of = dict(zip(there, range(len(there)), strict=True))
    return np.array([row_of[frame] for frame in ids], np.int64)
