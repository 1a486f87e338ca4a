"""Read the files of a feature folder: `feature.bin`, `id.txt` and `shape.txt`."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlcmr.data.ids import normalize_name
from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError, unreadable
from mlcmr.reading import read_bytes
from mlcmr.text import plural

Rows = NDArray[np.int64]
"""The numbers of rows of `feature.bin`, from 0."""
Features = NDArray[np.float32]
"""Frame features, (frames, dimension)."""

_POSITIVE = re.compile(r"0*[1-9][0-9]{0,17}")
_TEXT_BYTES = 4 << 30  # the limit for `id.txt` and `video2frames.txt`


def read_shape(folder: Path) -> tuple[int, int]:
    """Return the number of frames and the dimension, from `shape.txt`.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file is not two positive whole numbers.
    """
    path = folder / "shape.txt"
    words = read_text(path).split()
    if len(words) != 2 or not all(map(_POSITIVE.fullmatch, words)):
        raise CorruptFileError(f"{path}: '{' '.join(words)[:60]}' is not '<frames> <dimension>'", path=path)
    return int(words[0]), int(words[1])


def map_matrix(folder: Path, frames: int, dimension: int) -> Features:
    """Map `feature.bin` into memory, (frames, dimension) float32.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the size of the file differs from `shape.txt`.
        MlcmrError: If the file cannot be read.
    """
    path = folder / "feature.bin"
    expected = frames * dimension * 4
    try:
        size = path.stat().st_size
        if size == expected:
            return np.memmap(path, dtype="<f4", mode="r", shape=(frames, dimension)).view(np.ndarray)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{path}: {unreadable(error)}", path=path) from error
    except OSError as error:
        raise MlcmrError(f"{path}: {unreadable(error)}", path=path) from error
    raise CorruptFileError(
        f"{path}: {size:,} bytes, but shape.txt says {frames:,} × {dimension:,} float32 = {expected:,} bytes",
        path=path,
    )


def read_frame_ids(folder: Path, frames: int) -> list[str]:
    """Return the frame ids, from `id.txt`, in the order of the rows.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the number of ids is not `frames`.
    """
    return split_ids(folder, read_contents(folder / "id.txt"), frames)


def split_ids(folder: Path, content: bytes, frames: int) -> list[str]:
    """Return the frame ids in the content of `id.txt`.

    Raises:
        CorruptFileError: If the number of ids is not `frames`.
    """
    ids = decode(content).split()
    if len(ids) != frames:
        path = folder / "id.txt"
        raise CorruptFileError(
            f"{path}: {plural(len(ids), 'frame id')}, but shape.txt says {plural(frames, 'frame')}", path=path
        )
    return ids


def read_text(path: Path) -> str:
    """Return the text of `id.txt`, `shape.txt` or `video2frames.txt`, with ids in NFC.

    Raises:
        NotFoundError: If the file does not exist.
        MlcmrError: If the file cannot be read.
    """
    return decode(read_contents(path))


def read_contents(path: Path) -> bytes:
    """Return the bytes of `id.txt`, `shape.txt` or `video2frames.txt`.

    Raises:
        NotFoundError: If the file does not exist.
        MlcmrError: If the file cannot be read.
    """
    missing = f"{path}: no such file"
    return read_bytes(path, "copy or make the feature again", most=_TEXT_BYTES, missing=missing)


def decode(content: bytes) -> str:
    """Decode UTF-8, or ISO-8859-1 (as the published tools wrote `id.txt`), to text with ids in NFC."""
    try:
        return normalize_name(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return content.decode("iso-8859-1")
