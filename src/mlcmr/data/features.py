"""Frame features on disk: `feature.bin`, `id.txt`, `shape.txt`, `video2frames.txt`.

`feature.bin` is mapped into memory once: a video costs one read of its rows, and nothing is read that
nobody asked for. `video2frames.txt` is a Python dict literal; it is parsed, never executed, and the result
is kept beside it (`video2frames.cache.npz`) for as long as the sources' contents stay the same.
"""

import ast
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import UserError
from mlcmr.files import new_folder, replacing

Rows = NDArray[np.int64]
Features = NDArray[np.float32]

CACHE_NAME = "video2frames.cache.npz"
_NUMBERED = re.compile(r"(.+)_([0-9]{1,18})")
_SIZE = re.compile(r"0*[1-9][0-9]{0,17}")

Progress = Callable[[str, int, int], None]
"""Told what a long job is at, how much of it is done, and of how much (bytes, frames or videos)."""


class FrameFeatures:
    """The frame features of a collection, memory-mapped.

    Attributes:
        folder: The folder `FeatureData/<feature>`.
        matrix: (frames, dimension) float32, mapped from `feature.bin`.
        videos: The video ids, in the order of `video2frames.txt`.
    """

    def __init__(
        self, folder: Path, matrix: Features, videos: list[str], counts: NDArray[np.int64], rows: Rows
    ) -> None:
        self.folder = folder
        self.matrix = matrix
        self.videos = videos
        self._rows = rows
        self._counts = counts
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        # Whether a video's frames lie together, as nearly all do: then to read them is one straight copy.
        jumps = np.setdiff1d(np.flatnonzero(np.diff(rows) != 1) + 1, self._starts)
        self._together = np.ones(len(videos), np.bool_)
        self._together[np.searchsorted(self._starts, jumps, side="right") - 1] = False
        self._positions = {video: position for position, video in enumerate(videos)}

    @property
    def dimension(self) -> int:
        """The size of one frame feature."""
        return int(self.matrix.shape[1])

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process maps the files itself, rather than being sent gigabytes.
        return open_features, (self.folder,)

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[str]:
        return iter(self.videos)

    def __contains__(self, video: str) -> bool:
        return video in self._positions

    def __getitem__(self, video: str) -> Features:
        """The features of one video, (frames, dimension), copied in order."""
        return self.matrix[self.rows(video)]

    def position(self, video: str) -> int:
        """Where `video` stands in `videos`.

        Raises:
            UserError: there is no such video.
        """
        try:
            return self._positions[video]
        except KeyError:
            raise UserError(
                f"{self.folder / 'video2frames.txt'}: no video '{video}'; `mlcmr check` lists what is missing"
            ) from None

    def rows(self, video: str) -> Rows:
        """The rows of `matrix` that hold the frames of `video`, in order."""
        position = self.position(video)
        return self._rows[self._starts[position] : self._starts[position + 1]]

    def gather(self, positions: Sequence[int] | Rows) -> tuple[Features, Rows]:
        """The frames of several videos, one after the other.

        Args:
            positions: Where the videos stand in `videos`.

        Returns:
            (total frames, dimension) float32, and the number of frames of each video.
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
                # The rows are known to be there; "raise" would go through a buffer.
                np.take(self.matrix, rows, axis=0, out=frames[start:stop], mode="clip")
        return frames, counts


def open_features(folder: str | os.PathLike[str]) -> FrameFeatures:
    """Opens the folder `FeatureData/<feature>` of a collection.

    Raises:
        UserError: a file is missing, malformed, or disagrees with another; with the file's name.
    """
    folder = Path(folder)
    frames, dimension = read_shape(folder)
    matrix = map_matrix(folder, frames, dimension)
    id_text, video_text = (_read_bytes(folder / name) for name in ("id.txt", "video2frames.txt"))
    digest = _digest([id_text, video_text, str(frames).encode()])
    cached = _read_cache(folder / CACHE_NAME, digest)
    if cached is None:
        ids = _split_ids(folder, id_text, frames)
        cached = _resolve(folder, ids, parse_video2frames(folder / "video2frames.txt", decode(video_text)))
        _write_cache(folder / CACHE_NAME, digest, *cached)
    return FrameFeatures(folder, matrix, *cached)


def read_shape(folder: Path) -> tuple[int, int]:
    """Frames and dimension, from `shape.txt`.

    Raises:
        UserError: the file is missing or is not two positive whole numbers.
    """
    path = folder / "shape.txt"
    words = read_text(path).split()
    if len(words) != 2 or not all(map(_SIZE.fullmatch, words)):
        raise UserError(f"{path}: '{' '.join(words)[:60]}' is not '<frames> <dimension>'")
    return int(words[0]), int(words[1])


def map_matrix(folder: Path, frames: int, dimension: int) -> Features:
    """Maps `feature.bin` into memory, (frames, dimension) float32.

    Raises:
        UserError: the file is missing or its size is not what `shape.txt` says.
    """
    path = folder / "feature.bin"
    expected = frames * dimension * 4
    try:
        found = path.stat().st_size
        if found == expected:
            return np.memmap(path, dtype="<f4", mode="r", shape=(frames, dimension)).view(np.ndarray)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    raise UserError(
        f"{path}: {found:,} bytes, but shape.txt says {frames:,} × {dimension:,} float32 = {expected:,} bytes"
    )


def read_frame_ids(folder: Path, frames: int) -> list[str]:
    """The frame ids, from `id.txt`, in the order of the rows.

    Raises:
        UserError: the file is missing or has not `frames` ids.
    """
    return _split_ids(folder, _read_bytes(folder / "id.txt"), frames)


def parse_video2frames(path: Path, text: str) -> dict[str, list[str]]:
    """Parses a dict literal `{'video': ['frame', …], …}` without executing anything.

    Raises:
        UserError: the text is something else, or names a video twice.
    """
    pairs = video2frames_pairs(path, text)
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise UserError(f"{path}: video '{_first_repeated(video for video, _ in pairs)}' stands there twice")
    return parsed


def video2frames_pairs(path: Path, text: str) -> list[tuple[str, list[Any]]]:
    """The videos of a dict literal `{'video': ['frame', …], …}` with their frames, as they stand there.

    Raises:
        UserError: the text is something else.
    """
    pairs = _json_pairs(text)
    if pairs is None:
        pairs = _literal_pairs(text)
    if pairs is None or not all(
        isinstance(video, str) and isinstance(frames, list) for video, frames in pairs
    ):
        raise UserError(f"{path}: not a dict of lists, {{'<video>': ['<frame>', …], …}}")
    return pairs


def videos_of_frames(frame_ids: Sequence[str]) -> dict[str, list[str]]:
    """Groups frame ids of the form `<video>_<number>` by video, frames in the order of their numbers.

    Raises:
        UserError: an id has another form.
    """
    numbered: dict[str, list[tuple[int, str]]] = {}
    for frame in frame_ids:
        match = _NUMBERED.fullmatch(frame)
        if match is None:
            raise UserError(f"frame id '{frame}' is not <video>_<number>; give video2frames yourself")
        numbered.setdefault(match[1], []).append((int(match[2]), frame))
    return {video: [frame for _, frame in sorted(frames)] for video, frames in numbered.items()}


def write_features(
    folder: str | os.PathLike[str],
    blocks: Iterable[tuple[Sequence[str], Features]],
    video2frames: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Writes a feature folder, block by block; it appears under its name only when it is complete.

    Args:
        folder: The folder `FeatureData/<feature>` to make; it must not exist yet.
        blocks: Frame ids and their features, (frames, dimension) each; memory holds one block at a time.
        video2frames: Frame ids of each video, in order; by default from ids `<video>_<number>`.

    Raises:
        UserError: the folder exists, a dimension changes, an id repeats or has white space in it, a video has
            no frames or one that is not there, nothing was given, or the disk is full.
    """
    folder = Path(folder)
    ids: list[str] = []
    dimension = 0
    with new_folder(folder) as temporary:
        with (temporary / "feature.bin").open("wb") as file:
            for frame_ids, features in blocks:
                if len(" ".join(frame_ids).split()) != len(frame_ids):
                    odd = next(frame for frame in frame_ids if frame.split() != [frame])
                    raise UserError(f"{folder}: frame id {odd!r} is blank or has white space in it")
                block = np.ascontiguousarray(features, dtype="<f4")
                if block.ndim != 2 or len(block) != len(frame_ids) or not block.shape[1]:
                    raise UserError(f"{folder}: {len(frame_ids)} ids for features of shape {block.shape}")
                dimension = dimension or block.shape[1]
                if block.shape[1] != dimension:
                    raise UserError(
                        f"{folder}: frame '{frame_ids[0]}' has {block.shape[1]} numbers, "
                        f"those before it {dimension}"
                    )
                file.write(block.data)
                ids.extend(frame_ids)
        if not ids:
            raise UserError(f"{folder}: no frames to write")
        videos = videos_of_frames(ids) if video2frames is None else video2frames
        literal = {video: list(frames) for video, frames in videos.items()}
        _resolve(folder, ids, literal)
        (temporary / "id.txt").write_bytes(_encode(folder, " ".join(ids)))
        (temporary / "shape.txt").write_bytes(b"%d %d\n" % (len(ids), dimension))
        (temporary / "video2frames.txt").write_bytes(_encode(folder, repr(literal)))


