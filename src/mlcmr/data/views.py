"""Which words a masked view masks, and which frames a frame-dropped view drops.

The choice for an example depends on (seed, epoch, example, what is drawn) and on nothing else: not on the
batch it is in, the worker that makes it, or what was drawn before. That is what a counter-based generator
gives (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"); this one hashes the counter with
the finaliser of SplitMix64 (Steele et al. 2014). It draws for a whole batch at once.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
Hashes = NDArray[np.uint64]

MASKED_WORDS = 0.15  # of a text's tokens, the special ones counted
DROPPED_FRAMES = 0.8  # of a video's frames

_WEYL = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Draw:
    """All that the choices for a batch depend on.

    Attributes:
        seed: The run's seed.
        epoch: The epoch, from 0.
        examples: (B,) the number of each example in the training set.
    """

    seed: int
    epoch: int
    examples: Counts


def masked_words(lengths: Counts, draw: Draw, column: str) -> Mask:
    """Chooses `int(0.15 · n)` distinct positions of 1 … n-2 in each text of n tokens.

    Args:
        lengths: (B,) tokens of each text, the first and the last (special) one counted.
        draw: What the choice depends on.
        column: Which caption of the example it is: columns are masked independently.

    Returns:
        (sum of lengths,) true where a token is masked, texts one after the other.
    """
    inner = np.maximum(lengths - 2, 0)
    chosen = _subset(inner, (MASKED_WORDS * lengths).astype(np.int64), draw, f"words {column}")
    padded = np.zeros((len(lengths), int(lengths.max(initial=0))), np.bool_)
    padded[:, 1 : 1 + chosen.shape[1]] = chosen
    return padded[_real(lengths)]


def kept_frames(lengths: Counts, draw: Draw) -> Mask:
    """Chooses the frames that remain when `int(0.8 · n)` of each video's n frames are dropped.

    Args:
        lengths: (B,) frames of each video.
        draw: What the choice depends on.

    Returns:
        (sum of lengths,) true where a frame is kept, videos one after the other.
    """
    kept = lengths - (DROPPED_FRAMES * lengths).astype(np.int64)
    return _subset(lengths, kept, draw, "frames")[_real(lengths)]


def _subset(sizes: Counts, counts: Counts, draw: Draw, what: str) -> Mask:
    """In row i, `counts[i]` of the first `sizes[i]` places, each subset equally likely: (B, max size)."""
    width = int(sizes.max(initial=0))
    key = np.zeros(1, np.uint64)
    for part in (draw.seed, draw.epoch, zlib.crc32(what.encode())):
        key = _hash(key + np.uint64(part))
    rows = _hash(key + draw.examples.astype(np.uint64))
    keys = _hash(rows[:, None] + np.arange(1, width + 1, dtype=np.uint64) * _WEYL)
    keys[np.arange(width) >= sizes[:, None]] = np.iinfo(np.uint64).max
    order = keys.argsort(axis=1, kind="stable")
    chosen = np.zeros(keys.shape, np.bool_)
    np.put_along_axis(chosen, order, np.arange(width) < counts[:, None], axis=1)
    return chosen


def _real(lengths: Counts) -> Mask:
    return np.arange(int(lengths.max(initial=0))) < lengths[:, None]


def _hash(counter: Hashes) -> Hashes:
    with np.errstate(over="ignore"):
        x = counter + _WEYL
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
