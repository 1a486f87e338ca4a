"""Captions in German."""

from typing import Literal, NamedTuple

from mlcmr.sample.caption_plan import CaptionPlan, WordChooser, comparison
from mlcmr.sample.world import Action, Colour, Ground, Scene, Shape, ShapeSize

GermanGender = Literal["m", "f", "n"]
Case = Literal["nominative", "accusative", "dative"]
Endings = dict[Case, dict[GermanGender, str]]


class GermanNoun(NamedTuple):
    """A noun, its gender, and its dative if that differs."""

    word: str
    gender: GermanGender
    dative: str = ""

    def in_case(self, case: Case) -> str:
        """Return the form of the noun in a case."""
        return self.dative if case == "dative" and self.dative else self.word


NOUNS: dict[Shape, list[GermanNoun]] = {
    "circle": [GermanNoun("Kreis", "m"), GermanNoun("Scheibe", "f")],
    "square": [GermanNoun("Quadrat", "n")],
    "triangle": [GermanNoun("Dreieck", "n")],
    "star": [GermanNoun("Stern", "m")],
    "ring": [GermanNoun("Ring", "m")],
    "diamond": [GermanNoun("Raute", "f"), GermanNoun("Rhombus", "m")],
    "heart": [GermanNoun("Herz", "n", "Herzen")],
    "crescent": [GermanNoun("Halbmond", "m"), GermanNoun("Mondsichel", "f")],
}
COLOURS: dict[Colour, list[str]] = {
    "red": ["rot"],
    "orange": ["orangefarben"],
    "yellow": ["gelb"],
    "green": ["grün"],
    "turquoise": ["türkisfarben"],
    "blue": ["blau"],
    "purple": ["lila", "violett"],
    "pink": ["rosa", "rosafarben"],
}
SIZES: dict[ShapeSize | None, list[str]] = {"small": ["klein"], "big": ["groß"], None: [""]}
GROUNDS: dict[Ground, list[str]] = {
    "light": ["auf hellem Hintergrund", "vor einem hellen Hintergrund"],
    "dark": ["auf dunklem Hintergrund", "vor einem dunklen Hintergrund"],
}
COMPARATIVES = {"bigger": "größer", "smaller": "kleiner"}

_UNCHANGING = {"lila", "rosa"}
_ARTICLES: Endings = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein"},
    "accusative": {"m": "einen", "f": "eine", "n": "ein"},
    "dative": {"m": "einem", "f": "einer", "n": "einem"},
}
_ENDINGS_AFTER_EIN: Endings = {
    "nominative": {"m": "er", "f": "e", "n": "es"},
    "accusative": {"m": "en", "f": "e", "n": "es"},
    "dative": {"m": "en", "f": "en", "n": "en"},
}
_ENDINGS_ALONE: Endings = {
    "nominative": {"m": "er", "f": "e", "n": "es"},
    "accusative": {"m": "en", "f": "e", "n": "es"},
    "dative": {"m": "em", "f": "er", "n": "em"},
}
_ENDINGS_AFTER_DER: Endings = {"nominative": {"m": "e", "f": "e", "n": "e"}}
_THE: dict[GermanGender, str] = {"m": "der", "f": "die", "n": "das"}
"""The definite article in the nominative, and the relative pronoun."""


class GermanVerb(NamedTuple):
    """A verb and the words that belong to it.

    Attributes:
        finite: `bewegt`.
        rest: The words between the verb and its particle: `an {}`; `{}` stands for the second thing.
        particle: A separable prefix: `vorbei`.
        reflexive: Whether `sich` belongs to the verb.
        case: The case of the second thing.
    """

    finite: str
    rest: str = ""
    particle: str = ""
    reflexive: bool = False
    case: Case = "dative"


def _moves(rest: str, particle: str = "", case: Case = "dative") -> GermanVerb:
    return GermanVerb("bewegt", rest, particle, reflexive=True, case=case)


