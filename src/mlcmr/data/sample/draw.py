"""Scenes as pixels: antialiased shapes on a shaded, slightly noisy ground, and their mp4 files."""

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlcmr.data.sample.world import Action, Colour, Kind, Scene
from mlcmr.errors import UserError

try:
    import av
    from PIL import Image, ImageDraw
except ImportError as error:  # pragma: no cover - the test environment has them
    raise UserError(
        f"the sample is drawn with PyAV and Pillow ({error.name} is missing): pip install 'mlcmr[video]'"
    ) from error

SIDE = 96
"""Width and height of a clip in pixels."""
FRAMES = 16
"""Frames of a clip."""
FPS = 8
"""Frames per second."""

_OVERSAMPLING = 3
_RADII = {"small": 7.5, "big": 14.0}
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
_SHADES = {"light": (185.0, 235.0), "dark": (25.0, 75.0)}

Points = NDArray[np.float64]
Frames = NDArray[np.uint8]


def _arc(start: float, stop: float, *, count: int = 40, radius: float = 1.0, centre: float = 0.0) -> Points:
    angles = np.linspace(start, stop, count)
    return np.stack([centre + radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _spikes(count: int, inner: float) -> Points:
    angles = -math.pi / 2 + np.arange(2 * count) * math.pi / count
    radii = np.where(np.arange(2 * count) % 2 == 0, 1.0, inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _cross(arm: float) -> Points:
    quarter = np.array([[arm, -arm], [arm, -1.0], [-arm, -1.0]])
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, n) for n in range(4)])


def _heart() -> Points:
    t = np.linspace(0, 2 * math.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y + 2], axis=1) / 15


def _crescent() -> Points:
    # A disc less a smaller one to its right; both circles cross at the horns.
    bite, radius = 0.45, 0.8
    x = (1 - radius**2 + bite**2) / (2 * bite)
    outer, inner = math.acos(x), math.acos((x - bite) / radius)
    back = _arc(2 * math.pi - inner, inner, radius=radius, centre=bite)
    return np.concatenate([_arc(outer, 2 * math.pi - outer), back]) + [0.3, 0.0]


_DISC = _arc(0, 2 * math.pi)
_SHAPES: dict[Kind, Points] = {
    "circle": _DISC * 0.95,
    "square": np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * 0.86,
    "triangle": _spikes(3, 0.5) * 1.2 + [0.0, 0.2],
    "star": _spikes(5, 0.42) * 1.15,
    "ring": _DISC,
    "cross": _cross(0.3),
    "heart": _heart(),
    "crescent": _crescent() * 1.1,
}
_HOLE = 0.58


def clip(scene: Scene, seed: str) -> Frames:
    """Draws a scene.

    Args:
        scene: what happens.
        seed: decides what the scene leaves open: places, speeds, shades, noise.

    Returns:
        FRAMES × SIDE × SIDE × 3, RGB.
    """
    rng = random.Random(seed)  # noqa: S311
    noise = np.random.default_rng(rng.getrandbits(64))
    tracks = _TRACKS[scene.action](scene, rng)
    tilts = [rng.uniform(-0.12, 0.12) for _ in scene.things]
    colours = [_vary(_RGB[thing.colour], rng) for thing in scene.things]
    ground = _ground(scene, rng)
    frames = np.empty((FRAMES, SIDE, SIDE, 3), np.uint8)
    for at in range(FRAMES):
        canvas = ground.copy()
        for thing, tilt, colour, track in zip(scene.things, tilts, colours, tracks, strict=True):
            x, y, radius = track[at]
            if radius > 0:
                cover = _cover(thing.kind, tilt, x, y, radius)
                canvas += cover * (colour - canvas)
        canvas += noise.normal(0, 2.5, (SIDE, SIDE, 1)).astype(np.float32)
        frames[at] = np.clip(canvas + 0.5, 0, 255)
    return frames


def _vary(rgb: tuple[int, int, int], rng: random.Random) -> NDArray[np.float32]:
    light = rng.uniform(-12, 12)
    return np.array([channel + light + rng.uniform(-6, 6) for channel in rgb], np.float32)


def _ground(scene: Scene, rng: random.Random) -> NDArray[np.float32]:
    low, high = _SHADES[scene.ground]
    angle = rng.uniform(0, 2 * math.pi)
    along, across = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    slope = rng.uniform(0, 12) * (along * math.cos(angle) + across * math.sin(angle))
    tint = [rng.uniform(-5, 5) for _ in range(3)]
    return (rng.uniform(low + 12, high - 12) + slope[..., None] + tint).astype(np.float32)


