"""The small world of the sample: shapes of a kind, colour and size, alone or in pairs, doing one thing."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

Kind = Literal["circle", "square", "triangle", "star", "ring", "diamond", "heart", "crescent"]
Colour = Literal["red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink"]
Size = Literal["small", "big"]
Ground = Literal["light", "dark"]
ActionAlone = Literal[
    "left", "right", "up", "down", "circle", "bounce", "sway", "grow", "shrink", "blink", "rest"
]  # fmt: skip
ActionOfTwo = Literal[
    "above", "left_of", "follow_left", "follow_right", "pass_left", "pass_right", "orbit", "approach", "leave"
]
Converse = Literal["below", "right_of"]
Action = ActionAlone | ActionOfTwo | Converse

KINDS: tuple[Kind, ...] = get_args(Kind)
COLOURS: tuple[Colour, ...] = get_args(Colour)
SIZES: tuple[Size, ...] = get_args(Size)
GROUNDS: tuple[Ground, ...] = get_args(Ground)
ALONE: tuple[ActionAlone, ...] = get_args(ActionAlone)
OF_TWO: tuple[ActionOfTwo, ...] = get_args(ActionOfTwo)

CONVERSE: dict[Action, Converse] = {"above": "below", "left_of": "right_of"}
"""What the action is when the two things are told in the other order. Scenes never start from these."""

RESIZING: frozenset[Action] = frozenset({"grow", "shrink"})
"""A thing that changes its size has none to tell."""


@dataclass(frozen=True)
class Thing:
    """A shape; `size` is None where it changes, or where it is not told."""

    kind: Kind
    colour: Colour
    size: Size | None


@dataclass(frozen=True)
class Scene:
    """What happens in a clip: a thing does something alone, or a first thing in relation to a second."""

    action: Action
    things: tuple[Thing, ...]
    ground: Ground

    @property
    def description(self) -> tuple[Action, tuple[Thing, ...]]:
        """All that a full caption tells; the ground is told by a few captions only."""
        return self.action, self.things


def is_possible(scene: Scene) -> bool:
    """Whether the things differ in kind or colour, so that a caption can tell them apart."""
    return len({(thing.kind, thing.colour) for thing in scene.things}) == len(scene.things)


def neighbours(scene: Scene) -> list[Scene]:
    """All scenes that differ from this one in exactly one attribute: its action, or one of one thing."""
    actions: tuple[Action, ...] = ALONE if scene.action in ALONE else OF_TWO
    near = [
        replace(scene, action=action)
        for action in actions
        if (action in RESIZING) == (scene.action in RESIZING)
    ]
    for at, thing in enumerate(scene.things):
        changed = [replace(thing, kind=kind) for kind in KINDS]
        changed += [replace(thing, colour=colour) for colour in COLOURS]
        changed += [replace(thing, size=size) for size in SIZES if thing.size]
        before, after = scene.things[:at], scene.things[at + 1 :]
        near += [replace(scene, things=(*before, other, *after)) for other in changed]
    return [other for other in near if other != scene and is_possible(other)]


def near_duplicates(seed: int) -> Iterator[tuple[Scene, Scene]]:
    """Yields two scenes at a time that differ in exactly one attribute; no description comes twice."""
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
    # Two things can be described in a hundred times as many ways as one; they are three times as frequent.
    action: Action = rng.choice(ALONE) if rng.random() < 1 / 4 else rng.choice(OF_TWO)
    while True:
        things = tuple(
            Thing(rng.choice(KINDS), rng.choice(COLOURS), None if action in RESIZING else rng.choice(SIZES))
            for _ in range(1 if action in ALONE else 2)
        )
        scene = Scene(action, things, rng.choice(GROUNDS))
        if is_possible(scene):
            return scene
