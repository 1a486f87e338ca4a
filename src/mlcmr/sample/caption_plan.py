"""The content of a caption, before it is written in a language."""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

from mlcmr.sample.world import CONVERSE, Scene

SentenceForm = Literal["plain", "there", "see", "ground", "title", "facts"]
FORMS: tuple[SentenceForm, ...] = get_args(SentenceForm)
OMITTED_SIZES = 0.15
"""The share of captions that leave out a size."""

Choice = TypeVar("Choice")
Key = TypeVar("Key")


class WordChooser:
    """Choose among synonyms; the same seed gives the same choices."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)  # noqa: S311

    def __call__(self, words: Sequence[Choice]) -> Choice:
        """Return one of `words`."""
        return self._rng.choice(words)

    def each(self, table: Mapping[Key, Sequence[Choice]], keys: Iterable[Key]) -> list[Choice]:
        """Return a word of `table` for each key; equal keys get the same word."""
        chosen: dict[Key, Choice] = {}
        for key in (keys := list(keys)):
            if key not in chosen:
                chosen[key] = self(table[key])
        return [chosen[key] for key in keys]


@dataclass(frozen=True)
class CaptionPlan:
    """The content of one caption, the same in every language.

    Attributes:
        form: The form of the sentence: `plain` (a star moves), `there` (there is a star that moves), `see`
            (we see a star moving), `ground` (on a dark background, a star moves), `title` (star moving) or
            `facts` (the star is red, and it moves; or: a star follows a ring; the star is bigger).
        scene: The scene as the caption describes it: a size may be left out, and the two things may be in
            the other order.
        seed: Decides between synonyms.
    """

    form: SentenceForm
    scene: Scene
    seed: str

    def chooser(self, language: str) -> WordChooser:
        """Return the chooser of the words of this caption in one language."""
        return WordChooser(f"{self.seed}/{language}")


def plan_captions(scene: Scene, count: int, seed: str) -> list[CaptionPlan]:
    """Plan `count` captions of a scene, the first six of different forms."""
    rng = random.Random(seed)  # noqa: S311
    forms = itertools.islice(_shuffled_forms(rng), count)
    return [
        CaptionPlan(form, _described(scene, form, rng), f"{seed}/{number}")
        for number, form in enumerate(forms)
    ]


def comparison(scene: Scene) -> Literal["bigger", "smaller", "equal"] | None:
    """Compare the size of the first of two things with the second; None if a size is left out."""
    sizes = [thing.size for thing in scene.things]
    if len(sizes) == 1 or None in sizes:
        return None
    if sizes[0] == sizes[1]:
        return "equal"
    return "bigger" if sizes[0] == "big" else "smaller"


def _shuffled_forms(rng: random.Random) -> Iterator[SentenceForm]:
    """Yield all forms in random order, again and again."""
    while True:
        yield from rng.sample(FORMS, len(FORMS))


def _described(scene: Scene, form: SentenceForm, rng: random.Random) -> Scene:
    """Return the scene as a caption describes it."""
    if scene.action in CONVERSE and rng.random() < 0.5:
        scene = replace(scene, action=CONVERSE[scene.action], things=scene.things[::-1])
    compares = form == "facts" and len(scene.things) == 2
    if rng.random() < OMITTED_SIZES and not compares:
        things = list(scene.things)
        omitted = rng.randrange(len(things))
        things[omitted] = replace(things[omitted], size=None)
        scene = replace(scene, things=tuple(things))
    return scene
