"""Guess the language of a text among the languages that a model was trained in."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from mlcmr.data.languages import language_profile, language_script

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

UNKNOWN = "und"
"""The code of an unknown language (ISO 639)."""
_LETTERS_OF = {
    "Hans": ("CJK",),
    "Hant": ("CJK",),
    "Jpan": ("HIRAGANA", "KATAKANA", "CJK"),
    "Kore": ("HANGUL", "CJK"),
    "Beng": ("BENGALI",),
    "Orya": ("ORIYA",),
}
"""Unicode's names of letters by ISO 15924 script, if they differ from the name of the script."""
_DECISIVE = {"HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko"}
"""The language of letters that only one language uses, by Unicode's names of letters."""
_FREQUENT = {
    "LATIN": "en", "CJK": "zh", "CYRILLIC": "ru", "GREEK": "el", "HEBREW": "he", "ARABIC": "ar",
    "DEVANAGARI": "hi", "THAI": "th",
}  # fmt: skip
"""The most frequent language of a script, for models whose languages are unknown."""
_MAX_DISTANCE = 5
"""Up to this distance, langcodes regards two languages as the same or as mutually intelligible."""


def guess_language(text: str, trained: Sequence[str] = ()) -> str:
    """Return the language of a text, or `und` if the model was not trained in it.

    If a single trained language is written in the script of the text, the script decides. Among several
    languages, py3langid chooses. It knows 140 languages, with one code each: `tl` for `fil`, `no` for `nb`. A
    trained language that py3langid does not know (Cebuano, Upper Sorbian) must be given: it is not guessed
    if another trained language of the same script is known.

    A language whose cleaning would remove letters of the text is not returned. So English is returned only
    for texts in unaccented letters (see `clean_english`).

    Args:
        text: A query.
        trained: The languages of the model; if empty, the script alone decides.
    """
    kinds = Counter(map(_kind_of_letter, filter(str.isalpha, text)))
    if not kinds:
        return trained[0] if len(trained) == 1 else "en" if not trained or "en" in trained else UNKNOWN
    for kind, language in _DECISIVE.items():
        if kind in kinds and (language in trained or not trained):
            return language
    # Texts in all languages contain names of products in Latin letters.
    kind = max(kinds, key=lambda kind: (kind != "LATIN", kind not in _DECISIVE, kinds[kind]))
    left = [language for language in trained if kind in _kinds(language)]
    if left:
        language = left[0] if len(left) == 1 else _most_likely(text, tuple(left))
    else:
        language = UNKNOWN if trained else _FREQUENT.get(kind, UNKNOWN)
    return language if language_profile(language).keeps_letters(text) else UNKNOWN


def _kind_of_letter(letter: str) -> str:
    """Return the first word of Unicode's name of a letter: `LATIN`, `CJK`, `DEVANAGARI`."""
    first = unicodedata.name(letter, "").partition(" ")[0]
    return "HANGUL" if first == "JAMO" else first.removesuffix("-COMPATIBILITY")


@cache
def _kinds(language: str) -> tuple[str, ...]:
    """Return the kinds of letters of a language; see `_kind_of_letter`."""
    code, name = language_script(language)
    return _LETTERS_OF.get(code, (name.upper(),))


@lru_cache(maxsize=64)
def _identifier(languages: tuple[str, ...]) -> "tuple[LanguageIdentifier, dict[str, str]] | None":
    """Return an identifier and the language of each of its labels; None if it knows no language."""
    from langcodes import closest_match  # noqa: PLC0415 – slow to import
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    labels = list(map(str, identifier.labels))
    known: dict[str, str] = {}
    # Exact labels first: if a model was trained in both `nb` and `no`, `no` is Norwegian.
    for language in sorted(languages, key=lambda code: code not in labels):
        label, distance = (
            (language, 0) if language in labels else closest_match(language, labels, _MAX_DISTANCE)
        )
        if distance <= _MAX_DISTANCE:
            known.setdefault(label, language)
    if not known:
        return None
    identifier.set_languages(list(known))
    return identifier, known


def _most_likely(text: str, languages: tuple[str, ...]) -> str:
    """Return the most likely language of a text; the first language if none is known."""
    identification = _identifier(languages)
    if identification is None:
        return languages[0]
    identifier, known = identification
    return known[str(identifier.classify(text)[0])]
