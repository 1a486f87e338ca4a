"""Choose the words that a masked view masks, and the frames that a frame-dropped view drops.

The choice for an example depends on (seed, epoch, example, purpose) and on nothing else: not on the batch, on
the worker process or on earlier choices. A counter-based generator gives this (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3"). This one hashes the counter with the finaliser of SplitMix64 (Steele et
al. 2014), for a whole batch at once.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
Hashes = NDArray[np.uint64]

MASKED_WORDS = 0.15  # of the tokens of a text, including the special ones
DROPPED_FRAMES = 0.8  # of the frames of a video

_WEYL = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class RandomKey:
    """The inputs that determine all random choices for a batch.

    Attributes:
        seed: The seed of the run.
        epoch: The epoch, from 0.
        examples: (B,) the number of each example in the training set.
    """

    seed: int
    epoch: int
    examples: Counts


def masked_words(lengths: Counts, key: RandomKey, language: str) -> Mask:
    """Choose `int(0.15 · n)` distinct positions of 1 … n-2 in each text of n tokens.

    Args:
        lengths: (B,) number of tokens of each text, including the special tokens at both ends.
        key: Determines the choice.
        language: The language of the captions: each language of an example is masked independently.

    Returns:
        (sum of lengths,) true if a token is masked, texts one after the other.
    """
    inner = np.maximum(lengths - 2, 0)
    chosen = _subset(inner, (MASKED_WORDS * lengths).astype(np.int64), key, f"words {language}")
    padded = np.zeros((len(lengths), int(lengths.max(initial=0))), np.bool_)
    padded[:, 1 : 1 + chosen.shape[1]] = chosen
    return padded[_is_inside(lengths)]


def kept_frames(lengths: Counts, key: RandomKey) -> Mask:
    """Choose the frames that remain when `int(0.8 · n)` of each video's n frames are dropped.

    Args:
        lengths: (B,) number of frames of each video.
        key: Determines the choice.

    Returns:
        (sum of lengths,) true if a frame is kept, videos one after the other.
    """
    kept = lengths - (DROPPED_FRAMES * lengths).astype(np.int64)
    return _subset(lengths, kept, key, "frames")[_is_inside(lengths)]


def _subset(sizes: Counts, counts: Counts, key: RandomKey, purpose: str) -> Mask:
    """Choose `counts[i]` of the first `sizes[i]` places of row i, at random: (B, max size)."""
    width = int(sizes.max(initial=0))
    state = np.zeros(1, np.uint64)
    for part in (key.seed, key.epoch, zlib.crc32(purpose.encode())):
        state = _hash(state + np.uint64(part))
    rows = _hash(state + key.examples.astype(np.uint64))
    ranks = _hash(rows[:, None] + np.arange(1, width + 1, dtype=np.uint64) * _WEYL)
    ranks[np.arange(width) >= sizes[:, None]] = np.iinfo(np.uint64).max
    order = ranks.argsort(axis=1, kind="stable")
    chosen = np.zeros(ranks.shape, np.bool_)
    np.put_along_axis(chosen, order, np.arange(width) < counts[:, None], axis=1)
    return chosen


def _is_inside(lengths: Counts) -> Mask:
    """Return whether each place of a padded row lies within the length of the row: (B, max length)."""
    return np.arange(int(lengths.max(initial=0))) < lengths[:, None]


def _hash(counter: Hashes) -> Hashes:
    with np.errstate(over="ignore"):
        x = counter + _WEYL
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
