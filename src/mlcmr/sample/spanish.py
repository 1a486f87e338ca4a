"""Captions in Spanish."""

from typing import Literal, NamedTuple

from mlcmr.sample.caption_plan import CaptionPlan, WordChooser, comparison
from mlcmr.sample.world import Action, Colour, Ground, Scene, Shape, ShapeSize

SpanishGender = Literal["m", "f"]


class SpanishNoun(NamedTuple):
    """A noun and its gender."""

    word: str
    gender: SpanishGender


NOUNS: dict[Shape, list[SpanishNoun]] = {
    "circle": [SpanishNoun("círculo", "m"), SpanishNoun("disco", "m")],
    "square": [SpanishNoun("cuadrado", "m")],
    "triangle": [SpanishNoun("triángulo", "m")],
    "star": [SpanishNoun("estrella", "f")],
    "ring": [SpanishNoun("anillo", "m"), SpanishNoun("aro", "m")],
    "diamond": [SpanishNoun("rombo", "m")],
    "heart": [SpanishNoun("corazón", "m")],
    "crescent": [SpanishNoun("media luna", "f"), SpanishNoun("luna creciente", "f")],
}
COLOURS: dict[Colour, list[str]] = {
    # An adjective in -o has a feminine in -a; the others do not change.
    "red": ["rojo"],
    "orange": ["naranja", "anaranjado"],
    "yellow": ["amarillo"],
    "green": ["verde"],
    "turquoise": ["turquesa"],
    "blue": ["azul"],
    "purple": ["morado", "violeta"],
    "pink": ["rosa", "rosado"],
}
SIZES: dict[ShapeSize | None, list[str]] = {"small": ["pequeño"], "big": ["grande"], None: [""]}
GROUNDS: dict[Ground, list[str]] = {
    "light": ["sobre un fondo claro", "ante un fondo luminoso"],
    "dark": ["sobre un fondo oscuro", "ante un fondo oscuro"],
}

_BOTH: dict[SpanishGender, str] = {"m": "ambos", "f": "ambas"}
_ARTICLES: dict[SpanishGender, str] = {"m": "un", "f": "una"}
_THE: dict[SpanishGender, str] = {"m": "el", "f": "la"}

VERBS: dict[Action, list[str]] = {
    # `{}` stands for the second thing; `/o` at the end of a word agrees with the first thing.
    "left": ["se mueve hacia la izquierda", "se desliza hacia la izquierda", "va de derecha a izquierda"],
    "right": ["se mueve hacia la derecha", "se desliza hacia la derecha", "va de izquierda a derecha"],
    "up": ["se mueve hacia arriba", "sube", "se eleva"],
    "down": ["se mueve hacia abajo", "baja", "desciende"],
    "circle": ["se mueve en círculos", "da vueltas en círculo", "se desplaza en círculo"],
    "bounce": ["rebota arriba y abajo", "salta arriba y abajo", "da saltos hacia arriba y hacia abajo"],
    "sway": ["oscila de lado a lado", "se balancea de un lado a otro", "se mueve de un lado a otro"],
    "grow": ["crece", "se hace cada vez más grande", "aumenta de tamaño"],
    "shrink": ["se encoge", "se hace cada vez más pequeñ/o", "disminuye de tamaño"],
    "blink": ["parpadea", "parpadea sin parar", "se enciende y se apaga"],
    "rest": ["no se mueve", "permanece inmóvil", "se queda quiet/o"],
    "above": ["está encima de {}", "se encuentra encima de {}"],
    "below": ["está debajo de {}", "se encuentra debajo de {}"],
    "left_of": ["está a la izquierda de {}", "se encuentra a la izquierda de {}"],
    "right_of": ["está a la derecha de {}", "se encuentra a la derecha de {}"],
    "follow_left": ["sigue a {} hacia la izquierda", "va hacia la izquierda detrás de {}"],
    "follow_right": ["sigue a {} hacia la derecha", "va hacia la derecha detrás de {}"],
    "pass_left": ["pasa junto a {} hacia la izquierda", "pasa de derecha a izquierda junto a {}"],
    "pass_right": ["pasa junto a {} hacia la derecha", "pasa de izquierda a derecha junto a {}"],
    "orbit": ["gira alrededor de {}", "da vueltas alrededor de {}", "se mueve en círculo alrededor de {}"],
    "approach": ["se acerca a {}", "se aproxima a {}", "avanza hacia {}"],
    "leave": ["se aleja de {}", "se va alejando de {}", "se aparta de {}"],
}