def _cover(kind: Kind, tilt: float, x: float, y: float, radius: float) -> NDArray[np.float32]:
    """How much of each pixel the shape covers: SIDE × SIDE × 1, 0 … 1."""
    mask = Image.new("L", (SIDE * _OVERSAMPLING, SIDE * _OVERSAMPLING))
    draw = ImageDraw.Draw(mask)
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    outline = _SHAPES[kind] @ turn * radius
    draw.polygon(((outline + [x, y]) * _OVERSAMPLING).ravel().tolist(), fill=255)
    if kind == "ring":
        draw.polygon(((outline * _HOLE + [x, y]) * _OVERSAMPLING).ravel().tolist(), fill=0)
    return np.asarray(mask.reduce(_OVERSAMPLING), np.float32)[..., None] / 255


# A track is where a thing is in each frame: FRAMES × (x, y, radius), in pixels; radius 0 is unseen.
_T = np.linspace(0, 1, FRAMES)


def _track(x: Points | float, y: Points | float, radius: Points | float) -> Points:
    return np.stack([np.broadcast_to(np.asarray(values, float), FRAMES) for values in (x, y, radius)], axis=1)


def _radius(scene: Scene, at: int, rng: random.Random) -> float:
    return _RADII[scene.things[at].size or "small"] * rng.uniform(0.93, 1.07)


def _line(rng: random.Random, reach: float) -> tuple[Points, float]:
    """A straight way through the picture: the moving coordinate, and one for the resting."""
    start, stop = reach + rng.uniform(0, 8), SIDE - reach - rng.uniform(0, 8)
    return start + (stop - start) * _T, rng.uniform(reach + 2, SIDE - reach - 2)


def _straight(turned: bool, backward: bool) -> Callable[[Scene, random.Random], list[Points]]:
    def tracks(scene: Scene, rng: random.Random) -> list[Points]:
        radius = _radius(scene, 0, rng)
        moving, still = _line(rng, radius)
        if backward:
            moving = moving[::-1]
        return [_track(still, moving, radius) if turned else _track(moving, still, radius)]

    return tracks


def _circle(scene: Scene, rng: random.Random) -> list[Points]:
    radius, orbit = _radius(scene, 0, rng), rng.uniform(20, 26)
    x, y = (rng.uniform(radius + orbit + 1, SIDE - radius - orbit - 1) for _ in range(2))
    angle = rng.uniform(0, 2 * math.pi) + rng.choice([-1, 1]) * 2 * math.pi * _T
    return [_track(x + orbit * np.cos(angle), y + orbit * np.sin(angle), radius)]


def _bounce(scene: Scene, rng: random.Random) -> list[Points]:
    radius, height = _radius(scene, 0, rng), rng.uniform(24, 34)
    x, floor = rng.uniform(radius, SIDE - radius), rng.uniform(radius + height, SIDE - radius)
    return [_track(x, floor - height * np.abs(np.sin((3 * _T + rng.random()) * math.pi)), radius)]


def _sway(scene: Scene, rng: random.Random) -> list[Points]:
    radius, width = _radius(scene, 0, rng), rng.uniform(18, 26)
    x, y = rng.uniform(radius + width, SIDE - radius - width), rng.uniform(radius, SIDE - radius)
    return [_track(x + width * np.sin((2 * _T + rng.random()) * 2 * math.pi), y, radius)]


def _resize(growing: bool) -> Callable[[Scene, random.Random], list[Points]]:
    def tracks(_: Scene, rng: random.Random) -> list[Points]:
        low, high = rng.uniform(4, 6), rng.uniform(18, 22)
        x, y = (rng.uniform(high + 2, SIDE - high - 2) for _ in range(2))
        return [_track(x, y, low + (high - low) * (_T if growing else _T[::-1]))]

    return tracks


def _still(blinking: bool) -> Callable[[Scene, random.Random], list[Points]]:
    def tracks(scene: Scene, rng: random.Random) -> list[Points]:
        radius = _radius(scene, 0, rng)
        x, y = (rng.uniform(radius + 2, SIDE - radius - 2) for _ in range(2))
        lit = (np.arange(FRAMES) + rng.randrange(6)) % 6 < 3
        return [_track(x, y, np.where(lit, radius, 0) if blinking else radius)]

    return tracks