VERBS: dict[Action, list[GermanVerb]] = {
    "left": [
        _moves("nach links"),
        GermanVerb("gleitet", "nach links"),
        GermanVerb("wandert", "von rechts nach links"),
    ],
    "right": [
        _moves("nach rechts"),
        GermanVerb("gleitet", "nach rechts"),
        GermanVerb("wandert", "von links nach rechts"),
    ],
    "up": [_moves("nach oben"), GermanVerb("steigt", "nach oben"), GermanVerb("schwebt", "nach oben")],
    "down": [_moves("nach unten"), GermanVerb("sinkt", "nach unten"), GermanVerb("schwebt", "nach unten")],
    "circle": [_moves("im Kreis"), GermanVerb("wandert", "im Kreis"), GermanVerb("zieht", "Kreise")],
    "bounce": [
        GermanVerb("hüpft", "auf und ab"),
        GermanVerb("springt", "auf und ab"),
        GermanVerb("hopst", "auf und ab"),
    ],
    "sway": [
        _moves("hin und her"),
        GermanVerb("pendelt", "hin und her"),
        GermanVerb("schwingt", "hin und her"),
    ],
    "grow": [GermanVerb("wächst"), GermanVerb("wird", "immer größer"), GermanVerb("wird", "größer")],
    "shrink": [GermanVerb("schrumpft"), GermanVerb("wird", "immer kleiner"), GermanVerb("wird", "kleiner")],
    "blink": [
        GermanVerb("blinkt"),
        GermanVerb("blinkt", "immer wieder"),
        GermanVerb("leuchtet", "immer wieder", "auf"),
    ],
    "rest": [_moves("nicht"), GermanVerb("bleibt", "an einer Stelle"), GermanVerb("steht", "", "still")],
    "above": [GermanVerb("liegt", "über {}"), GermanVerb("befindet", "über {}", reflexive=True)],
    "below": [GermanVerb("liegt", "unter {}"), GermanVerb("befindet", "unter {}", reflexive=True)],
    "left_of": [GermanVerb("liegt", "links von {}"), GermanVerb("befindet", "links von {}", reflexive=True)],
    "right_of": [
        GermanVerb("liegt", "rechts von {}"),
        GermanVerb("befindet", "rechts von {}", reflexive=True),
    ],
    "follow_left": [GermanVerb("folgt", "{} nach links"), _moves("hinter {} nach links")],
    "follow_right": [GermanVerb("folgt", "{} nach rechts"), _moves("hinter {} nach rechts")],
    "pass_left": [
        _moves("nach links an {}", "vorbei"),
        GermanVerb("gleitet", "nach links an {}", "vorbei"),
        GermanVerb("zieht", "von rechts nach links an {}", "vorbei"),
    ],
    "pass_right": [
        _moves("nach rechts an {}", "vorbei"),
        GermanVerb("gleitet", "nach rechts an {}", "vorbei"),
        GermanVerb("zieht", "von links nach rechts an {}", "vorbei"),
    ],
    "orbit": [
        GermanVerb("umkreist", "{}", case="accusative"),
        GermanVerb("kreist", "um {}", case="accusative"),
        _moves("im Kreis um {}", case="accusative"),
    ],
    "approach": [
        GermanVerb("nähert", "{}", reflexive=True),
        _moves("auf {}", "zu", case="accusative"),
        GermanVerb("kommt", "{}", "näher"),
    ],
    "leave": [
        GermanVerb("entfernt", "von {}", reflexive=True),
        _moves("von {}", "weg"),
        GermanVerb("gleitet", "von {}", "weg"),
    ],
}


