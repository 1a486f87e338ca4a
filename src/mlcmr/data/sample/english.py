"""Captions in English."""

from typing import NamedTuple

from mlcmr.data.sample.telling import Chooser, Telling, comparison
from mlcmr.data.sample.world import Action, Colour, Ground, Kind, Scene, Size

NOUNS: dict[Kind, list[str]] = {
    "circle": ["circle", "disc"],
    "square": ["square"],
    "triangle": ["triangle"],
    "star": ["star"],
    "ring": ["ring", "hoop"],
    "diamond": ["diamond", "rhombus"],
    "heart": ["heart"],
    "crescent": ["crescent", "crescent moon"],
}
COLOURS: dict[Colour, list[str]] = {
    "red": ["red"],
    "orange": ["orange"],
    "yellow": ["yellow"],
    "green": ["green"],
    "turquoise": ["turquoise", "cyan"],
    "blue": ["blue"],
    "purple": ["purple", "violet"],
    "pink": ["pink"],
}
SIZES: dict[Size | None, list[str]] = {"small": ["small", "little"], "big": ["big", "large"], None: [""]}
GROUNDS: dict[Ground, list[str]] = {
    "light": ["on a light background", "on a bright background"],
    "dark": ["on a dark background", "against a dark background"],
}


class Verb(NamedTuple):
    """`moves`, `moving` and what follows; `{}` is the second thing."""

    finite: str
    gerund: str
    rest: str = ""


VERBS: dict[Action, list[Verb]] = {
    "left": [
        Verb("moves", "moving", "to the left"),
        Verb("slides", "sliding", "to the left"),
        Verb("glides", "gliding", "from right to left"),
        Verb("drifts", "drifting", "leftwards"),
    ],
    "right": [
        Verb("moves", "moving", "to the right"),
        Verb("slides", "sliding", "to the right"),
        Verb("glides", "gliding", "from left to right"),
        Verb("drifts", "drifting", "rightwards"),
    ],
    "up": [
        Verb("moves", "moving", "up"),
        Verb("rises", "rising", "to the top"),
        Verb("floats", "floating", "upwards"),
    ],
    "down": [
        Verb("moves", "moving", "down"),
        Verb("sinks", "sinking", "to the bottom"),
        Verb("floats", "floating", "downwards"),
    ],
    "circle": [
        Verb("moves", "moving", "in a circle"),
        Verb("goes", "going", "round in a circle"),
        Verb("travels", "travelling", "along a circle"),
    ],
    "bounce": [
        Verb("bounces", "bouncing", "up and down"),
        Verb("hops", "hopping", "up and down"),
        Verb("jumps", "jumping", "up and down"),
    ],
    "sway": [
        Verb("swings", "swinging", "from side to side"),
        Verb("sways", "swaying", "left and right"),
        Verb("moves", "moving", "back and forth"),
    ],
    "grow": [
        Verb("grows", "growing"),
        Verb("gets", "getting", "bigger and bigger"),
        Verb("becomes", "becoming", "larger"),
    ],
    "shrink": [
        Verb("shrinks", "shrinking"),
        Verb("gets", "getting", "smaller and smaller"),
        Verb("becomes", "becoming", "smaller"),
    ],
    "blink": [Verb("blinks", "blinking"), Verb("flashes", "flashing", "on and off")],
    "rest": [
        Verb("stays", "staying", "still"),
        Verb("rests", "resting", "in one place"),
        Verb("does not move", "not moving"),
    ],
    "above": [Verb("lies", "lying", "above {}"), Verb("sits", "sitting", "above {}")],
    "below": [Verb("lies", "lying", "below {}"), Verb("sits", "sitting", "under {}")],
    "left_of": [Verb("lies", "lying", "to the left of {}"), Verb("stands", "standing", "left of {}")],
    "right_of": [Verb("lies", "lying", "to the right of {}"), Verb("stands", "standing", "right of {}")],
    "follow_left": [
        Verb("follows", "following", "{} to the left"),
        Verb("moves", "moving", "to the left behind {}"),
        Verb("chases", "chasing", "{} to the left"),
    ],
    "follow_right": [
        Verb("follows", "following", "{} to the right"),
        Verb("moves", "moving", "to the right behind {}"),
        Verb("chases", "chasing", "{} to the right"),
    ],
    "pass_left": [
        Verb("passes", "passing", "{} from right to left"),
        Verb("moves", "moving", "past {} to the left"),
        Verb("glides", "gliding", "past {} to the left"),
    ],
    "pass_right": [
        Verb("passes", "passing", "{} from left to right"),
        Verb("moves", "moving", "past {} to the right"),
        Verb("glides", "gliding", "past {} to the right"),
    ],
    "orbit": [
        Verb("circles", "circling", "around {}"),
        Verb("moves", "moving", "around {} in a circle"),
        Verb("orbits", "orbiting", "{}"),
    ],
    "approach": [
        Verb("approaches", "approaching", "{}"),
        Verb("moves", "moving", "towards {}"),
        Verb("comes", "coming", "closer to {}"),
    ],
    "leave": [
        Verb("moves", "moving", "away from {}"),
        Verb("drifts", "drifting", "away from {}"),
        Verb("retreats", "retreating", "from {}"),
    ],
}