def read_text(path: Path) -> str:
    """The text of `id.txt`, `shape.txt` or `video2frames.txt`.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    return decode(_read_bytes(path))


def decode(content: bytes) -> str:
    """Text as UTF-8, or ISO-8859-1 (as the published tools wrote `id.txt`) where it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("iso-8859-1")


def _encode(folder: Path, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{folder}: an id is not Unicode: {error}") from error


def _split_ids(folder: Path, content: bytes, frames: int) -> list[str]:
    ids = decode(content).split()
    if len(ids) != frames:
        raise UserError(f"{folder / 'id.txt'}: {len(ids):,} frame ids, but shape.txt says {frames:,} frames")
    return ids


def _json_pairs(text: str) -> list[tuple[Any, Any]] | None:
    # Ids without quotes or escapes, which is all of them in practice: as JSON, many times faster.
    if '"' in text or "\\" in text or text.lstrip()[:1] != "{":
        return None
    try:
        pairs: list[tuple[Any, Any]] = json.loads(text.replace("'", '"'), object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    return pairs


def _literal_pairs(text: str) -> list[tuple[Any, Any]] | None:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if not isinstance(tree, ast.Dict):
            return None
        keys = [None if key is None else ast.literal_eval(key) for key in tree.keys]
        return list(zip(keys, map(ast.literal_eval, tree.values), strict=True))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _resolve(
    folder: Path, ids: list[str], video2frames: dict[str, list[str]]
) -> tuple[list[str], NDArray[np.int64], Rows]:
    row_of = dict(zip(ids, range(len(ids)), strict=True))
    if len(row_of) != len(ids):
        raise UserError(f"{folder / 'id.txt'}: frame id '{_first_repeated(ids)}' stands there twice")
    frames_in_order = [frame for frames in video2frames.values() for frame in frames]
    try:
        # Nearly always the file lists the frames in the order of the rows; no look-ups then.
        rows = (
            np.arange(len(ids))
            if frames_in_order == ids
            else np.array([row_of[frame] for frame in frames_in_order], np.int64)
        )
    except (KeyError, TypeError):
        video, frame = next(
            (video, frame)
            for video, frames in video2frames.items()
            for frame in frames
            if not isinstance(frame, str) or frame not in row_of
        )
        raise UserError(
            f"{folder / 'video2frames.txt'}: frame '{frame}' of video '{video}' is not in id.txt"
        ) from None
    counts = np.array([len(frames) for frames in video2frames.values()], np.int64)
    if not counts.size or not counts.all():
        empty = next((video for video, frames in video2frames.items() if not frames), None)
        what = "no videos" if empty is None else f"video '{empty}' has no frames"
        raise UserError(f"{folder / 'video2frames.txt'}: {what}")
    return list(video2frames), counts, rows


def _digest(sources: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for source in sources:
        digest.update(len(source).to_bytes(8, "little"))
        digest.update(source)
    return digest.hexdigest()


def _read_cache(path: Path, digest: str) -> tuple[list[str], NDArray[np.int64], Rows] | None:
    # A cache that is absent, foreign or damaged (which can raise nearly anything) is simply made again.
    with suppress(Exception), np.load(path, allow_pickle=False) as cache:
        if str(cache["digest"]) == digest and cache.zip.testzip() is None:
            videos = bytes(cache["videos"]).decode().split("\n")
            return videos, cache["counts"].astype(np.int64), cache["rows"].astype(np.int64)
    return None


def _write_cache(path: Path, digest: str, videos: list[str], counts: NDArray[np.int64], rows: Rows) -> None:
    if any("\n" in video for video in videos):
        return
    # A read-only collection works without a cache.
    with suppress(UserError, UnicodeEncodeError), replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            digest=np.array(digest),
            videos=np.frombuffer("\n".join(videos).encode(), np.uint8),
            counts=counts.astype(np.int32),
            rows=rows.astype(np.int32 if len(rows) < 2**31 else np.int64),
        )


def _first_repeated(names: Iterable[str]) -> str:
    return next(_repeated(names))


def _repeated(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
