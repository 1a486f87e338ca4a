"""The scenes of the sample: one or two shapes with a colour and a size, and one action."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

Shape = Literal["circle", "square", "triangle", "star", "ring", "diamond", "heart", "crescent"]
Colour = Literal["red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink"]
ShapeSize = Literal["small", "big"]
Ground = Literal["light", "dark"]
ActionAlone = Literal[
    "left", "right", "up", "down", "circle", "bounce", "sway", "grow", "shrink", "blink", "rest"
]  # fmt: skip
ActionOfTwo = Literal[
    "above", "left_of", "follow_left", "follow_right", "pass_left", "pass_right", "orbit", "approach", "leave"
]
Converse = Literal["below", "right_of"]
Action = ActionAlone | ActionOfTwo | Converse

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
SIZES: tuple[ShapeSize, ...] = get_args(ShapeSize)
GROUNDS: tuple[Ground, ...] = get_args(Ground)
ALONE: tuple[ActionAlone, ...] = get_args(ActionAlone)
OF_TWO: tuple[ActionOfTwo, ...] = get_args(ActionOfTwo)

CONVERSE: dict[Action, Converse] = {"above": "below", "left_of": "right_of"}
"""The action once the two things change places; only captions use these actions, scenes do not."""

RESIZING: frozenset[Action] = frozenset({"grow", "shrink"})
"""The actions that change the size of a thing: then captions name no size."""


@dataclass(frozen=True)
class Thing:
    """A thing in a scene.

    Attributes:
        shape: The shape.
        colour: The colour.
        size: The size; None if the size changes, or if a caption leaves it out.
    """

    shape: Shape
    colour: Colour
    size: ShapeSize | None


@dataclass(frozen=True)
class Scene:
    """The content of a clip.

    Attributes:
        action: The action of one thing alone, or of the first thing in relation to the second.
        things: One or two things.
        ground: The background.
    """

    action: Action
    things: tuple[Thing, ...]
    ground: Ground

    @property
    def description(self) -> tuple[Action, tuple[Thing, ...]]:
        """Return what every full caption describes; only some captions describe the background."""
        return self.action, self.things


def is_possible(scene: Scene) -> bool:
    """Return whether the things differ in shape or colour, so that a caption can distinguish them."""
    return len({(thing.shape, thing.colour) for thing in scene.things}) == len(scene.things)


def neighbours(scene: Scene) -> list[Scene]:
    """Return the scenes that differ in exactly one attribute: the action, or one attribute of one thing."""
    actions: tuple[Action, ...] = ALONE if scene.action in ALONE else OF_TWO
    near = [
        replace(scene, action=action)
        for action in actions
        if (action in RESIZING) == (scene.action in RESIZING)
    ]
    for at, thing in enumerate(scene.things):
        changed = [replace(thing, shape=shape) for shape in SHAPES]
        changed += [replace(thing, colour=colour) for colour in COLOURS]
        changed += [replace(thing, size=size) for size in SIZES if thing.size]
        before, after = scene.things[:at], scene.things[at + 1 :]
        near += [replace(scene, things=(*before, other, *after)) for other in changed]
    return [other for other in near if other != scene and is_possible(other)]


def near_duplicates(seed: int) -> Iterator[tuple[Scene, Scene]]:
    """Yield pairs of scenes that differ in exactly one attribute; no description is repeated."""
    rng = random.Random(f"scenes/{seed}")  # noqa: S311
    seen = set()
    while True:
        scene = _random_scene(rng)
        fresh = [other for other in neighbours(scene) if other.description not in seen]
        if scene.description in seen or not fresh:
            continue
        other = rng.choice(fresh)
        seen |= {scene.description, other.description}
        yield scene, other


def _random_scene(rng: random.Random) -> Scene:
    # Two things have a hundred times as many descriptions as one thing; they are three times as frequent.
    action: Action = rng.choice(ALONE) if rng.random() < 1 / 4 else rng.choice(OF_TWO)
    while True:
        things = tuple(
            Thing(rng.choice(SHAPES), rng.choice(COLOURS), None if action in RESIZING else rng.choice(SIZES))
            for _ in range(1 if action in ALONE else 2)
        )
        scene = Scene(action, things, rng.choice(GROUNDS))
        if is_possible(scene):
            return scene
