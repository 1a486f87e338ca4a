"""The cache of a parsed `video2frames.txt`; it is valid as long as its sources have the same contents."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from mlcmr.data.features.feature_files import decode, read_contents, read_shape, split_ids
from mlcmr.data.features.numpy_files import open_archive
from mlcmr.data.features.video2frames import VideoRows, parse_video2frames, resolve_rows
from mlcmr.data.ids import normalize_name
from mlcmr.errors import CorruptFileError, MlcmrError
from mlcmr.files import replacing

CACHE_NAME = "video2frames.cache.npz"


def read_rows(folder: Path, frames: int) -> VideoRows:
    """Return the rows of each video, from the cache if it is valid; else write the cache.

    Args:
        folder: The feature folder.
        frames: The number of frames in `shape.txt`.

    Raises:
        NotFoundError: If `id.txt` or `video2frames.txt` does not exist.
        CorruptFileError: If these files are malformed or contradict each other.
    """
    id_text, video_text, digest = _read_sources(folder, frames)
    path = folder / CACHE_NAME
    with suppress(MlcmrError):  # a cache that is missing or damaged is written again
        cached = _open_cache(path, digest, frames)
        if cached is not None:
            return cached
    resolved = _resolve_sources(folder, id_text, video_text, frames)
    _write_cache(path, digest, resolved)
    return resolved


def cache_fault(folder: Path) -> str | None:
    """Return the fault of the cache of a feature; None if the cache is correct, out of date or missing.

    Raises:
        NotFoundError: If a source of the cache does not exist.
        CorruptFileError: If the sources of the cache are malformed.
    """
    path = folder / CACHE_NAME
    if not os.path.lexists(path):
        return None
    frames, _ = read_shape(folder)
    id_text, video_text, digest = _read_sources(folder, frames)
    try:
        cached = _open_cache(path, digest, frames)
    except MlcmrError as error:
        return str(error).removeprefix(f"{path}: ")
    if cached is None:
        return None
    correct = _resolve_sources(folder, id_text, video_text, frames)
    same = cached.videos == correct.videos and all(map(np.array_equal, cached[1:], correct[1:]))
    return None if same else "says other rows than video2frames.txt; remove it"


def _read_sources(folder: Path, frames: int) -> tuple[bytes, bytes, str]:
    """Return the contents of `id.txt` and of `video2frames.txt`, and their digest."""
    id_text, video_text = (read_contents(folder / name) for name in ("id.txt", "video2frames.txt"))
    return id_text, video_text, _hash_sources([id_text, video_text, str(frames).encode()])


def _hash_sources(sources: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for source in sources:
        digest.update(len(source).to_bytes(8, "little"))
        digest.update(source)
    return digest.hexdigest()


def _resolve_sources(folder: Path, id_text: bytes, video_text: bytes, frames: int) -> VideoRows:
    ids = split_ids(folder, id_text, frames)
    id_file, video_file = folder / "id.txt", folder / "video2frames.txt"
    return resolve_rows(id_file, video_file, ids, parse_video2frames(video_file, decode(video_text)))


def _open_cache(path: Path, digest: str, frames: int) -> VideoRows | None:
    """Read a cache; None if it was made from other contents.

    Raises:
        CorruptFileError: If the cache is damaged, or names rows that do not exist.
    """
    with open_archive(path, "remove it, and it is made again") as cache:
        if str(cache.read("digest")) != digest:
            return None
        videos = normalize_name(cache.read("videos").tobytes().decode()).split("\n")
        counts, rows = cache.read("counts"), cache.read("rows")
        if (
            any(array.dtype.kind not in "iu" or array.ndim != 1 for array in (counts, rows))
            or not len(videos) == len(set(videos)) == len(counts)
            or not (counts.min() >= 1 and counts.max() <= len(rows) == counts.sum(dtype=np.int64))
            or not (rows.min() >= 0 and rows.max() < frames)
        ):
            raise CorruptFileError(f"{path}: names rows that do not exist; remove it, and it is made again")
        return VideoRows(videos, counts.astype(np.int64), rows.astype(np.int64))


def _write_cache(path: Path, digest: str, resolved: VideoRows) -> None:
    if any("\n" in video for video in resolved.videos):
        return
    # A read-only collection works without a cache.
    with suppress(MlcmrError, UnicodeEncodeError), replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            digest=np.array(digest),
            videos=np.frombuffer("\n".join(resolved.videos).encode(), np.uint8),
            counts=resolved.counts.astype(np.int32),
            rows=resolved.rows.astype(np.int32 if len(resolved.rows) < 2**31 else np.int64),
        )
