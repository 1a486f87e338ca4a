"""Languages are known by codes and by names; codes of countries never pass for codes of languages."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.data.languages import (
    UnknownLanguageError,
    language_code,
    language_name,
    language_of_suffix,
    language_of_tag,
    language_profile,
    sorted_languages,
    three_letter_code,
)
from mlcmr.errors import InvalidValueError

# The codes that collections of earlier versions have.
CODES = (
    "af am ar az be bg bn bo bs ca cs cy da de el en eo es et eu fa fi fr ga gl gu ha he hi hr hu hy id ig is"
    " it ja jv ka kk km kn ko ku ky lo lt lv mg mi mk ml mn mr ms mt my ne nl no or pa pl ps pt ro ru sd si"
    " sk sl so sq sr su sv sw ta te tg th tl tr uk ur uz vi xh yi yo yue zh zu hsb nb fil und quz pes arb"
)
OTHER_WORDS = {
    "zh": "cmn_Hans; cmn; cn; chi; Mandarin; Mandarin Chinese; Simplified Chinese; chinese_traditional; 中文;"
    "Chinese (Simplified); Chinese, Mandarin; Chinese - Traditional; zh-Hant-TW",
    "nl": "Flemish; dut; Dutch, Flemish",
    "fil": "Filipino",
    "tl": "Tagalog; tgl",
    "sl": "Slovene; slv",
    "nb": "Bokmål; Bokmal; Norwegian Bokmål; Norwegian (Bokmål); nob",
    "nn": "Norwegian Nynorsk; Nynorsk",
    "pt": "Brazilian Portuguese; Portuguese - Brazil; Portuguese (Brazil); pt_BR",
    "fa": "Farsi; Persian; per",
    "yue": "Cantonese",
    "es": "Castilian; Latin American Spanish; sp",
    "en": "English (auto-generated); American English; us; gb; usa; en_XX; en-US",
    "de": "Deutsch; Swiss High German; ger",
    "sh": "Serbo-Croatian",
    "id": "Bahasa Indonesia; in; ind",
    "or": "Oriya; Odia",
    "bn": "Bangla; Bengali",
    "my": "Myanmar; Burmese; bur",
    "bre": "Breton; bre",
    "tlh": "Klingon",
    "vi": "vn",
    "ja": "jp; jap; jpn",
    "da": "dk",
    "cs": "cz; cze",
    "uk": "ua",
    "el": "gr; gre; Modern Greek",
    # The other three-letter codes (ISO 639-2/B), and codes that ISO 639 gave up.
    "sq": "alb",
    "hy": "arm",
    "eu": "baq",
    "fr": "fre",
    "ka": "geo",
    "is": "ice",
    "mk": "mac",
    "mi": "mao",
    "ms": "may",
    "ro": "rum; mo",
    "sk": "slo",
    "bo": "tib",
    "cy": "wel",
    "he": "iw",
    "yi": "ji",
    "jv": "jw",
}


@pytest.mark.parametrize("code", CODES.split())
def test_a_language_by_its_code_its_three_letters_and_its_name(code):
    words = {
        code,
        code.upper(),
        f"{code}-XX",
        f"{code}_Latn",
        three_letter_code(code),
        language_name(code) or code,
    }
    assert {word: language_code(word) for word in words} == dict.fromkeys(words, code)


@pytest.mark.parametrize("code", OTHER_WORDS)
def test_a_language_by_the_other_words_for_it(code):
    for word in OTHER_WORDS[code].split(";"):
        assert language_code(word) == language_code(f"\u00a0{word.upper()} ") == code
    assert language_code(code) == code  # files and settings can be read again


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("kr", "'kr' is the code of Kanuri and of South Korea: write 'kau' for Kanuri, 'ko' for Korean"),
        ("br", "Breton and of Brazil: write 'bre' for Breton, 'pt' for Portuguese"),
        ("tw", "Twi and of Taiwan: write 'twi' for Twi, 'zh' for Chinese"),
        ("se", "'sv' for Swedish"),
        ("by", "'by' is the code of a country, Belarus, not of a language"),
        ("mx", "Mexico"),
    ],
)
def test_codes_of_countries_are_no_languages(word, message):
    with pytest.raises(InvalidValueError, match=message):
        language_code(word)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "e",
        "en#",
        "Engl\0sh",
        "C\0e\0e",
        "\ud83dnglish",
        "elvish",
        "src",
        "a2b",
        "xx",
        "zz",
        "mul",
        "Other",
        "unknown",
    ],
)
def test_words_that_are_no_languages(word):  # a tag `src` would be read as `sr`
    with pytest.raises(UnknownLanguageError, match="is no language"):
        language_code(word)


def test_the_tables_of_languages_are_opened_when_they_are_needed():
    script = "import sys, mlcmr.data.prepare, mlcmr.cli; print('langcodes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# Tags and suffixes of languages


@given(st.sampled_from(["en", "zh", "de", "es", "fil"]))
def test_tag_and_suffix_name_their_language(code):
    profile = language_profile(code)
    assert language_of_tag(profile.tag) == language_of_suffix(profile.suffix) == code


@given(st.text())
def test_cleaning_leaves_nothing_of_blank_captions_only(text):
    english = language_profile("en")
    assert english.is_blank(text) == (not english.clean(text))
    assert language_profile("zh").clean(text) == text


def test_english_comes_first():
    assert sorted_languages(["zh", "de", "en", "de"]) == ["en", "de", "zh"]
