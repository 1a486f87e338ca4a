"""The built-in frame encoder: features of colours, edges and motion, without a model.

A feature consists of two classical image descriptors, and of motion:

- a grid of mean colours;
- for each hue, a spatial-chromatic histogram (Cinque et al. 1999, "Color-based image retrieval using
  spatial-chromatic histograms"): its area, place and spread; the directions of its edges (histogram of
  oriented gradients, Dalal & Triggs 2005); and how its centre has moved since the frame before.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mlcmr.extraction.media.images import Picture, resize

GRID = 4
HUES = 9
EDGES = 12
DIMENSION = 3 * GRID * GRID + HUES * (8 + EDGES)
"""The size of a feature."""

HISTOGRAM = "hues228"  # DIMENSION is part of the name
"""The name of this encoder and of its feature; the encoder is also called `color-histogram`."""
SIDE = 96
"""Pictures are resized to the area of SIDE × SIDE pixels, in their own aspect ratio."""

_SALIENT = 0.15  # the least distance of a pixel from the background colour; 1 is from black to pure red

Numbers = NDArray[np.float32]


class HistogramEncoder:
    """Describes colours, their places, edges and motion; the features of the sample collection.

    This encoder needs no download and hardly any time, and suits the drawn clips of the sample. It says
    little about real footage: use CLIP or SigLIP there.
    """

    name = feature = HISTOGRAM
    dimension = DIMENSION
    frames_per_feature = 1
    fps = 8.0
    batch_size = 64
    needs_previous_frame = True  # motion is a difference from the frame before

    def prepare(self, picture: Picture) -> NDArray[np.uint8]:
        """Resize a picture to the area of SIDE × SIDE pixels; both sides become multiples of 4."""
        height, width = picture.shape[:2]
        scale = SIDE / math.sqrt(width * height)
        return resize(picture, _multiple_of_4(width * scale), _multiple_of_4(height * scale))

    def encode_prepared(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Compute the features of consecutive frames of one video, (n, DIMENSION)."""
        return compute_histograms(np.stack(prepared))

    def encode(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Compute the features of consecutive frames of one video, (n, DIMENSION)."""
        return self.encode_prepared([self.prepare(picture) for picture in pictures])


def _multiple_of_4(length: float) -> int:
    return max(round(length / 4), 1) * 4


def compute_histograms(frames: NDArray[np.uint8]) -> Numbers:
    """Compute the feature of each frame of a video.

    Args:
        frames: (n, height, width, 3); height and width are multiples of 4.

    Returns:
        (n, DIMENSION), of the order of magnitude of 1.
    """
    count, height, width, _ = frames.shape
    ground = np.median(frames[:, ::4, ::4].reshape(count, -1, 3), axis=1)
    pixels = np.subtract(frames, ground[:, None, None], dtype=np.float32)
    pixels /= 255
    # Averaging over one axis after the other is many times as fast as over both at once.
    cells = pixels.reshape(count, GRID, height // GRID, width, 3).mean(axis=2)
    cells = cells.reshape(count, GRID, GRID, width // GRID, 3).mean(axis=3)
    hues = _hues(pixels)
    return np.concatenate([4 * cells.reshape(count, -1), hues.reshape(count, -1)], axis=1, dtype=np.float32)


def _hues(pixels: Numbers) -> Numbers:
    """Return the features of each hue, (n, HUES, 8 + EDGES)."""
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
    # The factors scale all parts to the same order of magnitude.
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
    """Divide each angle between the two nearest bins; yield twice (bin, share)."""
    position = angle / (2 * math.pi) % 1 * bins
    low = position.astype(np.int64)
    upper = position - low
    yield low % bins, 1 - upper
    yield (low + 1) % bins, upper