class _Name(NamedTuple):
    """The words chosen for one thing."""

    size: str
    colour: str
    noun: str

    def bare(self) -> str:
        return f"{self.size} {self.colour} {self.noun}".strip()

    def indefinite(self) -> str:
        bare = self.bare()
        return f"{'an' if bare[0] in 'aeiou' else 'a'} {bare}"


def tell(telling: Telling) -> str:
    """A caption in English."""
    choose = telling.chooser("en")
    scene = telling.scene
    names = _names(scene, choose)
    verb = choose(VERBS[scene.action])
    first, rest = names[0].indefinite(), verb.rest.format(names[-1].indefinite())
    finite, gerund = f"{verb.finite} {rest}", f"{verb.gerund} {rest}"
    match telling.idea:
        case "plain":
            text = f"{first} {finite}"
        case "there":
            text = choose([f"there is {first} {gerund}", f"there is {first} that {finite}"])
        case "see":
            text = f"{choose(['we see', 'you can see', 'the clip shows'])} {first} {gerund}"
        case "ground":
            text = f"{choose(GROUNDS[scene.ground])}, {first} {finite}"
        case "title":
            text = f"{names[0].bare()} {verb.gerund} {verb.rest.format(names[-1].bare())}"
        case "facts":
            text = _facts(scene, names, verb)
    return f"{text[0].upper()}{text[1:].rstrip()}."


def _facts(scene: Scene, names: list[_Name], verb: Verb) -> str:
    if len(names) == 1:
        (name,) = names
        size = f"{name.size} and " if name.size else ""
        return f"the {name.noun} is {size}{name.colour}, and it {verb.finite} {verb.rest}"
    compared = comparison(scene)
    first, second = (name._replace(size="") for name in names) if compared else names
    story = f"{first.indefinite()} {verb.finite} {verb.rest.format(second.indefinite())}"
    if not compared:
        return story
    if compared == "equal":
        return f"{story}; both are {scene.things[0].size}"
    same = first.noun == second.noun
    told, other = (f"the {name.bare() if same else name.noun}" for name in (first, second))
    return f"{story}; {told} is {compared} than {other}"


def _names(scene: Scene, choose: Chooser) -> list[_Name]:
    sizes = choose.each(SIZES, [thing.size for thing in scene.things])
    colours = choose.each(COLOURS, [thing.colour for thing in scene.things])
    nouns = choose.each(NOUNS, [thing.kind for thing in scene.things])
    return [_Name(*words) for words in zip(sizes, colours, nouns, strict=True)]
