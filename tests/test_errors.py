"""Errors: one line each, and the same after a process has sent them to another."""

import pickle

import pytest

from mlcmr import errors
from mlcmr.errors import MlcmrError, reason

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MlcmrError)]


SENTENCE = "The class of the model, which has a long name, is unknown in this version of the library."


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", ["a: no such file", "long " * 1000, ""], ids=["short", "cut", "none"])
def test_another_process_gets_the_same_error(kind, message):
    error = kind(message, path="a", line=3, parameter="b")
    received = pickle.loads(pickle.dumps(error))
    assert type(received) is kind
    assert str(received) == str(error)
    assert (received.path, received.line, received.parameter) == ("a", 3, "b")


def test_a_message_is_one_line():
    assert str(MlcmrError(" a\n b\r\n\n c")) == "a b c"
    assert len(str(MlcmrError("x" * 10_000))) == 2000


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("short", "short"),
        ("", "ValueError"),
        (f"{SENTENCE} One of {'name, ' * 99}", f"{SENTENCE} …"),
        ("letters " * 99, "letters " * 37 + "…"),
        ("x" * 999, "x" * 300 + " …"),
    ],
    ids=["short", "none", "sentences", "words", "one word"],
)
def test_a_long_reason_is_cut_after_a_sentence_or_a_word(message, told):
    assert reason(ValueError(message)) == told
