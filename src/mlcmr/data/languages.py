"""Languages as data: how files mark a language, how its captions are cleaned, and which code a name means.

`language_profile` is the one place that knows how the published files mark English: captions that people
wrote in English have the tag `enc` and their file has no suffix. Codes and names of languages come from the
tables of `langcodes`, which are loaded with the first language.
"""

import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import lru_cache

from mlcmr.errors import InvalidValueError

_NOT_ENGLISH = re.compile(r"[^A-Za-z0-9]")
_ENGLISH_LETTER = re.compile("[A-Za-z0-9]")

# Codes and names that collections use, and that `langcodes` lacks or maps to another code.
_ALIASES = {"cmn": "zh", "bokmal": "nb", "bokmaal": "nb", "sh": "sh", "tl": "tl", "tgl": "tl", "und": "und"}
# Codes of countries that often stand for their languages, and that are not codes of other languages.
_ALIASES |= {"cn": "zh", "jp": "ja", "vn": "vi", "dk": "da", "gr": "el", "cz": "cs", "ua": "uk"}
_ALIASES |= {"us": "en", "gb": "en"}
# Other abbreviations of names and countries, which are not codes of a living, written language.
_ALIASES |= {"sp": "es", "chs": "zh", "cht": "zh", "chn": "zh", "jap": "ja", "usa": "en", "vnm": "vi"}
# Codes of both a language and a country where another language is spoken. In data sets these codes more often
# stand for the language of the country.
_AMBIGUOUS = frozenset(
    ["ae", "br", "ch", "co", "cr", "cu", "dz", "ee", "ie", "kr", "kw", "lu", "na", "ng", "se", "tw"]
)
# Codes of ISO 639 for texts in several languages, in no language, or in a language without a code.
_NO_LANGUAGE = frozenset(["mis", "mul", "zxx"])
# Names in the prompts of translation models that differ from those of `langcodes`.
_NAMES = {"bn": "Bengali", "mi": "Maori"}


