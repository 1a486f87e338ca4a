"""Which language a query is in, as far as it makes a difference."""

import re

# The order matters: Japanese is written with Han characters too.
_SCRIPTS = [
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\u1100-\u11ff\uac00-\ud7af]")),
    ("zh", re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
]
UNKNOWN = "und"


def guess_language(text: str) -> str:
    """The language of a text, by its script.

    Plain Latin letters are taken for English, the one language that a model reads otherwise (see
    `clean_english`); with accents and the like it is `und`, read as it is written.
    """
    for language, script in _SCRIPTS:
        if script.search(text):
            return language
    letters = "".join(filter(str.isalpha, text))
    return "en" if letters.isascii() else UNKNOWN
