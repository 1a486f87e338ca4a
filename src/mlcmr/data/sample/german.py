"""Captions in German."""

from typing import Literal, NamedTuple

from mlcmr.data.sample.telling import Chooser, Telling, comparison
from mlcmr.data.sample.world import Action, Colour, Ground, Kind, Scene, Size

Gender = Literal["m", "f", "n"]
Case = Literal["nominative", "accusative", "dative"]
Endings = dict[Case, dict[Gender, str]]


class Noun(NamedTuple):
    """A noun, its gender, and its dative where that differs."""

    word: str
    gender: Gender
    dative: str = ""

    def in_case(self, case: Case) -> str:
        """The noun as it stands in a case."""
        return self.dative if case == "dative" and self.dative else self.word


NOUNS: dict[Kind, list[Noun]] = {
    "circle": [Noun("Kreis", "m"), Noun("Scheibe", "f")],
    "square": [Noun("Quadrat", "n")],
    "triangle": [Noun("Dreieck", "n")],
    "star": [Noun("Stern", "m")],
    "ring": [Noun("Ring", "m")],
    "diamond": [Noun("Raute", "f"), Noun("Rhombus", "m")],
    "heart": [Noun("Herz", "n", "Herzen")],
    "crescent": [Noun("Halbmond", "m"), Noun("Mondsichel", "f")],
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
SIZES: dict[Size | None, list[str]] = {"small": ["klein"], "big": ["groß"], None: [""]}
GROUNDS: dict[Ground, list[str]] = {
    "light": ["auf hellem Hintergrund", "vor einem hellen Hintergrund"],
    "dark": ["auf dunklem Hintergrund", "vor einem dunklen Hintergrund"],
}
BIGGER = {"bigger": "größer", "smaller": "kleiner"}

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
_THE: dict[Gender, str] = {"m": "der", "f": "die", "n": "das"}
"""The definite article in the nominative, and the relative pronoun."""


class Verb(NamedTuple):
    """A verb with what belongs to it; `{}` in `rest` is the second thing, in `case`.

    Attributes:
        finite: `bewegt`.
        rest: What stands between the verb and its particle: `an {}`.
        particle: A separable prefix: `vorbei`.
        reflexive: Whether there is a `sich`.
        case: What the second thing stands in.
    """

    finite: str
    rest: str = ""
    particle: str = ""
    reflexive: bool = False
    case: Case = "dative"


def _moves(rest: str, particle: str = "", case: Case = "dative") -> Verb:
    return Verb("bewegt", rest, particle, reflexive=True, case=case)


VERBS: dict[Action, list[Verb]] = {
    "left": [_moves("nach links"), Verb("gleitet", "nach links"), Verb("wandert", "von rechts nach links")],
    "right": [
        _moves("nach rechts"),
        Verb("gleitet", "nach rechts"),
        Verb("wandert", "von links nach rechts"),
    ],
    "up": [_moves("nach oben"), Verb("steigt", "nach oben"), Verb("schwebt", "nach oben")],
    "down": [_moves("nach unten"), Verb("sinkt", "nach unten"), Verb("schwebt", "nach unten")],
    "circle": [_moves("im Kreis"), Verb("wandert", "im Kreis"), Verb("zieht", "Kreise")],
    "bounce": [Verb("hüpft", "auf und ab"), Verb("springt", "auf und ab"), Verb("hopst", "auf und ab")],
    "sway": [_moves("hin und her"), Verb("pendelt", "hin und her"), Verb("schwingt", "hin und her")],
    "grow": [Verb("wächst"), Verb("wird", "immer größer"), Verb("wird", "größer")],
    "shrink": [Verb("schrumpft"), Verb("wird", "immer kleiner"), Verb("wird", "kleiner")],
    "blink": [Verb("blinkt"), Verb("blinkt", "immer wieder"), Verb("leuchtet", "immer wieder", "auf")],
    "rest": [_moves("nicht"), Verb("bleibt", "an einer Stelle"), Verb("steht", "", "still")],
    "above": [Verb("liegt", "über {}"), Verb("befindet", "über {}", reflexive=True)],
    "below": [Verb("liegt", "unter {}"), Verb("befindet", "unter {}", reflexive=True)],
    "left_of": [Verb("liegt", "links von {}"), Verb("befindet", "links von {}", reflexive=True)],
    "right_of": [Verb("liegt", "rechts von {}"), Verb("befindet", "rechts von {}", reflexive=True)],
    "follow_left": [Verb("folgt", "{} nach links"), _moves("hinter {} nach links")],
    "follow_right": [Verb("folgt", "{} nach rechts"), _moves("hinter {} nach rechts")],
    "pass_left": [
        _moves("nach links an {}", "vorbei"),
        Verb("gleitet", "nach links an {}", "vorbei"),
        Verb("zieht", "von rechts nach links an {}", "vorbei"),
    ],
    "pass_right": [
        _moves("nach rechts an {}", "vorbei"),
        Verb("gleitet", "nach rechts an {}", "vorbei"),
        Verb("zieht", "von links nach rechts an {}", "vorbei"),
    ],
    "orbit": [
        Verb("umkreist", "{}", case="accusative"),
        Verb("kreist", "um {}", case="accusative"),
        _moves("im Kreis um {}", case="accusative"),
    ],
    "approach": [
        Verb("nähert", "{}", reflexive=True),
        _moves("auf {}", "zu", case="accusative"),
        Verb("kommt", "{}", "näher"),
    ],
    "leave": [
        Verb("entfernt", "von {}", reflexive=True),
        _moves("von {}", "weg"),
        Verb("gleitet", "von {}", "weg"),
    ],
}


class _Name(NamedTuple):
    """The words chosen for one thing."""

    size: str
    colour: str
    noun: Noun

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


def tell(telling: Telling) -> str:
    """A caption in German."""
    choose = telling.chooser("de")
    scene = telling.scene
    names = _names(scene, choose)
    verb = choose(VERBS[scene.action])
    first, second = names[0].indefinite("nominative"), names[-1].indefinite(verb.case)
    seen = names[0].indefinite("accusative")
    clause = f"{_THE[names[0].noun.gender]} {_at_end(verb, second)}"
    match telling.idea:
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


def _facts(scene: Scene, names: list[_Name], verb: Verb) -> str:
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
    told, other = (name if same else name._replace(colour="") for name in (first, second))
    return f"{story}; {told.definite()} ist {BIGGER[compared]} als {other.definite()}"


def _after(subject: str, verb: Verb, second: str) -> str:
    """Subject first: `ein Stern bewegt sich an einem Ring vorbei`."""
    return _words(subject, verb.finite, "sich" * verb.reflexive, verb.rest.format(second), verb.particle)


def _before(subject: str, verb: Verb, second: str) -> str:
    """Something else first: `… bewegt sich ein Stern an einem Ring vorbei`."""
    return _words(verb.finite, "sich" * verb.reflexive, subject, verb.rest.format(second), verb.particle)


def _at_end(verb: Verb, second: str) -> str:
    """In a clause: `… sich an einem Ring vorbeibewegt`."""
    return _words("sich" * verb.reflexive, verb.rest.format(second), verb.particle + verb.finite)


def _words(*words: str) -> str:
    return " ".join(word for word in words if word)


def _names(scene: Scene, choose: Chooser) -> list[_Name]:
    sizes = choose.each(SIZES, [thing.size for thing in scene.things])
    colours = choose.each(COLOURS, [thing.colour for thing in scene.things])
    nouns = choose.each(NOUNS, [thing.kind for thing in scene.things])
    return [_Name(*words) for words in zip(sizes, colours, nouns, strict=True)]
