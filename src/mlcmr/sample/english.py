"""Captions in English."""

from typing import NamedTuple

from mlcmr.sample.caption_plan import CaptionPlan, WordChooser, comparison
from mlcmr.sample.world import Action, Colour, Ground, Scene, Shape, ShapeSize

NOUNS: dict[Shape, list[str]] = {
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
SIZES: dict[ShapeSize | None, list[str]] = {"small": ["small", "little"], "big": ["big", "large"], None: [""]}
GROUNDS: dict[Ground, list[str]] = {
    "light": ["on a light background", "on a bright background"],
    "dark": ["on a dark background", "against a dark background"],
}


class EnglishVerb(NamedTuple):
    """A verb as `moves` and as `moving`, and the words that follow; `{}` stands for the second thing."""

    finite: str
    gerund: str
    rest: str = ""


VERBS: dict[Action, list[EnglishVerb]] = {
    "left": [
        EnglishVerb("moves", "moving", "to the left"),
        EnglishVerb("slides", "sliding", "to the left"),
        EnglishVerb("glides", "gliding", "from right to left"),
        EnglishVerb("drifts", "drifting", "leftwards"),
    ],
    "right": [
        EnglishVerb("moves", "moving", "to the right"),
        EnglishVerb("slides", "sliding", "to the right"),
        EnglishVerb("glides", "gliding", "from left to right"),
        EnglishVerb("drifts", "drifting", "rightwards"),
    ],
    "up": [
        EnglishVerb("moves", "moving", "up"),
        EnglishVerb("rises", "rising", "to the top"),
        EnglishVerb("floats", "floating", "upwards"),
    ],
    "down": [
        EnglishVerb("moves", "moving", "down"),
        EnglishVerb("sinks", "sinking", "to the bottom"),
        EnglishVerb("floats", "floating", "downwards"),
    ],
    "circle": [
        EnglishVerb("moves", "moving", "in a circle"),
        EnglishVerb("goes", "going", "round in a circle"),
        EnglishVerb("travels", "travelling", "along a circle"),
    ],
    "bounce": [
        EnglishVerb("bounces", "bouncing", "up and down"),
        EnglishVerb("hops", "hopping", "up and down"),
        EnglishVerb("jumps", "jumping", "up and down"),
    ],
    "sway": [
        EnglishVerb("swings", "swinging", "from side to side"),
        EnglishVerb("sways", "swaying", "left and right"),
        EnglishVerb("moves", "moving", "back and forth"),
    ],
    "grow": [
        EnglishVerb("grows", "growing"),
        EnglishVerb("gets", "getting", "bigger and bigger"),
        EnglishVerb("becomes", "becoming", "larger"),
    ],
    "shrink": [
        EnglishVerb("shrinks", "shrinking"),
        EnglishVerb("gets", "getting", "smaller and smaller"),
        EnglishVerb("becomes", "becoming", "smaller"),
    ],
    "blink": [EnglishVerb("blinks", "blinking"), EnglishVerb("flashes", "flashing", "on and off")],
    "rest": [
        EnglishVerb("stays", "staying", "still"),
        EnglishVerb("rests", "resting", "in one place"),
        EnglishVerb("does not move", "not moving"),
    ],
    "above": [EnglishVerb("lies", "lying", "above {}"), EnglishVerb("sits", "sitting", "above {}")],
    "below": [EnglishVerb("lies", "lying", "below {}"), EnglishVerb("sits", "sitting", "under {}")],
    "left_of": [
        EnglishVerb("lies", "lying", "to the left of {}"),
        EnglishVerb("stands", "standing", "left of {}"),
    ],
    "right_of": [
        EnglishVerb("lies", "lying", "to the right of {}"),
        EnglishVerb("stands", "standing", "right of {}"),
    ],
    "follow_left": [
        EnglishVerb("follows", "following", "{} to the left"),
        EnglishVerb("moves", "moving", "to the left behind {}"),
        EnglishVerb("chases", "chasing", "{} to the left"),
    ],
    "follow_right": [
        EnglishVerb("follows", "following", "{} to the right"),
        EnglishVerb("moves", "moving", "to the right behind {}"),
        EnglishVerb("chases", "chasing", "{} to the right"),
    ],
    "pass_left": [
        EnglishVerb("passes", "passing", "{} from right to left"),
        EnglishVerb("moves", "moving", "past {} to the left"),
        EnglishVerb("glides", "gliding", "past {} to the left"),
    ],
    "pass_right": [
        EnglishVerb("passes", "passing", "{} from left to right"),
        EnglishVerb("moves", "moving", "past {} to the right"),
        EnglishVerb("glides", "gliding", "past {} to the right"),
    ],
    "orbit": [
        EnglishVerb("circles", "circling", "around {}"),
        EnglishVerb("moves", "moving", "around {} in a circle"),
        EnglishVerb("orbits", "orbiting", "{}"),
    ],
    "approach": [
        EnglishVerb("approaches", "approaching", "{}"),
        EnglishVerb("moves", "moving", "towards {}"),
        EnglishVerb("comes", "coming", "closer to {}"),
    ],
    "leave": [
        EnglishVerb("moves", "moving", "away from {}"),
        EnglishVerb("drifts", "drifting", "away from {}"),
        EnglishVerb("retreats", "retreating", "from {}"),
    ],
}


class _EnglishPhrase(NamedTuple):
    """The words that describe one thing."""

    size: str
    colour: str
    noun: str

    def bare(self) -> str:
        return f"{self.size} {self.colour} {self.noun}".strip()

    def indefinite(self) -> str:
        bare = self.bare()
        return f"{'an' if bare[0] in 'aeiou' else 'a'} {bare}"


def write_caption(plan: CaptionPlan) -> str:
    """Return a caption in English."""
    choose = plan.chooser("en")
    scene = plan.scene
    names = _names(scene, choose)
    verb = choose(VERBS[scene.action])
    first, rest = names[0].indefinite(), verb.rest.format(names[-1].indefinite())
    finite, gerund = f"{verb.finite} {rest}", f"{verb.gerund} {rest}"
    match plan.form:
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


def _facts(scene: Scene, names: list[_EnglishPhrase], verb: EnglishVerb) -> str:
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
    subject, other = (f"the {name.bare() if same else name.noun}" for name in (first, second))
    return f"{story}; {subject} is {compared} than {other}"


def _names(scene: Scene, choose: WordChooser) -> list[_EnglishPhrase]:
    sizes = choose.each(SIZES, [thing.size for thing in scene.things])
    colours = choose.each(COLOURS, [thing.colour for thing in scene.things])
    nouns = choose.each(NOUNS, [thing.shape for thing in scene.things])
    return [_EnglishPhrase(*words) for words in zip(sizes, colours, nouns, strict=True)]