class _GermanPhrase(NamedTuple):
    """The words that describe one thing."""

    size: str
    colour: str
    noun: GermanNoun

    def indefinite(self, case: Case) -> str:
        return f"{_ARTICLES[case][self.noun.gender]} {self._inflected(case, _ENDINGS_AFTER_EIN)}"

    def bare(self, case: Case) -> str:
        return self._inflected(case, _ENDINGS_ALONE)

    def definite(self) -> str:
        return f"{_THE[self.noun.gender]} {self._inflected('nominative', _ENDINGS_AFTER_DER)}"

    def _inflected(self, case: Case, endings: Endings) -> str:
        ending = endings[case][self.noun.gender]
        looks = [word if word in _UNCHANGING else word + ending for word in (self.size, self.colour) if word]
        return " ".join([*looks, self.noun.in_case(case)])


def write_caption(plan: CaptionPlan) -> str:
    """Return a caption in German."""
    choose = plan.chooser("de")
    scene = plan.scene
    names = _names(scene, choose)
    verb = choose(VERBS[scene.action])
    first, second = names[0].indefinite("nominative"), names[-1].indefinite(verb.case)
    seen = names[0].indefinite("accusative")
    clause = f"{_THE[names[0].noun.gender]} {_at_end(verb, second)}"
    match plan.form:
        case "plain":
            text = _after(first, verb, second)
        case "there":
            text = f"{choose([f'es gibt {seen}', f'da ist {first}'])}, {clause}"
        case "see":
            shown = choose([f"man sieht {seen}", f"das Video zeigt {seen}", f"zu sehen ist {first}"])
            text = f"{shown}, {clause}"
        case "ground":
            text = f"{choose(GROUNDS[scene.ground])} {_before(first, verb, second)}"
        case "title":
            text = _after(names[0].bare("nominative"), verb, names[-1].bare(verb.case))
        case "facts":
            text = _facts(scene, names, verb)
    return f"{text[0].upper()}{text[1:]}."


def _facts(scene: Scene, names: list[_GermanPhrase], verb: GermanVerb) -> str:
    if len(names) == 1:
        (name,) = names
        look = " und ".join(word for word in (name.size, name.colour) if word)
        return f"{_THE[name.noun.gender]} {name.noun.word} ist {look} und {_after('', verb, '')}"
    compared = comparison(scene)
    first, second = (name._replace(size="") for name in names) if compared else names
    story = _after(first.indefinite("nominative"), verb, second.indefinite(verb.case))
    if not compared:
        return story
    if compared == "equal":
        return f"{story}; beide sind {names[0].size}"
    same = first.noun == second.noun
    subject, other = (name if same else name._replace(colour="") for name in (first, second))
    return f"{story}; {subject.definite()} ist {COMPARATIVES[compared]} als {other.definite()}"


def _after(subject: str, verb: GermanVerb, second: str) -> str:
    """Return a sentence that begins with the subject: `ein Stern bewegt sich an einem Ring vorbei`."""
    return _words(subject, verb.finite, "sich" * verb.reflexive, verb.rest.format(second), verb.particle)


def _before(subject: str, verb: GermanVerb, second: str) -> str:
    """Return a sentence from its verb on: `… bewegt sich ein Stern an einem Ring vorbei`."""
    return _words(verb.finite, "sich" * verb.reflexive, subject, verb.rest.format(second), verb.particle)


def _at_end(verb: GermanVerb, second: str) -> str:
    """Return a relative clause without its pronoun: `… sich an einem Ring vorbeibewegt`."""
    return _words("sich" * verb.reflexive, verb.rest.format(second), verb.particle + verb.finite)


def _words(*words: str) -> str:
    return " ".join(word for word in words if word)


def _names(scene: Scene, choose: WordChooser) -> list[_GermanPhrase]:
    sizes = choose.each(SIZES, [thing.size for thing in scene.things])
    colours = choose.each(COLOURS, [thing.colour for thing in scene.things])
    nouns = choose.each(NOUNS, [thing.shape for thing in scene.things])
    return [_GermanPhrase(*words) for words in zip(sizes, colours, nouns, strict=True)]