class _SpanishPhrase(NamedTuple):
    """The words for one thing; with `size_first`, the size stands before the noun."""

    size: str
    colour: str
    noun: SpanishNoun
    size_first: bool

    def bare(self) -> str:
        size, colour = (_agreeing(word, self.noun.gender) for word in (self.size, self.colour))
        if self.size_first and size:
            return f"{'gran' if size == 'grande' else size} {self.noun.word} {colour}"
        return f"{self.noun.word} {colour} {size}".rstrip()

    def indefinite(self) -> str:
        return f"{_ARTICLES[self.noun.gender]} {self.bare()}"


def write_caption(plan: CaptionPlan) -> str:
    """Return a caption in Spanish."""
    choose = plan.chooser("es")
    scene = plan.scene
    names = _names(scene, choose)
    first, second = names[0], names[-1]
    verb = choose(VERBS[scene.action]).replace("/o", "o" if first.noun.gender == "m" else "a")
    action = verb.format(second.indefinite())
    match plan.form:
        case "plain":
            text = f"{first.indefinite()} {action}"
        case "there":
            text = f"{choose(['hay', 'aparece'])} {first.indefinite()} que {action}"
        case "see":
            text = f"{choose(['se ve', 'vemos', 'el vídeo muestra'])} {first.indefinite()} que {action}"
        case "ground":
            text = f"{choose(GROUNDS[scene.ground])}, {first.indefinite()} {action}"
        case "title":
            text = f"{first.bare()} que {action}"
        case "facts":
            text = _facts(scene, names, verb)
    return f"{text[0].upper()}{text[1:]}."


def _facts(scene: Scene, names: list[_SpanishPhrase], verb: str) -> str:
    if len(names) == 1:
        (name,) = names
        words = [_agreeing(word, name.noun.gender) for word in (name.size, name.colour) if word]
        return f"{_THE[name.noun.gender]} {name.noun.word} es {' y '.join(words)} y {verb}"
    compared = comparison(scene)
    first, second = (name._replace(size="") for name in names) if compared else names
    story = f"{first.indefinite()} {verb.format(second.indefinite())}"
    if not compared:
        return story
    size = names[0].size
    if compared == "equal":
        gender: SpanishGender = "f" if {name.noun.gender for name in names} == {"f"} else "m"
        return f"{story}; {_BOTH[gender]} son {_agreeing(size, gender)}s"
    same = first.noun == second.noun
    subject, other = (
        f"{_THE[name.noun.gender]} {name.bare() if same else name.noun.word}" for name in (first, second)
    )
    return f"{story}; {subject} es más {_agreeing(size, first.noun.gender)} que {other}"


def _agreeing(adjective: str, gender: SpanishGender) -> str:
    return adjective[:-1] + "a" if gender == "f" and adjective.endswith("o") else adjective


def _names(scene: Scene, choose: WordChooser) -> list[_SpanishPhrase]:
    sizes = choose.each(SIZES, [thing.size for thing in scene.things])
    colours = choose.each(COLOURS, [thing.colour for thing in scene.things])
    nouns = choose.each(NOUNS, [thing.shape for thing in scene.things])
    size_first = choose([True, False])
    return [_SpanishPhrase(*words, size_first) for words in zip(sizes, colours, nouns, strict=True)]
