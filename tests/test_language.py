"""Which language a query is in."""

import pytest

from mlcmr.search.language import guess_language


@pytest.mark.parametrize(
    ("text", "language"),
    [("a dog", "en"), ("A dog's 2nd “run” – 100 %", "en"), ("", "en"), ("größer", "und"), ("一只狗", "zh"),
     ("iPhone 手机", "zh"), ("犬が走る", "ja"), ("개가 달린다", "ko"), ("собака", "ru"),
     ("كلب", "ar"), ("कुत्ता", "hi"), ("สุนัข", "th"), ("σκύλος", "el"), ("כלב", "he")],
)  # fmt: skip
def test_languages(text, language):
    assert guess_language(text) == language
