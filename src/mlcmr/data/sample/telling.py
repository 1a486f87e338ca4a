"""What a caption says of a scene, before it is said in any language."""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

from mlcmr.data.sample.world import CONVERSE, Scene

Idea = Literal["plain", "there", "see", "ground", "title", "facts"]
IDEAS: tuple[Idea, ...] = get_args(Idea)
SILENCE = 0.15
"""How often a caption leaves out a size."""

Choice = TypeVar("Choice")
Key = TypeVar("Key")


class Chooser:
    """Chooses among words that mean the same."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)  # noqa: S311

    def __call__(self, words: Sequence[Choice]) -> Choice:
        """One of `words`."""
        return self._rng.choice(words)

    def each(self, table: Mapping[Key, Sequence[Choice]], keys: Iterable[Key]) -> list[Choice]:
        """A word of `table` for each key, the same word for the same key."""
        chosen: dict[Key, Choice] = {}
        for key in (keys := list(keys)):
            if key not in chosen:
                chosen[key] = self(table[key])
        return [chosen[key] for key in keys]


@dataclass(frozen=True)
class Telling:
    """The content of one caption, the same in every language.

    Attributes:
        idea: The kind of sentence: `plain` (a star moves), `there` (there is a star that moves), `see` (we
            see a star moving), `ground` (on a dark background, a star moves), `title` (star moving) or
            `facts` (the star is red, and it moves; or: a star follows a ring; the star is bigger).
        scene: What is told: the scene less what is left out, possibly the other way round.
        wording: Decides between synonyms.
    """

    idea: Idea
    scene: Scene
    wording: str

    def chooser(self, language: str) -> Chooser:
        """Chooses the words of this caption in one language, the same ones each time."""
        return Chooser(f"{self.wording}/{language}")


def tellings(scene: Scene, count: int, seed: str) -> list[Telling]:
    """Plans `count` captions of a scene, the first six of different ideas."""
    rng = random.Random(seed)  # noqa: S311
    ideas = itertools.islice(_in_turn(rng), count)
    return [Telling(idea, _told(scene, idea, rng), f"{seed}/{number}") for number, idea in enumerate(ideas)]


def comparison(scene: Scene) -> Literal["bigger", "smaller", "equal"] | None:
    """How the first of two things compares with the second, where both sizes are told."""
    sizes = [thing.size for thing in scene.things]
    if len(sizes) == 1 or None in sizes:
        return None
    if sizes[0] == sizes[1]:
        return "equal"
    return "bigger" if sizes[0] == "big" else "smaller"


def _in_turn(rng: random.Random) -> Iterator[Idea]:
    while True:
        yield from rng.sample(IDEAS, len(IDEAS))


def _told(scene: Scene, idea: Idea, rng: random.Random) -> Scene:
    if scene.action in CONVERSE and rng.random() < 0.5:
        scene = replace(scene, action=CONVERSE[scene.action], things=scene.things[::-1])
    compares = idea == "facts" and len(scene.things) == 2
    if rng.random() < SILENCE and not compares:
        things = list(scene.things)
        silent = rng.randrange(len(things))
        things[silent] = replace(things[silent], size=None)
        scene = replace(scene, things=tuple(things))
    return scene
