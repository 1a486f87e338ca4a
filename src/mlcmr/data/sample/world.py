"""The small world of the sample: shapes of a kind, colour and size, alone or in pairs, doing one thing."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

Kind = Literal["circle", "square", "triangle", "star", "ring", "cross", "heart", "crescent"]
Colour = Literal["red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink"]
Size = Literal["small", "big"]
Ground = Literal["light", "dark"]
Action = Literal[
    "left", "right", "up", "down", "circle", "bounce", "sway", "grow", "shrink", "blink", "rest",
    "above", "below", "left_of", "right_of",
    "follow_left", "follow_right", "pass_left", "pass_right", "orbit", "approach", "leave",
]  # fmt: skip

KINDS: tuple[Kind, ...] = get_args(Kind)
COLOURS: tuple[Colour, ...] = get_args(Colour)
SIZES: tuple[Size, ...] = get_args(Size)
GROUNDS: tuple[Ground, ...] = get_args(Ground)
ALONE: tuple[Action, ...] = get_args(Action)[:11]
PAIRED: tuple[Action, ...] = (
    "above", "left_of", "follow_left", "follow_right", "pass_left", "pass_right", "orbit", "approach", "leave",
)  # fmt: skip
CONVERSE: dict[Action, Action] = {"above": "below", "left_of": "right_of"}
"""Drawn as the first, may be told as the second with the two things exchanged."""

RESIZING: frozenset[Action] = frozenset({"grow", "shrink"})
"""What changes its size has none to tell."""


@dataclass(frozen=True)
class Thing:
    """A shape. `size` is None where it changes, or is not told."""

    kind: Kind
    colour: Colour
    size: Size | None


@dataclass(frozen=True)
class Scene:
    """What happens in a clip: one thing alone, or a first thing in relation to a second."""

    action: Action
    things: tuple[Thing, ...]
    ground: Ground

    @property
    def description(self) -> tuple[Action, tuple[Thing, ...]]:
        """Everything that a full caption tells; the ground is told by some captions only."""
        return self.action, self.things


def is_possible(scene: Scene) -> bool:
    """Whether the two things of a pair can be told apart by their kind and colour."""
    looks = {(thing.kind, thing.colour) for thing in scene.things}
    return len(looks) == len(scene.things)


def neighbours(scene: Scene) -> list[Scene]:
    """All scenes that differ from this one in exactly one attribute of one thing, or in the action."""
    near = [replace(scene, action=action) for action in _comparable_actions(scene.action)]
    for at, thing in enumerate(scene.things):
        changed = [replace(thing, kind=kind) for kind in KINDS]
        changed += [replace(thing, colour=colour) for colour in COLOURS]
        changed += [replace(thing, size=size) for size in SIZES if thing.size is not None]
        near += [
            replace(scene, things=(*scene.things[:at], other, *scene.things[at + 1 :])) for other in changed
        ]
    return [other for other in near if other != scene and is_possible(other)]


def _comparable_actions(action: Action) -> list[Action]:
    family = ALONE if action in ALONE else PAIRED
    return [other for other in family if (other in RESIZING) == (action in RESIZING)]


def scenes(seed: int) -> Iterator[Scene]:
    """Yields scenes without end, no description twice, each followed by a near-duplicate of it.

    Scenes 0 and 1 differ in one attribute, so do 2 and 3, and so on.
    """
    rng = random.Random(f"scenes/{seed}")  # noqa: S311
    seen = set()
    while True:
        scene = _random_scene(rng)
        if scene.description in seen:
            continue
        fresh = [other for other in neighbours(scene) if other.description not in seen]
        if not fresh:
            continue
        for other in (scene, rng.choice(fresh)):
            seen.add(other.description)
            yield other


def _random_scene(rng: random.Random) -> Scene:
    # Pairs can be described in far more ways than things alone; they are twice as frequent.
    action = rng.choice(ALONE if rng.random() < 1 / 3 else PAIRED)
    while True:
        things = tuple(
            Thing(rng.choice(KINDS), rng.choice(COLOURS), None if action in RESIZING else rng.choice(SIZES))
            for _ in range(1 if action in ALONE else 2)
        )
        scene = Scene(action, things, rng.choice(GROUNDS))
        if is_possible(scene):
            return scene
