"""The scores of N captions and M videos: a matrix, or products of embeddings that are computed in blocks.

A higher score is a better match.
"""

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcmr.errors import InvalidValueError

Floats: TypeAlias = NDArray[np.floating[Any]]

KEPT_BYTES = 512 * 2**20
BLOCK_BYTES = 256 * 2**20
_BLOCK_QUERIES = 2048  # with more, a product is no faster, and a tile of a block does not fit in the cache


class Scores(Protocol):
    """The scores of N captions and M videos, read in blocks.

    A block is valid until the next block is read: both may use the same memory. Captions rank videos by the
    scores by captions, and videos rank captions by the scores by videos; a normalisation makes these differ.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of captions and their scores, (captions in the range, M)."""

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of videos and their scores, (N, videos in the range)."""

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        """Return the scores of some captions, by number: a new array (len(captions), M)."""


class MatrixScores:
    """Scores in memory.

    Args:
        matrix: (N, M) A row per caption, a column per video.

    Raises:
        InvalidValueError: If `matrix` does not have two dimensions.
    """

    def __init__(self, matrix: ArrayLike) -> None:
        scores = np.asarray(matrix)
        if scores.ndim != 2:
            raise InvalidValueError(f"scores have the shape {scores.shape}; expected (captions, videos)")
        if not np.issubdtype(scores.dtype, np.floating):
            scores = scores.astype(np.float64)
        self._scores: Floats = scores

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        captions, videos = self._scores.shape
        return captions, videos

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of captions and their scores, (captions in the range, M)."""
        for part in _parts(self.shape[0], _BLOCK_QUERIES):
            yield part, self._scores[part]

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of videos and their scores, (N, videos in the range)."""
        for part in _parts(self.shape[1], _BLOCK_QUERIES):
            yield part, self._scores[:, part]

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        """Return the scores of some captions, by number: a new array (len(captions), M)."""
        return self._scores[captions]


class EmbeddingScores:
    """Scores as products of embeddings in float32; one block exists at a time.

    Reading by captions and then by videos multiplies twice. The two scores of a pair may differ in the last
    bit: compare only scores of the same block.

    Args:
        captions: (N, D) The embeddings of the captions, after fusion.
        videos: (M, D) The embeddings of the videos.
        block_bytes: The largest size of a block; a block has at least one row or column.

    Raises:
        InvalidValueError: If the arrays are not embeddings in the same space.
    """

    def __init__(self, captions: ArrayLike, videos: ArrayLike, block_bytes: int = BLOCK_BYTES) -> None:
        self._captions = np.ascontiguousarray(captions, dtype=np.float32)
        self._videos = np.ascontiguousarray(videos, dtype=np.float32)
        shapes = self._captions.shape, self._videos.shape
        if self._captions.ndim != 2 or self._videos.ndim != 2 or shapes[0][1] != shapes[1][1]:
            raise InvalidValueError(
                f"embeddings: captions have shape {shapes[0]} and videos {shapes[1]}; "
                "expected (captions, D) and (videos, D) with the same D"
            )
        self._block_bytes = block_bytes

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return len(self._captions), len(self._videos)

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of captions and their scores, (captions in the range, M)."""
        captions, videos = self.shape
        size = self._block_size(captions, videos)
        buffer = np.empty(size * videos, np.float32)
        for part in _parts(captions, size):
            rows = self._captions[part]
            block = buffer[: len(rows) * videos].reshape(len(rows), videos)
            yield part, np.matmul(rows, self._videos.T, out=block)

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        """Yield a range of videos and their scores, (N, videos in the range)."""
        captions, videos = self.shape
        size = self._block_size(videos, captions)
        buffer = np.empty(size * captions, np.float32)
        for part in _parts(videos, size):
            columns = self._videos[part]
            block = buffer[: captions * len(columns)].reshape(captions, len(columns))
            yield part, np.matmul(self._captions, columns.T, out=block)

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        """Return the scores of some captions, by number: a new array (len(captions), M)."""
        return self._captions[captions] @ self._videos.T

    def _block_size(self, queries: int, candidates: int) -> int:
        affordable = self._block_bytes // (4 * max(candidates, 1))
        return max(1, min(affordable, _BLOCK_QUERIES, queries))


def embedding_scores(
    captions: ArrayLike, videos: ArrayLike, kept_bytes: int = KEPT_BYTES, block_bytes: int = BLOCK_BYTES
) -> Scores:
    """Return the scores of embeddings: computed once if they fit in `kept_bytes`, else twice, in blocks.

    Args:
        captions: (N, D) The embeddings of the captions, after fusion.
        videos: (M, D) The embeddings of the videos.
        kept_bytes: The largest size of all N × M scores that is kept in memory.
        block_bytes: The largest size of a block of scores that are not kept.

    Raises:
        InvalidValueError: If the arrays are not embeddings in the same space.
    """
    scores = EmbeddingScores(captions, videos, block_bytes)
    count = scores.shape[0] * scores.shape[1]
    if 4 * count > kept_bytes:
        return scores
    return MatrixScores(scores.of_captions(np.arange(scores.shape[0])))


def _parts(length: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover `length`."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
