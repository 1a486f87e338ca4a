"""Draw scenes: antialiased shapes on a shaded, slightly noisy background."""

import math
import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mlcmr.sample.video import Frames
from mlcmr.sample.world import Action, Colour, Ground, Scene, Shape, ShapeSize

SIDE = 96
"""The width and the height of a clip in pixels."""
FRAMES = 16
"""The number of frames of a clip."""

Reals = NDArray[np.float64]
Track = Reals
"""The place of a thing in each frame: (FRAMES, 3), each (x, y, radius) in pixels; with radius 0, the thing is
invisible."""
TrackPlan = Callable[[random.Random, list[float]], list[Track]]
"""Takes the radii of the things of an action; returns their tracks."""

_OVERSAMPLING = 3
_RADII: dict[ShapeSize | None, float] = {"small": 7.5, "big": 14.0, None: 0.0}  # None: the action decides
_RGB: dict[Colour, tuple[int, int, int]] = {
    "red": (215, 35, 35),
    "orange": (245, 135, 20),
    "yellow": (240, 220, 30),
    "green": (45, 160, 50),
    "turquoise": (40, 205, 195),
    "blue": (35, 75, 215),
    "purple": (125, 45, 175),
    "pink": (250, 125, 190),
}
_SHADES: dict[Ground, tuple[float, float]] = {"light": (197.0, 223.0), "dark": (37.0, 63.0)}
_TIME = np.linspace(0, 1, FRAMES)


def draw(scene: Scene, seed: str) -> Frames:
    """Draw a scene.

    Args:
        scene: The scene.
        seed: The seed of the places, paths, shades and noise, which the scene does not specify.

    Returns:
        (FRAMES, SIDE, SIDE, 3), RGB.
    """
    rng = random.Random(seed)  # noqa: S311
    radii = [_RADII[thing.size] * rng.uniform(0.93, 1.07) for thing in scene.things]
    tracks = _PLANS[scene.action](rng, radii)
    canvas = np.repeat(_ground(scene.ground, rng)[None], FRAMES, axis=0)
    for thing, track in zip(scene.things, tracks, strict=True):
        light = rng.uniform(-12, 12)
        tone = [channel + light + rng.uniform(-6, 6) for channel in _RGB[thing.colour]]
        colour = np.array(tone, np.float32)
        tilt = rng.uniform(-0.12, 0.12)
        for picture, (x, y, radius) in zip(canvas, track, strict=True):
            if radius > 0:
                left, right, top, bottom = _box(x, y, 1.25 * radius + 1)
                part = picture[top:bottom, left:right]
                part += _cover(thing.shape, tilt, (x - left, y - top, radius), part.shape) * (colour - part)
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(canvas.shape[:3], np.float32)
    noise *= 2
    canvas += noise[..., None]
    return canvas.round(out=canvas).clip(0, 255, out=canvas).astype(np.uint8)


def _ground(ground: Ground, rng: random.Random) -> NDArray[np.float32]:
    angle, steepness = rng.uniform(0, 2 * math.pi), rng.uniform(0, 12)
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    slope = steepness * (x * math.cos(angle) + y * math.sin(angle))
    tint = [rng.uniform(-5, 5) for _ in range(3)]
    return (rng.uniform(*_SHADES[ground]) + slope[..., None] + tint).astype(np.float32)


def _box(x: float, y: float, reach: float) -> list[int]:
    """Return the pixels of the picture around a point: left, right, top, bottom."""
    ends = x - reach, x + reach, y - reach, y + reach
    return [min(max(math.floor(end), 0), SIDE) for end in ends]


