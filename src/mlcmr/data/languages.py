"""Languages by their ISO 639 codes: what people call them, and what they mean by other names."""

import re
from functools import cache

from mlcmr.data.captions import language_of_tag
from mlcmr.errors import UserError

LANGUAGES: dict[str, tuple[str, str]] = {
    "af": ("Afrikaans", "afr"), "am": ("Amharic", "amh"), "ar": ("Arabic", "ara"),
    "az": ("Azerbaijani", "aze"), "be": ("Belarusian", "bel"), "bg": ("Bulgarian", "bul"),
    "bn": ("Bengali", "ben"), "bo": ("Tibetan", "bod"), "bs": ("Bosnian", "bos"),
    "ca": ("Catalan", "cat"), "cs": ("Czech", "ces"), "cy": ("Welsh", "cym"), "da": ("Danish", "dan"),
    "de": ("German", "deu"), "el": ("Greek", "ell"), "en": ("English", "eng"), "eo": ("Esperanto", "epo"),
    "es": ("Spanish", "spa"), "et": ("Estonian", "est"), "eu": ("Basque", "eus"),
    "fa": ("Persian", "fas"), "fi": ("Finnish", "fin"), "fr": ("French", "fra"), "ga": ("Irish", "gle"),
    "gl": ("Galician", "glg"), "gu": ("Gujarati", "guj"), "ha": ("Hausa", "hau"), "he": ("Hebrew", "heb"),
    "hi": ("Hindi", "hin"), "hr": ("Croatian", "hrv"), "hu": ("Hungarian", "hun"),
    "hy": ("Armenian", "hye"), "id": ("Indonesian", "ind"), "ig": ("Igbo", "ibo"),
    "is": ("Icelandic", "isl"), "it": ("Italian", "ita"), "ja": ("Japanese", "jpn"),
    "jv": ("Javanese", "jav"), "ka": ("Georgian", "kat"), "kk": ("Kazakh", "kaz"), "km": ("Khmer", "khm"),
    "kn": ("Kannada", "kan"), "ko": ("Korean", "kor"), "ku": ("Kurdish", "kur"), "ky": ("Kyrgyz", "kir"),
    "lo": ("Lao", "lao"), "lt": ("Lithuanian", "lit"), "lv": ("Latvian", "lav"),
    "mg": ("Malagasy", "mlg"), "mi": ("Maori", "mri"), "mk": ("Macedonian", "mkd"),
    "ml": ("Malayalam", "mal"), "mn": ("Mongolian", "mon"), "mr": ("Marathi", "mar"),
    "ms": ("Malay", "msa"), "mt": ("Maltese", "mlt"), "my": ("Burmese", "mya"), "ne": ("Nepali", "nep"),
    "nl": ("Dutch", "nld"), "no": ("Norwegian", "nor"), "or": ("Odia", "ori"), "pa": ("Punjabi", "pan"),
    "pl": ("Polish", "pol"), "ps": ("Pashto", "pus"), "pt": ("Portuguese", "por"),
    "ro": ("Romanian", "ron"), "ru": ("Russian", "rus"), "sd": ("Sindhi", "snd"),
    "si": ("Sinhala", "sin"), "sk": ("Slovak", "slk"), "sl": ("Slovenian", "slv"),
    "so": ("Somali", "som"), "sq": ("Albanian", "sqi"), "sr": ("Serbian", "srp"),
    "su": ("Sundanese", "sun"), "sv": ("Swedish", "swe"), "sw": ("Swahili", "swa"),
    "ta": ("Tamil", "tam"), "te": ("Telugu", "tel"), "tg": ("Tajik", "tgk"), "th": ("Thai", "tha"),
    "tl": ("Tagalog", "tgl"), "tr": ("Turkish", "tur"), "uk": ("Ukrainian", "ukr"), "ur": ("Urdu", "urd"),
    "uz": ("Uzbek", "uzb"), "vi": ("Vietnamese", "vie"), "xh": ("Xhosa", "xho"), "yi": ("Yiddish", "yid"),
    "yo": ("Yoruba", "yor"), "yue": ("Cantonese", "yue"), "zh": ("Chinese", "zho"), "zu": ("Zulu", "zul"),
}  # fmt: skip
"""Two-letter code (three where there is no shorter one) → English name, three-letter code."""

_ALIASES = {three: code for code, (_, three) in LANGUAGES.items()}
_ALIASES |= {name.lower(): code for code, (name, _) in LANGUAGES.items()}
_ALIASES |= {"cmn": "zh", "mandarin": "zh", "farsi": "fa", "castilian": "es"}
# The other three-letter codes of the twenty languages that have two (ISO 639-2/B), as libraries write them.
_ALIASES |= {
    "alb": "sq", "arm": "hy", "baq": "eu", "bur": "my", "chi": "zh", "cze": "cs", "dut": "nl", "fre": "fr",
    "geo": "ka", "ger": "de", "gre": "el", "ice": "is", "mac": "mk", "mao": "mi", "may": "ms", "per": "fa",
    "rum": "ro", "slo": "sk", "tib": "bo", "wel": "cy",
}  # fmt: skip
# Codes that ISO 639 gave up for others.
_ALIASES |= {"in": "id", "iw": "he", "ji": "yi", "jw": "jv", "mo": "ro"}
# Countries that often stand where their language should, and are no codes of other languages.
_ALIASES |= {"cn": "zh", "jp": "ja", "dk": "da", "gr": "el", "cz": "cs", "ua": "uk"}


@cache
def language_code(name: str) -> str:
    """The code by which files and settings call a language.

    `en`, `eng`, `English`, `en-US` and `en_XX` are one. Scripts and regions are not told apart: `zh-Hant` is
    `zh`. Other codes of two or three letters are taken as they are.

    Raises:
        UserError: it is neither a code nor a name that is known.
    """
    word = re.split("[-_]", name.strip().lower())[0]
    code = word if word in LANGUAGES else _ALIASES.get(word, word)
    # A tag `abc` would be read as `ab` (see `language_of_tag`).
    if not re.fullmatch("[a-z]{2,3}", code) or language_of_tag(code) != code:
        raise UserError(f"'{name}' is no language: give its ISO 639 code, such as en, zh or de")
    return code
