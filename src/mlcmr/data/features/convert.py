"""Convert frame features from and to text and NumPy arrays; join features, and select videos.

Memory holds one block at a time, whatever the size of the collection. A result appears under its name only
when it is complete.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from mlcmr.arguments import check_arguments
from mlcmr.data.captions import decode_lines
from mlcmr.data.features.arrays import (
    Block,
    RowIds,
    ids_of_rows,
    read_folder,
    read_npy,
    read_npz,
    rows_per_block,
    with_progress,
    write_npy,
    write_npz,
)
from mlcmr.data.features.feature_files import (
    Features,
    Rows,
    map_matrix,
    read_frame_ids,
    read_shape,
    read_text,
)
from mlcmr.data.features.finite import require_finite
from mlcmr.data.features.frame_features import FrameFeatures, open_features, write_features
from mlcmr.data.features.text_lines import read_text_lines
from mlcmr.data.features.video2frames import parse_video2frames, videos_of_frames
from mlcmr.data.ids import VideoIds, normalize_name
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError, require_list
from mlcmr.files import new_folder, replacing, write_text
from mlcmr.paths import AnyPath, user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.text import plural


@dataclass(frozen=True, slots=True)
class FeatureSize:
    """The size of a frame feature that a conversion wrote.

    Attributes:
        videos: The number of videos.
        frames: The number of frames.
        dimension: The size of one frame feature.
    """

    videos: int
    frames: int
    dimension: int

    def __str__(self) -> str:
        return f"{plural(self.videos, 'video')}, {plural(self.frames, 'frame')} × {self.dimension:,}"

    def to_dict(self) -> dict[str, int]:
        """Return the numbers by name, for JSON."""
        return asdict(self)


@check_arguments
def text_to_features(
    texts: AnyPath | Sequence[AnyPath],
    folder: AnyPath,
    video2frames: AnyPath | None = None,
    progress: Progress = SILENT,
) -> FeatureSize:
    """Make a feature folder from lines of text, `<frame id> <number> <number> …`.

    Args:
        texts: One text file, or several that are read one after the other. Blank lines are skipped.
        folder: The folder `FeatureData/<feature>` to make; it must not exist yet.
        video2frames: A file with a dict literal, video → frame ids in order; by default from frame ids
            `<video>_<number>`.
        progress: Shows the number of bytes that were read.

    Raises:
        NotFoundError: If a file does not exist.
        CorruptFileError: If a line is malformed (with file and line), or an id is repeated.
        InvalidValueError: If the folder exists already.
    """
    paths = [user_path(path) for path in ([texts] if isinstance(texts, str | os.PathLike) else texts)]
    videos = None
    if video2frames is not None:
        path, ids = user_path(video2frames), VideoIds()
        frames_of = parse_video2frames(path, read_text(path))
        videos = {ids.of(name, path): frames for name, frames in frames_of.items()}
    read = ", ".join(map(str, paths))
    blocks = read_text_lines(paths, progress)
    write_features(folder, blocks, videos, ids_from=read, videos_from=video2frames)
    return _size(open_features(folder))


@check_arguments
def arrays_to_features(
    source: AnyPath,
    folder: AnyPath,
    rows: RowIds = "frames",
    progress: Progress = SILENT,
) -> FeatureSize:
    """Make a feature folder from NumPy arrays, one per video or one with ids; nothing pickled is loaded.

    Args:
        source: One of

            - a folder with one `<video>.npy` per video, (frames, dimension) or (dimension,);
            - an `.npz` with one such array per video;
            - an `.npz` with `features` (rows, dimension), `ids` (rows,) and optionally `videos` (rows,), the
              video of each row; `features_to_arrays` writes this form;
            - an `.npy` (rows, dimension) with one id per row in `ids.txt` beside it.

            With ids of videos, `features` may also have the shape (videos, frames, dimension).
        folder: The folder `FeatureData/<feature>` to make; it must not exist yet.
        rows: The meaning of the ids: `frames`, as `<video>_<number>`, or `videos`: then rows with the same id
            are the frames of a video, in order.
        progress: Shows the number of videos or rows that were written.

    Raises:
        NotFoundError: If the source does not exist.
        CorruptFileError: If an archive is damaged.
        InvalidValueError: If the source has another form, or the folder exists already.
    """
    source = user_path(source)
    if source.is_dir():
        write_features(folder, read_folder(source, progress), ids_from=source)
    elif source.suffix == ".npy":
        ids = source.with_name("ids.txt")
        write_features(folder, read_npy(source, rows, progress), ids_from=ids)
    elif source.suffix == ".npz":
        with read_npz(source, rows, progress) as (blocks, video2frames):
            write_features(folder, blocks, video2frames, ids_from=source, videos_from=source)
    else:
        if not source.exists():
            raise NotFoundError(f"{source}: no such file or folder", path=source)
        raise InvalidValueError(f"{source}: neither a folder nor an .npy or .npz file", path=source)
    return _size(open_features(folder))


@check_arguments
def features_to_arrays(folder: AnyPath, target: AnyPath, progress: Progress = SILENT) -> FeatureSize:
    """Write a feature folder as NumPy arrays.

    Args:
        folder: The folder `FeatureData/<feature>`.
        target: The result, which must not exist yet. A name that ends in `.npz` becomes one file with
            `features` (frames, dimension), `ids` and `videos` (frames,), video by video. Any other name
            becomes a folder with one `<video>.npy` per video, (frames, dimension).
        progress: Shows the number of videos that were written.

    Raises:
        NotFoundError: If the feature folder does not exist.
        CorruptFileError: If the features are damaged.
        InvalidValueError: If the target exists already.
    """
    features, target = open_features(folder), user_path(target)
    if target.suffix == ".npz":
        if target.exists():
            raise InvalidValueError(f"{target}: exists already; remove it or name another file", path=target)
        rows = np.concatenate([features.rows(video) for video in features.videos])
        videos = [video for video in features.videos for _ in features.rows(video)]
        with replacing(target) as temporary:
            blocks = with_progress(_blocks(features, rows), progress, target.name, len(rows))
            write_npz(temporary, blocks, (len(rows), features.dimension), videos)
    else:
        with new_folder(target) as temporary, progress.task(target.name, len(features)) as task:
            for video in features.videos:
                write_npy(temporary, video, features[video])
                task.advance()
    return _size(features)


@check_arguments
def join_features(folders: Sequence[AnyPath], folder: AnyPath, progress: Progress = SILENT) -> FeatureSize:
    """Join two or more features of the same frames along the dimension.

    The published `resnext101-resnet152` was made in this way. Frames are matched by their ids. The order of
    the frames, and the frames of each video, are those of the first feature.

    Args:
        folders: The folders `FeatureData/<feature>` to join, two or more; the first gives the order.
        folder: The folder to make; it must not exist yet.
        progress: Shows the number of frames that were written.

    Raises:
        InvalidValueError: If fewer than two folders are given, or a frame is missing in a feature.
        CorruptFileError: If a feature is damaged.
    """
    require_list(folders, "folders")
    parts = [open_features(part) for part in folders]
    if len(parts) < 2:
        raise InvalidValueError(f"{folder}: name two or more features to join", parameter="folders")
    first, ids = parts[0], _frame_ids(parts[0])
    orders = [_order(part, first, ids) for part in parts]
    step = rows_per_block(sum(part.dimension for part in parts))
    blocks = (
        (
            ids[start : start + step],
            np.concatenate(
                [
                    _finite(part, order[start : start + step])
                    for part, order in zip(parts, orders, strict=True)
                ],
                axis=1,
            ),
        )
        for start in range(0, len(ids), step)
    )
    video2frames = {video: [ids[row] for row in first.rows(video)] for video in first.videos}
    write_features(folder, with_progress(blocks, progress, Path(folder).name, len(ids)), video2frames)
    return _size(open_features(folder))


@check_arguments
def select_videos(
    folder: AnyPath,
    videos: AnyPath | Iterable[str],
    target: AnyPath,
    progress: Progress = SILENT,
) -> FeatureSize:
    """Make a feature folder with some of the videos of another.

    Args:
        folder: The folder `FeatureData/<feature>` with all videos.
        videos: The video ids, or a text file with one id a line. The order is kept.
        target: The folder to make; it must not exist yet.
        progress: Shows the number of frames that were written.

    Raises:
        NotFoundError: If a video is not in the feature (with its id).
        InvalidValueError: If the target exists already.
    """
    if isinstance(videos, str | os.PathLike):
        videos = filter(None, map(str.strip, decode_lines(user_path(videos))))
    features, wanted = open_features(folder), list(dict.fromkeys(map(normalize_name, videos)))
    missing = [video for video in wanted if video not in features]
    if missing:
        others = f", nor {len(missing) - 1:,} others" if missing[1:] else ""
        raise NotFoundError(
            f"{features.folder}: no video '{missing[0]}'{others} of the {len(wanted):,} wanted",
            path=features.folder,
        )
    ids = _frame_ids(features)
    video2frames = {video: [ids[row] for row in features.rows(video)] for video in wanted}
    chosen = np.fromiter(
        dict.fromkeys(chain.from_iterable(features.rows(video).tolist() for video in wanted)), np.int64
    )
    blocks = with_progress(_blocks(features, chosen), progress, Path(target).name, len(chosen))
    write_features(target, blocks, video2frames)
    return _size(open_features(target))


@check_arguments
def write_video2frames(folder: AnyPath, overwrite: bool = False, rows: RowIds = "frames") -> FeatureSize:
    """Make the `video2frames.txt` of a feature folder from the ids in its `id.txt`.

    Args:
        folder: The folder `FeatureData/<feature>`, with `id.txt`, `shape.txt` and `feature.bin`.
        overwrite: Replace an existing file.
        rows: The meaning of the ids: `frames`, as `<video>_<number>`, or `videos`: then rows with the same id
            are the frames of a video, in order, and get new ids in `id.txt`.

    Raises:
        InvalidValueError: If the file exists already, a frame id has another form, or the ids of videos were
            replaced with ids of frames before.
        CorruptFileError: If the features are damaged.
    """
    folder = user_path(folder)
    path = folder / "video2frames.txt"
    if path.exists() and not overwrite:
        raise InvalidValueError(
            f"{path}: exists already; set `overwrite` to replace it", path=path, parameter="overwrite"
        )
    frames, dimension = read_shape(folder)
    map_matrix(folder, frames, dimension)
    ids = read_frame_ids(folder, frames)
    names, where = VideoIds(), folder / "id.txt"
    try:
        if rows == "frames":
            write_text(path, repr(videos_of_frames(ids)))
            return _size(open_features(folder))
    except MlcmrError as error:
        raise InvalidValueError(
            f"{where}: {error}; if the ids name videos, set `rows` to videos", path=where, parameter="rows"
        ) from error
    videos = [names.of(name, where) for name in ids]
    repeated = len(set(ids)) < len(ids)
    if not repeated and path.exists():
        with suppress(CorruptFileError):
            if any(len(frames) > 1 for frames in parse_video2frames(path, read_text(path)).values()):
                raise InvalidValueError(
                    f"{where}: its ids name frames already, as {path.name} says; if they name videos, remove "
                    f"{path.name}",
                    path=where,
                    parameter="rows",
                )
    frame_ids = ids_of_rows(videos) if repeated else ids
    frames_of: dict[str, list[str]] = {}
    for video, frame in zip(videos, frame_ids, strict=True):
        frames_of.setdefault(video, []).append(frame)
    # The ids come last: without them the folder does not open, and the command can be run again.
    write_text(path, repr(frames_of))
    if repeated:
        write_text(where, " ".join(frame_ids))
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
        yield [ids[row] for row in block], _finite(features, block)


def _finite(features: FrameFeatures, rows: Rows) -> Features:
    """Return the features of rows.

    Raises:
        CorruptFileError: If a number is not finite.
    """
    selected = features.matrix[rows]
    require_finite(selected, lambda row: f"{features.folder / 'feature.bin'}, row index {rows[row]:,}")
    return selected


def _order(part: FrameFeatures, first: FrameFeatures, ids: list[str]) -> Rows:
    """Return the rows of `part` that hold the frames `ids` of `first`."""
    part_ids = _frame_ids(part)
    if part_ids == ids:
        return np.arange(len(ids))
    for known, needed, folder, other in ((part_ids, ids, part, first), (ids, part_ids, first, part)):
        known_ids = set(known)
        missing = next((frame for frame in needed if frame not in known_ids), None)
        if missing is not None:
            path = folder.folder / "id.txt"
            raise InvalidValueError(f"{path}: no frame '{missing}', which {other.folder} has", path=path)
    row_of = dict(zip(part_ids, range(len(part_ids)), strict=True))
    return np.array([row_of[frame] for frame in ids], np.int64)
