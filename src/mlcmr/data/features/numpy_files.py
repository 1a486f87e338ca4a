"""Read `.npy` and `.npz` files that strangers wrote.

A header is checked against the size of its file before memory is allocated. Nothing pickled is ever loaded.
Archives that NumPy does not write (encrypted, or compressed by other methods) are refused.
"""

import io
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError, reason
from mlcmr.reading import open_regular

Array = NDArray[Any]

_HEADER_BYTES = 10_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the methods of NumPy
_GROWTH = 100  # the largest growth of an archive in memory, as a factor
_GROWN_BYTES = 256 << 20  # the size in memory that any archive may have
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_ERRORS = (
    *(OSError, ValueError, EOFError, KeyError, OverflowError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


class ArrayHeader(NamedTuple):
    """The header of an array.

    Attributes:
        shape: The shape of the array.
        by_column: Whether the values are stored column by column (Fortran order).
        dtype: The type of the values; never a Python object.
    """

    shape: tuple[int, ...]
    by_column: bool
    dtype: np.dtype[Any]


class ArrayArchive:
    """An open `.npz`.

    Attributes:
        names: The names of the arrays, in order.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        self.names = list(self._members)
        if len(self._members) != len(archive.infolist()):
            raise ValueError("two arrays have one name")
        for name, info in self._members.items():
            if info.flag_bits & 0x1:
                raise ValueError(f"'{name}' is encrypted")
            if info.compress_type not in _METHODS:
                raise ValueError(f"'{name}' is compressed in a way that NumPy does not write")
        # Members that overlap hold more than the file.
        if sum(info.compress_size for info in self._members.values()) > size:
            raise ValueError("its arrays overlap")
        grown = sum(info.file_size for info in self._members.values())
        if grown > max(_GROWN_BYTES, _GROWTH * size):
            raise ValueError(f"{size:,} bytes would become {grown:,}; write it without compression")

    def read(self, name: str) -> Array:
        """Return one array.

        Raises:
            KeyError: If the archive has no array of this name.
            ValueError: If the member is not an array, or is truncated.
        """
        with self.open(name) as (header, file):
            content = file.read(_count_bytes(header))
            if file.read(1) or len(content) != _count_bytes(header):
                raise ValueError(f"'{name}' is not whole")
            values: Array = np.frombuffer(content, header.dtype)
            return values.reshape(header.shape, order="F" if header.by_column else "C")

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[ArrayHeader, IO[bytes]]]:
        """Open one array: its header, and its values as a stream.

        Raises:
            KeyError: If the archive has no array of this name.
            ValueError: If the member is not an array.
        """
        info = self._members[name]
        with self._archive.open(info) as file:
            yield read_header(file, info.file_size), file


@contextmanager
def open_archive(path: Path, hint: str = "write it again with np.savez") -> Iterator[ArrayArchive]:
    """Open an `.npz`; damage that is found while arrays are read raises the same error.

    Args:
        path: The file.
        hint: A remedy for the message if the file cannot be used.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file is damaged, encrypted, or would become too large in memory.
    """
    with _reading_arrays(path, hint), open_regular(path) as file, zipfile.ZipFile(file) as archive:
        yield ArrayArchive(archive, file.seek(0, io.SEEK_END))


def map_array(path: Path, hint: str = "write it again with np.save") -> Array:
    """Map an `.npy` into memory.

    Args:
        path: The file.
        hint: A remedy for the message if the file cannot be used.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file cannot be read, or holds no array.
    """
    with _reading_arrays(path, hint), open_regular(path) as file:
        header = read_header(file, file.seek(0, io.SEEK_END), start=0)
        if not _count_bytes(header):
            return np.empty(header.shape, header.dtype)
        order: Literal["F", "C"] = "F" if header.by_column else "C"
        return np.memmap(path, header.dtype, "r", file.tell(), header.shape, order).view(np.ndarray)


@contextmanager
def _reading_arrays(path: Path, hint: str) -> Iterator[None]:
    """Turn errors of NumPy, zipfile and zlib about damaged files into `CorruptFileError`."""
    try:
        yield
    except MlcmrError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{path}: no such file", path=path) from error
    except _ERRORS as error:
        raise CorruptFileError(
            f"{path}: cannot be read as NumPy arrays: {reason(error)}; {hint}", path=path
        ) from error


def read_header(file: IO[bytes], size: int, start: int | None = None) -> ArrayHeader:
    """Read the header of an array, and check it against the size of the file.

    Args:
        file: An open file, at the position of the header unless `start` is given.
        size: The size of the file in bytes, header included.
        start: The position of the header.

    Raises:
        ValueError: If the header is malformed, is of Python objects, or does not match the size.
    """
    if start is not None:
        file.seek(start)
    version = npy.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"a format of version {version[0]}.{version[1]}, expected 1.0 or 2.0")
    width = 2 if version == (1, 0) else 4
    length = file.read(width)
    if int.from_bytes(length, "little") > _HEADER_BYTES:
        raise ValueError(f"a header of more than {_HEADER_BYTES:,} bytes")
    text = file.read(int.from_bytes(length, "little"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arrays that Python 2 wrote
            header = ArrayHeader(*_READERS[version](io.BytesIO(length + text)))
    except Exception as error:  # a damaged literal raises nearly any exception
        raise ValueError("its header cannot be read") from error
    if header.dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded")
    if any(length < 0 for length in header.shape):
        raise ValueError(f"it has the shape {header.shape}")
    found = size - npy.MAGIC_LEN - width - len(text)
    if _count_bytes(header) != found:
        raise ValueError(f"{found:,} bytes of values, but its header says {_count_bytes(header):,}")
    return header


def _count_bytes(header: ArrayHeader) -> int:
    return math.prod(header.shape) * header.dtype.itemsize
