"""The schedule is the published one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.training.config import OptimizerConfig
from mlcmr.training.schedule import Schedule

SCORES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=40)


@given(scores=SCORES)
def test_schedule_is_the_published_one(scores):
    """Against the rules in words, from the whole history instead of counters."""
    config = OptimizerConfig()
    schedule = Schedule(config, config.learning_rate)
    used = 0  # epochs since the rate was last halved
    for epoch, score in enumerate(scores):
        if schedule.stop:
            break
        rate = schedule.learning_rate
        is_best = all(score > earlier for earlier in scores[:epoch])
        used += 1
        assert schedule.epoch_done(score) == is_best
        since_best = epoch - max(e for e in range(epoch + 1) if all(scores[e] > s for s in scores[:e]))
        assert schedule.stop == (since_best > 10)
        if not is_best and used >= 3 and not schedule.stop:
            assert schedule.learning_rate == pytest.approx(rate * 0.99 / 2)
            used = 0
        else:
            assert schedule.learning_rate == pytest.approx(rate * 0.99)
        assert schedule.best == max(scores[: epoch + 1])


def test_a_better_score_resets_the_patience():
    schedule = Schedule(replace(OptimizerConfig(), patience=1), 1.0)
    assert [schedule.epoch_done(score) for score in (1, 1, 2, 2, 2)] == [True, False, True, False, False]
    assert schedule.stop
