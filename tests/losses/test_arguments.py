"""The losses as classes of their own."""

import re

import pytest

from mlcmr.errors import InvalidValueError
from mlcmr.losses import InfoNCE, Sigmoid, Softmax, TripletRanking


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TripletRanking(negatives="foo"), "negatives is 'foo', but must be hardest or all"),
        (lambda: TripletRanking(direction="foo"), "direction is 'foo', but must be both or t2v or v2t"),
        (lambda: TripletRanking(reduction="max"), "reduction is 'max', but must be sum or mean"),
        (lambda: TripletRanking(similarity="x"), "similarity is 'x', but must be cosine or "),
        (lambda: TripletRanking(margin="x"), "margin is 'x', but must be a number"),
        (lambda: InfoNCE(0), "temperature is 0, but must be above 0"),
        (lambda: InfoNCE(float("nan")), "temperature is nan, but must be a finite number"),
        (lambda: InfoNCE("x"), "temperature is 'x', but must be a number"),
        (lambda: Softmax(0), "temperature is 0, but must be above 0"),
        (lambda: Softmax(views=-1), "views is -1, but must be at least 0"),
        (lambda: Softmax(cross_lingual="x"), "cross_lingual is 'x', but must be a number"),
        (lambda: Sigmoid(scale=0), "scale is 0, but must be above 0"),
        (lambda: Sigmoid(bias="x"), "bias is 'x', but must be a number"),
        (lambda: TripletRanking(margin=-1), "margin is -1, but must be at least 0"),
        (lambda: TripletRanking(similarity=["cosine"]), "similarity is ['cosine'], but must be cosine or"),
    ],
)
def test_arguments_without_a_meaning_are_refused(build, message):
    with pytest.raises(InvalidValueError, match=rf"^{re.escape(message)}"):
        build()