def _cover(
    shape: Shape, tilt: float, place: tuple[float, float, float], size: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return the part of each pixel, 0 to 1, that a shape at (x, y, radius) covers: (height, width, 1)."""
    x, y, radius = place
    mask = Image.new("L", (size[1] * _OVERSAMPLING, size[0] * _OVERSAMPLING))
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    pen = ImageDraw.Draw(mask)
    for outline, ink in _OUTLINES[shape]:
        points = (outline @ turn * radius + [x, y]) * _OVERSAMPLING
        pen.polygon(points.ravel().tolist(), fill=ink)
    return np.asarray(mask.reduce(_OVERSAMPLING), np.float32)[..., None] / np.float32(255)


# Outlines, of radius about 1; y points down.


def _arc(start: float, stop: float, radius: float = 1.0) -> Reals:
    angles = np.linspace(start, stop, 40)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _points(*points: tuple[float, float]) -> Reals:
    return np.array(points)


def _spikes(count: int, inner: float) -> Reals:
    angles = math.pi / count * np.arange(2 * count) - math.pi / 2
    radii = np.where(np.arange(2 * count) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _heart() -> Reals:
    t = np.linspace(0, 2 * math.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, 2 - y], axis=1) / 15


def _crescent() -> Reals:
    # A disc without a smaller disc to its right, from one tip to the other and back.
    offset, radius = 0.45, 0.8
    x = (1 - radius**2 + offset**2) / (2 * offset)
    outer, inner = math.acos(x), math.acos((x - offset) / radius)
    back = _arc(2 * math.pi - inner, inner, radius) + _points((offset, 0))
    return np.concatenate([_arc(outer, 2 * math.pi - outer), back]) + _points((0.3, 0))


_DISC = _arc(0, 2 * math.pi)
_OUTLINES: dict[Shape, list[tuple[Reals, int]]] = {
    "circle": [(0.95 * _DISC, 255)],
    "square": [(0.86 * _points((-1, -1), (1, -1), (1, 1), (-1, 1)), 255)],
    "triangle": [(1.2 * _spikes(3, 0.5) + _points((0, 0.2)), 255)],
    "star": [(1.15 * _spikes(5, 0.42), 255)],
    "ring": [(_DISC, 255), (0.58 * _DISC, 0)],
    "diamond": [(_points((0, -1.1), (0.85, 0), (0, 1.1), (-0.85, 0)), 255)],
    "heart": [(_heart(), 255)],
    "crescent": [(1.1 * _crescent(), 255)],
}


# The movements of each action. Properties that no caption describes are random.


def _track(x: Reals | float, y: Reals | float, radius: Reals | float) -> Track:
    return np.stack([np.broadcast_to(np.asarray(values, float), FRAMES) for values in (x, y, radius)], axis=1)


def _place(rng: random.Random, reach: float) -> float:
    """Return a random coordinate with at least `reach` pixels on either side."""
    return rng.uniform(reach, SIDE - reach)


def _mirrored(plan: TrackPlan) -> TrackPlan:
    """Return the plan with left and right exchanged."""
    return lambda rng, radii: [track * [-1, 1, 1] + [SIDE, 0, 0] for track in plan(rng, radii)]


def _turned(plan: TrackPlan) -> TrackPlan:
    """Return the plan with x and y exchanged: right becomes down."""
    return lambda rng, radii: [track[:, [1, 0, 2]] for track in plan(rng, radii)]


def _reversed(plan: TrackPlan) -> TrackPlan:
    """Return the plan, played backwards."""
    return lambda rng, radii: [track[::-1] for track in plan(rng, radii)]


def _right(rng: random.Random, radii: list[float]) -> list[Track]:
    (radius,) = radii
    start, stop = radius + rng.uniform(0, 8), SIDE - radius - rng.uniform(0, 8)
    return [_track(start + (stop - start) * _TIME, _place(rng, radius + 2), radius)]


def _circle(rng: random.Random, radii: list[float]) -> list[Track]:
    (radius,) = radii
    orbit = rng.uniform(20, 26)
    x, y = _round(rng, orbit, [_place(rng, radius + orbit + 1) for _ in range(2)])
    return [_track(x, y, radius)]


def _round(rng: random.Random, orbit: float, centre: list[float]) -> tuple[Reals, Reals]:
    angle = 2 * math.pi * (rng.random() + rng.choice([-1, 1]) * _TIME)
    return centre[0] + orbit * np.cos(angle), centre[1] + orbit * np.sin(angle)


def _bounce(rng: random.Random, radii: list[float]) -> list[Track]:
    (radius,) = radii
    height = rng.uniform(24, 34)
    floor = rng.uniform(radius + height, SIDE - radius)
    y = floor - height * np.abs(np.sin(math.pi * (3 * _TIME + rng.random())))
    return [_track(_place(rng, radius), y, radius)]


def _sway(rng: random.Random, radii: list[float]) -> list[Track]:
    (radius,) = radii
    width = rng.uniform(18, 26)
    x = _place(rng, radius + width) + width * np.sin(2 * math.pi * (2 * _TIME + rng.random()))
    return [_track(x, _place(rng, radius), radius)]


def _grow(rng: random.Random, _: list[float]) -> list[Track]:
    low, high = rng.uniform(4, 6), rng.uniform(18, 22)
    return [_track(_place(rng, high + 2), _place(rng, high + 2), low + (high - low) * _TIME)]


def _rest(rng: random.Random, radii: list[float]) -> list[Track]:
    (radius,) = radii
    return [_track(_place(rng, radius + 2), _place(rng, radius + 2), radius)]


def _blink(rng: random.Random, radii: list[float]) -> list[Track]:
    lit = (np.arange(FRAMES) + rng.randrange(6)) % 6 < 3
    (track,) = _rest(rng, radii)
    return [_track(track[:, 0], track[:, 1], track[:, 2] * lit)]


def _left_of(rng: random.Random, radii: list[float]) -> list[Track]:
    first, second = radii
    gap = first + second + rng.uniform(4, 12)
    x = rng.uniform(first + 1, SIDE - gap - second - 1)
    y = _place(rng, 18)
    return [_track(x, y + rng.uniform(-3, 3), first), _track(x + gap, y + rng.uniform(-3, 3), second)]


def _follow_right(rng: random.Random, radii: list[float]) -> list[Track]:
    first, second = radii
    gap = first + second + rng.uniform(3, 6)
    x = first + (SIDE - first - second - gap) * _TIME
    y = _place(rng, 18)
    return [_track(x, y + rng.uniform(-2, 2), first), _track(x + gap, y + rng.uniform(-2, 2), second)]


def _pass_right(rng: random.Random, radii: list[float]) -> list[Track]:
    first, second = radii
    (way,) = _right(rng, [first])
    gap = first + second + rng.uniform(2, 6)
    y = rng.uniform(second + 1, SIDE - gap - first - 1)
    tracks = [_track(way[:, 0], y + gap, first), _track(rng.uniform(40, 56), y, second)]
    return [track * [1, -1, 1] + [0, SIDE, 0] for track in tracks] if rng.random() < 0.5 else tracks


def _orbit(rng: random.Random, radii: list[float]) -> list[Track]:
    first, second = radii
    orbit = first + second + rng.uniform(2, 3)
    room = max(0.0, SIDE / 2 - orbit - first)
    centre = [SIDE / 2 + rng.uniform(-room, room) for _ in range(2)]
    x, y = _round(rng, orbit, centre)
    return [_track(x, y, first), _track(centre[0], centre[1], second)]


def _leave(rng: random.Random, radii: list[float]) -> list[Track]:
    first, second = radii
    near = first + second + 2
    far = near + rng.uniform(32, 36)
    angle = rng.uniform(0, 2 * math.pi)
    way = np.array([math.cos(angle), math.sin(angle)])
    # The second thing stands where both ends of the path are inside the picture, as far as possible.
    low = np.maximum(second, first - far * way)
    high = np.minimum(SIDE - second, SIDE - first - far * way)
    centre = [rng.uniform(min(ends), max(ends)) for ends in zip(low, high, strict=True)]
    steps = near + (far - near) * _TIME
    x, y = (start + steps * direction for start, direction in zip(centre, way, strict=True))
    return [_track(x, y, first), _track(centre[0], centre[1], second)]


_PLANS: dict[Action, TrackPlan] = {
    "right": _right,
    "left": _mirrored(_right),
    "down": _turned(_right),
    "up": _turned(_mirrored(_right)),
    "circle": _circle,
    "bounce": _bounce,
    "sway": _sway,
    "grow": _grow,
    "shrink": _reversed(_grow),
    "blink": _blink,
    "rest": _rest,
    "left_of": _left_of,
    "above": _turned(_left_of),
    "follow_right": _follow_right,
    "follow_left": _mirrored(_follow_right),
    "pass_right": _pass_right,
    "pass_left": _mirrored(_pass_right),
    "orbit": _orbit,
    "leave": _leave,
    "approach": _reversed(_leave),
}
