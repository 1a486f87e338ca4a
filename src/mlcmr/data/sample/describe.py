"""Frames as numbers. Knows pixels only: nothing of scenes, shapes or captions.

Two classical descriptors of images, and what moves between frames:

- a grid of mean colours;
- for each hue, what a spatial-chromatic histogram holds (Cinque et al. 1999, "Color-based image retrieval
  using spatial-chromatic histograms"), namely how much of it there is, where, and how widely spread; which
  way its edges run (histogram of oriented gradients, Dalal & Triggs 2005); and how its centre has moved
  since the frame before.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlcmr.data.sample.video import Frames

GRID = 4
HUES = 9
EDGES = 12
DIMENSION = 3 * GRID * GRID + HUES * (8 + EDGES)
"""Numbers per frame."""

_SALIENT = 0.15  # how far a pixel's colour must be from the ground's to count; 1 is black to pure red

Numbers = NDArray[np.float32]


def describe(frames: Frames) -> Numbers:
    """Describes each frame of a video.

    Args:
        frames: frames × height × width × 3; height and width are multiples of 4.

    Returns:
        frames × DIMENSION, of the order of 1.
    """
    count, height, width, _ = frames.shape
    ground = np.median(frames[:, ::4, ::4].reshape(count, -1, 3), axis=1)
    pixels = np.subtract(frames, ground[:, None, None], dtype=np.float32)
    pixels /= 255
    # One axis after the other: many times as fast as both at once.
    cells = pixels.reshape(count, GRID, height // GRID, width, 3).mean(axis=2)
    cells = cells.reshape(count, GRID, GRID, width // GRID, 3).mean(axis=3)
    hues = _hues(pixels)
    return np.concatenate([4 * cells.reshape(count, -1), hues.reshape(count, -1)], axis=1, dtype=np.float32)


def _hues(pixels: Numbers) -> Numbers:
    """What there is of each hue: frames × HUES × (8 + EDGES)."""
    count, height, width, _ = pixels.shape
    salience = np.sqrt(np.einsum("fyxc,fyxc->fyx", pixels, pixels))
    frame, y, x = np.nonzero(salience > _SALIENT)
    down, right = (slope[frame, y, x] for slope in np.gradient(salience, axis=(1, 2)))
    red, green, blue = pixels[frame, y, x].T
    hue = np.arctan2((green - blue) * (math.sqrt(3) / 2), red - (green + blue) / 2)
    x, y = x / (width - 1) * 2 - 1, y / (height - 1) * 2 - 1
    edge, slope = np.arctan2(down, right), np.hypot(down, right)

    values = [np.ones_like(x), x, y, x * x, y * y]
    moments = np.zeros((len(values), count * HUES))
    edges = np.zeros(count * HUES * EDGES)
    for hue_bin, share in _soft_bins(hue, HUES):
        row = frame * HUES + hue_bin
        moments += [np.bincount(row, share * value, count * HUES) for value in values]
        for edge_bin, part in _soft_bins(edge, EDGES):
            edges += np.bincount(row * EDGES + edge_bin, share * part * slope, len(edges))

    area = moments[0].reshape(count, HUES, 1)
    present = area / (area + height * width / 600)
    mean, square = (moments[i : i + 2].T.reshape(count, HUES, 2) / (area + 1e-6) for i in (1, 3))
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    compact = np.sqrt(spread.prod(axis=2, keepdims=True) * height * width / (area + 1e-6))
    moved = np.zeros_like(mean)
    moved[1:] = np.diff(mean, axis=0) * np.minimum(present[1:], present[:-1])
    edges = edges.reshape(count, HUES, EDGES)
    edges /= edges.sum(axis=2, keepdims=True) + 1e-6
    # The factors bring each part to the same order of magnitude.
    parts = [
        np.sqrt(8 * area / (height * width)) * 2.5,
        present * mean * 2,
        present * spread * 4,
        present * compact * 2,
        moved * 15,
        present * edges * 5,
    ]
    return np.concatenate(parts, axis=2, dtype=np.float32)


def _soft_bins(angle: Numbers, bins: int) -> Iterator[tuple[NDArray[np.int64], Numbers]]:
    """Shares an angle out to the two bins beside it: twice (bin, share)."""
    position = angle / (2 * math.pi) % 1 * bins
    low = position.astype(np.int64)
    upper = position - low
    yield low % bins, 1 - upper
    yield (low + 1) % bins, upper
