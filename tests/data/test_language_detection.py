"""The language of a query is guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlcmr
from mlcmr.data.language_detection import UNKNOWN, guess_language
from mlcmr.search import Searcher
from mlcmr.training import train
from tests.helpers.tiny import tiny_config, write_collection


@pytest.mark.parametrize(
    ("text", "language"),
    [("a dog", "en"), ("A dog's 2nd “run” – 100 %", "en"), ("", "en"), ("größer", "und"), ("一只狗", "zh"),
     ("iPhone 手机", "zh"), ("犬が走る", "ja"), ("개가 달린다", "ko"), ("собака", "ru"),
     ("كلب", "ar"), ("कुत्ता", "hi"), ("สุนัข", "th"), ("σκύλος", "el"), ("כלב", "he")],
)  # fmt: skip
def test_by_script_where_the_model_does_not_say(text, language):
    assert guess_language(text) == language


@pytest.mark.parametrize(
    ("text", "trained", "language"),
    [
        ("ein roter Kreis", ["de"], "de"),  # plain letters are no proof of English
        ("ein roter Kreis", ["en", "de"], "de"),
        ("Hund", ["de", "zh"], "de"),
        ("ein Kreis", ["zh"], UNKNOWN),  # not English: nothing is cleaned
        ("a red circle", ["en", "de"], "en"),
        ("a red circle", ["de", "en", "zh"], "en"),
        ("un cane corre", ["en", "it"], "it"),
        ("a café", ["en", "zh"], UNKNOWN),  # cleaning would take the é away
        ("東京 料理", ["en", "ja"], "ja"),  # kanji only
        ("一只狗在跑", ["ja", "zh"], "zh"),
        ("собака біжить", ["ru", "uk"], "uk"),
        ("собака бежит", ["uk", "ru"], "ru"),
        ("собака", ["uk"], "uk"),
        ("سگ می‌دود", ["en", "fa"], "fa"),
        ("कुत्रा धावतो", ["mr"], "mr"),
        ("কুকুর", ["bn"], "bn"),
        ("red iPhone 手机", ["en", "zh"], "zh"),
        ("собака", ["en", "zh"], UNKNOWN),
        ("优の良品的狗", ["en", "zh"], "zh"),  # the name of a brand
        ("犬", ["en", "de"], UNKNOWN),
        ("42", ["de"], "de"),
        ("🙂", ["de", "zh"], UNKNOWN),
        ("tumatakbo ang aso sa parke kasama ang bata", ["en", "fil"], "fil"),  # as py3langid knows it: tl
        ("tumatakbo ang aso sa parke kasama ang bata", ["en", "tl"], "tl"),
        ("the dog runs in the park with the child", ["en", "fil"], "en"),
        ("hunden løper gjennom parken sammen med barnet", ["en", "nb"], "nb"),
        ("hunden løper gjennom parken sammen med barnet", ["nb", "no", "en"], "no"),
        ("一只狗在公园里跑", ["yue", "zh"], "zh"),
        # py3langid does not know Cebuano and Upper Sorbian.
        ("ang iro nagdagan sa parke", ["ceb", "en"], "en"),
        ("ang iro nagdagan sa parke", ["ceb"], "ceb"),
        ("ang iro nagdagan sa parke", ["ceb", "hsb"], "ceb"),
    ],
)
def test_among_the_languages_of_the_model(text, trained, language):
    assert guess_language(text, trained) == language


@given(
    st.text(max_size=40), st.lists(st.sampled_from(["en", "de", "it", "zh", "ja", "ru", "yue"]), max_size=4)
)
def test_english_is_guessed_only_where_the_model_knows_it(text, trained):
    guessed = guess_language(text, trained)
    if trained:
        assert guessed in {*trained, UNKNOWN}
    if trained and guessed == "en":
        assert all(letter.isascii() for letter in text if letter.isalpha())
    assert guess_language(text, trained) == guessed


def test_a_german_model_reads_german_as_it_was_trained(tmp_path):
    """Cleaned as English, `Straße` was read as `Stra e` in training's stead, and `Hund.` as `Hund`."""
    folder = write_collection(tmp_path)
    for path in (folder / "TextData").glob("*_zh.caption.txt"):
        german = path.read_text().replace("#zh#", "#de#").replace("一只狗", "ein Hund, der")
        path.with_name(path.name.replace("_zh", "_de")).write_text(german)
    run = train(tiny_config(tmp_path, tmp_path / "run", languages=["de"], epochs=1)).folder
    mlcmr.index(folder, tmp_path / "index", run=run)
    searcher = Searcher(tmp_path / "index")
    assert searcher.language_of("ein Hund, der rennt") == "de"
    text = "ein Hund, der #rennt"
    assert searcher.search(text) == searcher.search(text, language="de")
    assert searcher.search(text) != searcher.search(text, language="en")
