"""Frames as numbers: where which colours are, and which way the edges of each colour run.

Knows pixels only: nothing of scenes, shapes or captions.
"""

import math
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

GRID = 6
HUES = 9
EDGES = 8
DIMENSION = 3 * GRID * GRID + HUES + HUES * EDGES


def describe_video(path: Path, every: int = 2) -> NDArray[np.float32]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        frames = [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(stream)) if i % every == 0]
    return describe(np.stack(frames))


def describe(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    pixels = frames.astype(np.float32) / 255
    count, height, width, _ = pixels.shape
    pixels -= np.median(pixels.reshape(count, -1, 3), axis=1)[:, None, None]
    cells = pixels.reshape(count, GRID, height // GRID, GRID, width // GRID, 3).mean(axis=(2, 4))
    red, green, blue = np.moveaxis(pixels, -1, 0)
    # Opponent colours: the angle is the hue, the length how much colour there is.
    x, y = red - (green + blue) / 2, (green - blue) * (math.sqrt(3) / 2)
    chroma = np.hypot(x, y)
    chroma *= chroma > 0.08
    hue = np.arctan2(y, x)
    dy, dx = np.gradient(np.stack([red, green, blue]), axis=(2, 3))
    strength = np.hypot(dx, dy)
    strongest = strength.argmax(axis=0)[None]
    dx, dy, strength = (np.take_along_axis(v, strongest, 0)[0] for v in (dx, dy, strength))
    strength *= strength > 0.08
    angle = np.arctan2(dy, dx) * 2
    hues = _soft(hue, HUES)
    edges = _soft(angle, EDGES)
    area = np.zeros((count, HUES), np.float32)
    joint = np.zeros((count, HUES, EDGES), np.float32)
    frame = np.broadcast_to(np.arange(count)[:, None, None], hue.shape)
    for h, hw in hues:
        np.add.at(area, (frame, h), hw * chroma)
        for e, ew in edges:
            np.add.at(joint, (frame, h, e), hw * ew * strength * np.minimum(chroma * 4, 1))
    parts = [cells.reshape(count, -1) * 4, np.sqrt(area) / 4, np.sqrt(joint).reshape(count, -1) / 3]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _soft(angle, bins):
    position = (angle / (2 * math.pi) % 1) * bins
    low = np.floor(position).astype(int)
    share = (position - low).astype(np.float32)
    return [(low % bins, 1 - share), ((low + 1) % bins, share)]
