"""The languages of a step: each as often as the others, and a function of seed, epoch and step."""

from collections import Counter
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.data.language_sampling import LanguageSampler

LANGUAGES = ("en", "zh", "de", "es", "fr")


@given(count=st.integers(1, 5), data=st.data(), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 100))
def test_each_language_is_drawn_equally_often(count, data, seed, epoch):
    """Exactly so after every `count` steps."""
    per_step = data.draw(st.integers(1, count))
    sampler = LanguageSampler(LANGUAGES[:count], per_step, seed)
    steps = [sampler(epoch, step) for step in range(3 * count)]
    assert all(len(set(step)) == len(step) == per_step for step in steps)
    assert all(list(step) == sorted(step, key=LANGUAGES.index) for step in steps)
    assert Counter(chain.from_iterable(steps)) == dict.fromkeys(LANGUAGES[:count], 3 * per_step)


def test_it_depends_on_seed_epoch_and_step_alone():
    draws = {}
    for seed in range(3):
        for epoch in range(3):
            steps = [LanguageSampler(LANGUAGES, 2, seed)(epoch, step) for step in range(20)]
            again = LanguageSampler(LANGUAGES, 2, seed)
            assert steps == [again(epoch, step) for step in reversed(range(20))][::-1]
            draws[seed, epoch] = tuple(steps)
    assert len(set(draws.values())) == 9


@pytest.mark.parametrize("per_step", [2, 3])
def test_each_pair_of_languages_meets_equally_often(per_step):
    """A chi-square test over the 10 pairs of the first step of 4,000 epochs."""
    sampler = LanguageSampler(LANGUAGES, per_step, seed=1)
    pairs = Counter(pair for epoch in range(4000) for pair in combinations(sampler(epoch, 0), 2))
    expected = 4000 * per_step * (per_step - 1) / 20
    assert len(pairs) == 10
    assert sum((count - expected) ** 2 / expected for count in pairs.values()) < 27.9
