"""Frame features on disk: a folder with `feature.bin`, `id.txt`, `shape.txt` and `video2frames.txt`.

`feature.bin` is mapped into memory, so a video costs one read of its rows. The parsed `video2frames.txt` is
kept in a cache beside it (`video2frames.cache.npz`).
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlcmr.arguments import check_arguments
from mlcmr.data.features.feature_files import Features, Rows, map_matrix, read_shape
from mlcmr.data.features.finite import require_finite
from mlcmr.data.features.row_cache import read_rows
from mlcmr.data.features.video2frames import VideoRows, resolve_rows, videos_of_frames
from mlcmr.data.ids import normalize_name
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError
from mlcmr.files import new_folder
from mlcmr.paths import user_path
from mlcmr.text import plural

__all__ = ["BROKEN", "Features", "FrameFeatures", "open_features", "write_features"]

BROKEN = "extract or convert that video again; `mlcmr check` lists all such frames"
"""The remedy for features that are not finite, for messages."""


class FrameFeatures:
    """The frame features of a collection, memory-mapped.

    Attributes:
        folder: The folder `FeatureData/<feature>`.
        matrix: (frames, dimension) float32, mapped from `feature.bin`.
        videos: The video ids, in the order of `video2frames.txt`.
    """

    def __init__(self, folder: Path, matrix: Features, video_rows: VideoRows) -> None:
        self.folder = folder
        self.matrix = matrix
        self.videos, counts, rows = video_rows
        self._rows = rows
        self._counts = counts
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        # If the frames of a video lie together, as nearly always, to read them is one straight copy.
        jumps = np.setdiff1d(np.flatnonzero(np.diff(rows) != 1) + 1, self._starts)
        self._together = np.ones(len(self.videos), np.bool_)
        self._together[np.searchsorted(self._starts, jumps, side="right") - 1] = False
        self._positions = {video: position for position, video in enumerate(self.videos)}

    @property
    def dimension(self) -> int:
        """Return the size of one frame feature."""
        return int(self.matrix.shape[1])

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process maps the files itself, instead of receiving gigabytes.
        return open_features, (self.folder,)

    def __repr__(self) -> str:
        frames, dimension = self.matrix.shape
        size = f"{plural(len(self), 'video')}, {plural(frames, 'frame')} × {dimension:,}"
        return f"{type(self).__name__}({str(self.folder)!r}, {size})"

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[str]:
        return iter(self.videos)

    def __contains__(self, video: str) -> bool:
        return normalize_name(video) in self._positions

    def __getitem__(self, video: str) -> Features:
        """Return a copy of the features of one video in frame order, (frames, dimension).

        Raises:
            NotFoundError: If the video has no features.
        """
        return self.matrix[self.rows(video)]

    def position(self, video: str) -> int:
        """Return the position of `video` in `videos`.

        Raises:
            NotFoundError: If the video has no features.
        """
        try:
            return self._positions[normalize_name(video)]
        except KeyError:
            path = self.folder / "video2frames.txt"
            raise NotFoundError(
                f"{path}: no video '{video}'; `mlcmr check` lists all missing videos", path=path
            ) from None

    def rows(self, video: str) -> Rows:
        """Return the rows of `matrix` that hold the frames of `video`, in order."""
        position = self.position(video)
        return self._rows[self._starts[position] : self._starts[position + 1]]

    def gather(self, positions: Sequence[int] | Rows) -> tuple[Features, Rows]:
        """Return the frames of several videos, one after the other.

        Args:
            positions: The positions of the videos in `videos`.

        Returns:
            (total frames, dimension) float32, and the number of frames of each video.

        Raises:
            CorruptFileError: If a feature is not finite.
        """
        positions = np.asarray(positions, np.int64)
        counts = self._counts[positions]
        frames = np.empty((int(counts.sum()), self.dimension), np.float32)
        stops = np.cumsum(counts)
        for position, start, stop in zip(positions, stops - counts, stops, strict=True):
            rows = self._rows[self._starts[position] : self._starts[position + 1]]
            if self._together[position]:
                frames[start:stop] = self.matrix[rows[0] : rows[-1] + 1]
            else:
                # The rows are valid; mode "raise" would copy through a buffer.
                np.take(self.matrix, rows, axis=0, out=frames[start:stop], mode="clip")

        def name(frame: int) -> str:
            place = int(np.searchsorted(stops, frame, side="right"))
            return self.name_frame(self.videos[positions[place]], frame - int(stops[place] - counts[place]))

        require_finite(frames, name, BROKEN)
        return frames, counts

    def name_frame(self, video: str, number: int) -> str:
        """Describe a frame of a video, counted from 0, for messages."""
        row = int(self.rows(video)[number])
        return f"{self.folder / 'feature.bin'}: frame {number} of video '{video}' (row index {row:,})"


@check_arguments
def open_features(folder: str | os.PathLike[str]) -> FrameFeatures:
    """Open the folder `FeatureData/<feature>` of a collection.

    Raises:
        NotFoundError: If a file does not exist.
        CorruptFileError: If a file is malformed, or contradicts another file.
    """
    folder = user_path(folder)
    frames, dimension = read_shape(folder)
    matrix = map_matrix(folder, frames, dimension)
    return FrameFeatures(folder, matrix, read_rows(folder, frames))


def write_features(
    folder: str | os.PathLike[str],
    blocks: Iterable[tuple[Sequence[str], Features]],
    video2frames: Mapping[str, Sequence[str]] | None = None,
    *,
    ids_from: str | os.PathLike[str] | None = None,
    videos_from: str | os.PathLike[str] | None = None,
) -> None:
    """Write a feature folder, block by block; it appears under its name only when it is complete.

    Args:
        folder: The folder `FeatureData/<feature>` to make; it must not exist yet.
        blocks: Frame ids and their features, (frames, dimension) each; memory holds one block at a time.
        video2frames: Frame ids of each video, in order; by default from ids `<video>_<number>`.
        ids_from: The source of the frames, for messages; by default the folder itself.
        videos_from: The source of `video2frames`, for messages; by default the folder itself.

    Raises:
        InvalidValueError: If the folder exists, there are no blocks, a dimension changes, or an id is blank
            or contains white space.
        CorruptFileError: If an id is repeated, or a video has no frames or an unknown frame.
        MlcmrError: If the folder cannot be written, or the disk is full.
    """
    folder = user_path(folder)
    where = folder if ids_from is None else Path(ids_from)
    ids: list[str] = []
    dimension = 0
    with new_folder(folder) as temporary:
        with (temporary / "feature.bin").open("wb") as file:
            for frame_ids, features in blocks:
                block = _check_block(where, frame_ids, features, dimension)
                dimension = block.shape[1]
                file.write(block.data)
                ids.extend(frame_ids)
        if not ids:
            raise InvalidValueError(f"{where}: no frames to write")
        try:
            videos = videos_of_frames(ids) if video2frames is None else video2frames
        except MlcmrError as error:
            raise InvalidValueError(f"{where}: {error}") from error
        literal = {video: list(frames) for video, frames in videos.items()}
        id_file, video_file = ids_from or folder / "id.txt", videos_from or folder / "video2frames.txt"
        resolve_rows(Path(id_file), Path(video_file), ids, literal)
        (temporary / "id.txt").write_bytes(_encode(folder, " ".join(ids)))
        (temporary / "shape.txt").write_bytes(b"%d %d\n" % (len(ids), dimension))
        (temporary / "video2frames.txt").write_bytes(_encode(folder, repr(literal)))


def _check_block(where: Path, frame_ids: Sequence[str], features: Features, dimension: int) -> Features:
    """Return the features of a block as they are written.

    Args:
        where: The source of the frames, for messages.
        frame_ids: The ids of the frames.
        features: The features, (frames, dimension).
        dimension: The dimension of the blocks before; 0 if there are none.

    Raises:
        InvalidValueError: If ids and features do not match, or an id is blank or contains white space.
    """
    if len(" ".join(frame_ids).split()) != len(frame_ids):
        invalid = next(frame for frame in frame_ids if frame.split() != [frame])
        raise InvalidValueError(f"{where}: frame id {invalid!r} is blank or has white space in it")
    block = np.ascontiguousarray(features, dtype="<f4")
    if block.ndim != 2 or len(block) != len(frame_ids) or not block.shape[1]:
        raise InvalidValueError(f"{where}: {len(frame_ids)} ids for features of shape {block.shape}")
    if dimension and block.shape[1] != dimension:
        raise InvalidValueError(
            f"{where}: frame '{frame_ids[0]}' has {block.shape[1]} numbers, those before it {dimension}"
        )
    return block


def _encode(folder: Path, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"{folder}: an id is not Unicode: {error}") from error