def _apart(turned: bool) -> Callable[[Scene, random.Random], list[Points]]:
    """Two things at rest, the first to the left of the second, or (turned) above it."""

    def tracks(scene: Scene, rng: random.Random) -> list[Points]:
        first, second = _radius(scene, 0, rng), _radius(scene, 1, rng)
        gap = first + second + rng.uniform(4, 12)
        start = rng.uniform(first + 1, SIDE - gap - second - 1)
        side = rng.uniform(18, SIDE - 18)
        ways = [(start, side + rng.uniform(-3, 3), first), (start + gap, side + rng.uniform(-3, 3), second)]
        return [_track(y, x, r) if turned else _track(x, y, r) for x, y, r in ways]

    return tracks


def _follow(backward: bool) -> Callable[[Scene, random.Random], list[Points]]:
    def tracks(scene: Scene, rng: random.Random) -> list[Points]:
        first, second = _radius(scene, 0, rng), _radius(scene, 1, rng)
        gap = first + second + rng.uniform(3, 6)
        x = first + (SIDE - first - second - gap) * _T
        y = rng.uniform(18, SIDE - 18)
        ways = [(x, first), (x + gap, second)]
        return [_track(SIDE - x if backward else x, y + rng.uniform(-2, 2), r) for x, r in ways]

    return tracks


def _pass(backward: bool) -> Callable[[Scene, random.Random], list[Points]]:
    def tracks(scene: Scene, rng: random.Random) -> list[Points]:
        first, second = _radius(scene, 0, rng), _radius(scene, 1, rng)
        x, _ = _line(rng, first)
        gap = first + second + rng.uniform(2, 6)
        y = rng.uniform(second + 1, SIDE - gap - first - 1)
        rest, way = (y, y + gap) if rng.random() < 0.5 else (SIDE - y, SIDE - y - gap)
        return [
            _track(x[::-1] if backward else x, way, first),
            _track(rng.uniform(SIDE / 2 - 8, SIDE / 2 + 8), rest, second),
        ]

    return tracks


def _orbit(scene: Scene, rng: random.Random) -> list[Points]:
    first, second = _radius(scene, 0, rng), _radius(scene, 1, rng)
    orbit = first + second + rng.uniform(2, 3)
    room = max(0.0, SIDE / 2 - orbit - first)
    x, y = (SIDE / 2 + rng.uniform(-room, room) for _ in range(2))
    angle = rng.uniform(0, 2 * math.pi) + rng.choice([-1, 1]) * 2 * math.pi * _T
    return [_track(x + orbit * np.cos(angle), y + orbit * np.sin(angle), first), _track(x, y, second)]


def _distance(growing: bool) -> Callable[[Scene, random.Random], list[Points]]:
    """The first thing comes to the second, or (growing) goes from it, on any straight way."""

    def tracks(scene: Scene, rng: random.Random) -> list[Points]:
        first, second = _radius(scene, 0, rng), _radius(scene, 1, rng)
        near = first + second + 2
        far = near + rng.uniform(32, 36)
        angle = rng.uniform(0, 2 * math.pi)
        way = np.array([math.cos(angle), math.sin(angle)])
        # Both ends of the way in the picture, at a random place among those possible.
        ends = np.array([-second * np.ones(2), second * np.ones(2), way * far - first, way * far + first])
        low, high = -ends.min(axis=0), SIDE - ends.max(axis=0)
        centre = [rng.uniform(min(a, b), max(a, b)) for a, b in zip(low, high, strict=True)]
        steps = near + (far - near) * (_T if growing else _T[::-1])
        return [
            _track(centre[0] + steps * way[0], centre[1] + steps * way[1], first),
            _track(*centre, second),
        ]

    return tracks


_TRACKS: dict[Action, Callable[[Scene, random.Random], list[Points]]] = {
    "right": _straight(turned=False, backward=False),
    "left": _straight(turned=False, backward=True),
    "down": _straight(turned=True, backward=False),
    "up": _straight(turned=True, backward=True),
    "circle": _circle,
    "bounce": _bounce,
    "sway": _sway,
    "grow": _resize(growing=True),
    "shrink": _resize(growing=False),
    "blink": _still(blinking=True),
    "rest": _still(blinking=False),
    "above": _apart(turned=True),
    "left_of": _apart(turned=False),
    "follow_right": _follow(backward=False),
    "follow_left": _follow(backward=True),
    "pass_right": _pass(backward=False),
    "pass_left": _pass(backward=True),
    "orbit": _orbit,
    "approach": _distance(growing=False),
    "leave": _distance(growing=True),
}


def write_video(path: Path, frames: Frames) -> None:
    """Writes RGB frames (frames × height × width × 3) as an mp4 file, the same bytes each time."""
    h264 = "libx264" in av.codecs_available
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264" if h264 else "mpeg4", rate=FPS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # One thread: with more, x264 decides differently from run to run.
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "20", "preset": "veryfast"} if h264 else {"qscale": "3"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
