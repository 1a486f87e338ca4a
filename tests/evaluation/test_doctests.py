"""Examples in docstrings are true."""

import doctest

import pytest

import mlcmr.evaluation.intervals
import mlcmr.evaluation.metrics
import mlcmr.evaluation.ranks
import mlcmr.metrics


@pytest.mark.parametrize(
    "module",
    [mlcmr.evaluation.intervals, mlcmr.evaluation.metrics, mlcmr.evaluation.ranks, mlcmr.metrics],
)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