def clean_english(text: str) -> str:
    """Return an English caption as the published system reads it.

    Every character but letters and digits becomes a space. The result has lower case, single spaces, a
    capital first letter and a full stop at the end. A caption that becomes empty stays empty.
    """
    words = " ".join(_NOT_ENGLISH.sub(" ", text).lower().split())
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _keep(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class LanguageProfile:
    """The treatment of the captions of a language by files and models.

    Attributes:
        code: The ISO 639 code.
        tag: The tag in the ids of captions that people wrote: `<video>#<tag>#<number>`.
        suffix: The suffix of the files of captions that people wrote: `<collection><split><suffix>`.
        clean: Returns a caption as the models read it.
        letter: Matches a character that cleaning keeps; None if cleaning keeps all.
    """

    code: str
    tag: str
    suffix: str
    clean: Callable[[str], str] = _keep
    letter: re.Pattern[str] | None = None

    def is_blank(self, text: str) -> bool:
        """Return whether cleaning leaves nothing of a caption."""
        return self.letter is not None and not self.letter.search(text)

    def keeps_letters(self, text: str) -> bool:
        """Return whether cleaning keeps all letters of a text."""
        return self.letter is None or all(map(self.letter.match, filter(str.isalpha, text)))


_PROFILES = {"en": LanguageProfile("en", "enc", "", clean_english, _ENGLISH_LETTER)}


@lru_cache(maxsize=1024)
def language_profile(code: str) -> LanguageProfile:
    """Return the profile of a language; a language without special rules has its code as its tag."""
    return _PROFILES.get(code) or LanguageProfile(code, code, f"_{code}")


def language_of_tag(tag: str) -> str:
    """Return the language of a caption's tag.

    `enc` is English (`en`). `<a>2<b>` is a machine translation from a to b, hence in b (`enc2zh` → `zh`,
    `zhc2en` → `en`). Every other tag is a language code; a trailing `c` (`zhc`) is the published mark of a
    human caption.
    """
    language = tag.rpartition("2")[2]
    return language[:-1] if len(language) == 3 and language.endswith("c") else language


def language_of_suffix(suffix: str) -> str:
    """Return the language of the suffix of a caption file that people wrote: `_zh` is Chinese."""
    return next(
        (profile.code for profile in _PROFILES.values() if profile.suffix == suffix),
        language_of_tag(suffix[1:]),
    )


def translation_tag(source: str, target: str) -> str:
    """Return the tag of machine translations: `enc2zh`; the `c` marks captions that people wrote."""
    return f"{source}c2{target}"


def language_sort_key(code: str) -> tuple[bool, str]:
    """Return a key that sorts languages by code, English first."""
    return language_profile(code).suffix != "", code


def sorted_languages(codes: Iterable[str]) -> list[str]:
    """Return languages without repetitions, sorted by code, English first."""
    return sorted(set(codes), key=language_sort_key)


class UnknownLanguageError(InvalidValueError):
    """A word is neither the code nor the name of a language."""


@lru_cache(maxsize=1024)  # bounded, as requests give names too
def language_code(name: str) -> str:
    """Return the code of a language, given any code or name of the language.

    `en`, `eng`, `English`, `en-US` and `en_XX` are the same language. Scripts and regions do not count:
    `zh-Hant` and `Traditional Chinese` are `zh`. The code of a country stands for its language if no language
    has this code (`jp`).

    Raises:
        UnknownLanguageError: If the name is neither a code nor a name of a language.
        InvalidValueError: If the code may mean a language or another country's language (`kr`).
    """
    word = " ".join(name.split()).lower()
    first = re.split("[-_]", word)[0]
    code = _ALIASES.get(first) or (
        _of_code(first, name) if re.fullmatch("[a-z]{2,3}", first) else _of_name(word)
    )
    code = _ALIASES.get(code, code)
    if code in _AMBIGUOUS:
        code = three_letter_code(code)
    # A tag `abc` would be read as `ab` (see `language_of_tag`).
    if not code or language_of_tag(code) != code:
        raise UnknownLanguageError(
            f"'{name:.40}' is no language: give its ISO 639 code, such as en, zh or de"
        )
    return code


def language_among(known: Container[str], name: str) -> str:
    """Return the code of a language; a code in `known` means itself, even if it is a country's too (`br`).

    Raises:
        InvalidValueError: If the name means no language; see `language_code`.
    """
    return name if name in known else language_code(name)


def language_name(code: str) -> str | None:
    """Return the English name of a language; None if the code is unknown."""
    from langcodes import Language  # noqa: PLC0415

    language = Language.get(code, normalize=code not in _ALIASES)
    name = _NAMES.get(code) or language.language_name()
    return None if name.startswith("Unknown") else name


def three_letter_code(code: str) -> str:
    """Return the ISO 639-2/T code of a language; the given code if there is no such code."""
    from langcodes import Language  # noqa: PLC0415

    try:
        return Language.get(code, normalize=False).to_alpha3()
    except LookupError:
        return code


def _of_code(code: str, name: str) -> str:
    """Return the shortest code of a language, given a code of two or three letters; empty if unknown."""
    from langcodes import Language  # noqa: PLC0415

    language, country = Language.get(code), Language.make(territory=code.upper())
    is_country = country.is_valid() and not country.territory_name().startswith("Unknown")
    if code in _AMBIGUOUS:
        names = language.language_name(), country.territory_name()
        spoken = country.maximize()
        raise InvalidValueError(
            f"'{name}' is the code of {names[0]} and of {names[1]}: write '{three_letter_code(code)}' for "
            f"{names[0]}, '{spoken.language}' for {spoken.language_name()}, or another language's code"
        )
    if language.language and language.language not in _NO_LANGUAGE and language.is_valid():
        return language.language
    if len(code) == 2 and is_country:
        raise InvalidValueError(
            f"'{name}' is the code of a country, {country.territory_name()}, not of a language: write the "
            "language's name or its ISO 639 code"
        )
    return ""


def _of_name(name: str) -> str:
    """Return the code of a language, given its name in English or in the language; empty if unknown."""
    from langcodes import find  # noqa: PLC0415

    if "\0" in name:  # the tables of `langcodes` end texts there
        return ""
    if len(name) > 3 or not name.isascii():  # nearly any three letters are the name of some language
        for words in (name, *re.split("[-_(,;/]", name)[:1]):
            try:
                return find(words.strip()).language or ""
            except (LookupError, UnicodeError):  # an argument may hold bytes that are not UTF-8
                continue
    return ""


def language_script(code: str) -> tuple[str, str]:
    """Return the ISO 15924 code and the English name of the script that a language is usually written in."""
    from langcodes import Language  # noqa: PLC0415

    language = Language.get(code, normalize=False).maximize()
    return language.script or "Zyyy", language.script_name()
