"""Where scores come from: a matrix, or embeddings that are multiplied block by block.

A score says how well a caption and a video match; larger is better. N captions, M videos.
"""

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcmr.errors import UserError

Floats: TypeAlias = NDArray[np.floating[Any]]

KEPT_BYTES = 512 * 2**20
BLOCK_BYTES = 256 * 2**20
_BLOCK_QUERIES = 2048  # beyond this a product gains no speed, and a tile of a block leaves the cache


class Scores(Protocol):
    """The scores of N captions and M videos, read in blocks.

    A block is valid until the next one is asked for: its memory may be used again.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        """Yields a range of captions and their scores, (captions in the range, M)."""

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        """Yields a range of videos and their scores, (N, videos in the range)."""

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        """The scores of the captions numbered so: a new array (len(captions), M)."""


class MatrixScores:
    """Scores that are all in memory.

    Args:
        matrix: (N, M), row = caption, column = video.

    Raises:
        UserError: `matrix` has no two dimensions.
    """

    def __init__(self, matrix: ArrayLike) -> None:
        scores = np.asarray(matrix)
        if scores.ndim != 2:
            raise UserError(f"scores: an array of shape {scores.shape}, expected (captions, videos)")
        if not np.issubdtype(scores.dtype, np.floating):
            scores = scores.astype(np.float64)
        self._scores: Floats = scores

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        captions, videos = self._scores.shape
        return captions, videos

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        """Yields a range of captions and their scores, (captions in the range, M)."""
        for part in _parts(self.shape[0], _BLOCK_QUERIES):
            yield part, self._scores[part]

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        """Yields a range of videos and their scores, (N, videos in the range)."""
        for part in _parts(self.shape[1], _BLOCK_QUERIES):
            yield part, self._scores[:, part]

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        """The scores of the captions numbered so: a new array (len(captions), M)."""
        return self._scores[captions]


class EmbeddingScores:
    """Scores as products of embeddings, in float32, of which one block exists at a time.

    Reading by captions and then by videos multiplies twice. The same pair may differ between the two in its
    last bit, so whoever compares scores compares those of one block.

    Args:
        captions: (N, D), fused already where queries are fused.
        videos: (M, D).
        block_bytes: the most a block may take (one row or column at the least).

    Raises:
        UserError: the arrays are no embeddings of one common space.
    """

    def __init__(self, captions: ArrayLike, videos: ArrayLike, block_bytes: int = BLOCK_BYTES) -> None:
        self._captions = np.ascontiguousarray(captions, dtype=np.float32)
        self._videos = np.ascontiguousarray(videos, dtype=np.float32)
        shapes = self._captions.shape, self._videos.shape
        if self._captions.ndim != 2 or self._videos.ndim != 2 or shapes[0][1] != shapes[1][1]:
            raise UserError(
                f"embeddings: captions have shape {shapes[0]} and videos {shapes[1]}, "
                "expected (captions, D) and (videos, D) with the same D"
            )
        self._block_bytes = block_bytes

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return len(self._captions), len(self._videos)

    def by_captions(self) -> Iterator[tuple[slice, Floats]]:
        """Yields a range of captions and their scores, (captions in the range, M)."""
        captions, videos = self.shape
        size = self._block_size(captions, videos)
        buffer = np.empty(size * videos, np.float32)
        for part in _parts(captions, size):
            rows = self._captions[part]
            block = buffer[: len(rows) * videos].reshape(len(rows), videos)
            yield part, np.matmul(rows, self._videos.T, out=block)

    def by_videos(self) -> Iterator[tuple[slice, Floats]]:
        """Yields a range of videos and their scores, (N, videos in the range)."""
        captions, videos = self.shape
        size = self._block_size(videos, captions)
        buffer = np.empty(size * captions, np.float32)
        for part in _parts(videos, size):
            columns = self._videos[part]
            block = buffer[: captions * len(columns)].reshape(captions, len(columns))
            yield part, np.matmul(self._captions, columns.T, out=block)

    def of_captions(self, captions: NDArray[np.int64]) -> Floats:
        """The scores of the captions numbered so: a new array (len(captions), M)."""
        return self._captions[captions] @ self._videos.T

    def _block_size(self, queries: int, candidates: int) -> int:
        affordable = self._block_bytes // (4 * max(candidates, 1))
        return max(1, min(affordable, _BLOCK_QUERIES, queries))


def embedding_scores(
    captions: ArrayLike, videos: ArrayLike, kept_bytes: int = KEPT_BYTES, block_bytes: int = BLOCK_BYTES
) -> Scores:
    """The scores of embeddings: computed once when they fit in `kept_bytes`, else block by block, twice.

    Args:
        captions: (N, D), fused already where queries are fused.
        videos: (M, D).
        kept_bytes: the most that all N × M scores may take in memory.
        block_bytes: the most one block may take when they do not fit.

    Raises:
        UserError: the arrays are no embeddings of one common space.
    """
    scores = EmbeddingScores(captions, videos, block_bytes)
    count = scores.shape[0] * scores.shape[1]
    if 4 * count > kept_bytes:
        return scores
    return MatrixScores(scores.of_captions(np.arange(scores.shape[0])))


def _parts(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
