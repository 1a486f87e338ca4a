"""The losses as classes of their own."""

import pytest

from mlcmr.errors import InvalidValueError
from mlcmr.losses import InfoNCE, TripletRanking


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TripletRanking(negatives="foo"), "negatives is 'foo', but must be hardest or all"),
        (lambda: TripletRanking(direction="foo"), "direction is 'foo', but must be both or t2v or v2t"),
        (lambda: TripletRanking(reduction="max"), "reduction is 'max', but must be sum or mean"),
        (lambda: TripletRanking(similarity="x"), "similarity is 'x', but must be cosine or "),
        (lambda: TripletRanking(margin="x"), "margin is 'x', but must be a number"),
        (lambda: InfoNCE(0), "temperature is 0, but must be above 0"),
        (lambda: InfoNCE(float("nan")), "temperature is nan, but must be above 0"),
    ],
)
def test_arguments_without_a_meaning_are_refused(build, message):
    with pytest.raises(InvalidValueError, match=message):
        build()
