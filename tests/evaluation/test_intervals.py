"""Intervals: those of a bootstrap over whole videos, for any metric, at once or resample by resample."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlcmr.errors import InvalidValueError
from mlcmr.evaluation import resampling
from mlcmr.evaluation.intervals import compute_intervals
from mlcmr.evaluation.metrics import Metric, choose_metrics, metrics_of_ranks, recall_at
from mlcmr.evaluation.ranks import Ranks, RetrievalRanks, compute_ranks
from mlcmr.evaluation.resampling import Resampler

ALL = choose_metrics((1, 3, 10), ("nDCG", "nDCG@2"))


def draw_ranks(owners: np.ndarray, videos: int, seed: int = 0, signal: float = 1) -> RetrievalRanks:
    scores = np.random.default_rng(seed).standard_normal((len(owners), videos))
    return compute_ranks(scores + signal * (owners[:, None] == np.arange(videos)), owners)


def draw_owners(seed: int, captions: int = 60, videos: int = 12) -> np.ndarray:
    """Of 60 captions, some videos have many and others may have none."""
    return np.random.default_rng(seed).integers(0, videos, captions) ** 2 // videos


def repeated(ranks: RetrievalRanks, owners: np.ndarray, counts: np.ndarray) -> RetrievalRanks:
    """The ranks of a resample, built query by query."""
    captions = [caption for caption, owner in enumerate(owners) for _ in range(int(counts[owner]))]
    videos = [video for video, count in enumerate(counts) for _ in range(int(count))]

    def lists(direction: Ranks, queries: list[int]) -> Ranks:
        found = [direction.values[direction.queries == query].tolist() for query in queries]
        return Ranks.from_lists(found, direction.candidates)

    return RetrievalRanks(lists(ranks.t2v, captions), lists(ranks.v2t, videos))


@pytest.mark.parametrize("seed", range(3))
def test_a_resample_has_the_metrics_of_its_queries(seed, monkeypatch):
    """All built-in metrics, at once, against the metrics of the ranks of the drawn videos and captions."""
    monkeypatch.setattr(resampling, "_GROUP", 3)  # medians in several groups
    owners = draw_owners(seed)
    ranks = draw_ranks(owners, 12, seed)
    resampler = Resampler(ranks, owners, ALL)
    (counts,) = resampler.draw(20, seed)
    assert (counts.sum(axis=1) == 12).all()
    found = resampler(counts)
    for row, drawn in enumerate(counts):
        expected = metrics_of_ranks(repeated(ranks, owners, drawn), ALL)
        assert {name: values[row] for name, values in found.t2v.items()} == pytest.approx(expected.t2v)
        assert {name: values[row] for name, values in found.v2t.items()} == pytest.approx(expected.v2t)
        assert found.sum_recalls[row] == pytest.approx(expected.sum_recalls)
    assert list(found.t2v) == list(found.v2t) == list(expected.t2v)


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_an_own_metric_is_called_on_resampled_ranks(seed, captions, videos):
    """A metric that only the function knows equals the same metric with values per query."""
    owners = np.random.default_rng(seed).integers(0, videos, captions)
    ranks = draw_ranks(owners, videos, seed)
    slow = [metric.compute for metric in ALL]
    at_once, called = (compute_intervals(ranks, owners, metrics, resamples=15) for metrics in (ALL, slow))
    for direction in ("t2v", "v2t"):
        expected = {name: pytest.approx(one) for name, one in getattr(at_once, direction).items()}
        assert getattr(called, direction) == expected


def test_intervals_agree_with_scipy():
    """Of one caption per video, where a bootstrap over videos is a bootstrap over queries."""
    owners = np.arange(150)
    ranks = draw_ranks(owners, 150, signal=2)
    found = compute_intervals(ranks, owners, resamples=4000)
    for name, statistic in {
        "R@5": lambda best, axis: 100 * np.mean(best <= 5, axis=axis),
        "MnR": np.mean,
        "MedR": np.median,
        "mAP": lambda best, axis: 100 * np.mean(1 / best, axis=axis),
    }.items():
        referee = stats.bootstrap((ranks.t2v.best,), statistic, n_resamples=4000, method="percentile", rng=1)
        expected = referee.confidence_interval
        width = expected.high - expected.low
        assert found.t2v[name] == pytest.approx((expected.low, expected.high), abs=0.1 * width), name


def test_captions_of_a_video_are_drawn_together():
    """Ten equal captions of each video tell no more than one; as independent queries they would."""
    videos = 200
    once = draw_ranks(np.arange(videos), videos, signal=2)
    tenfold = RetrievalRanks(once.t2v.take(np.repeat(np.arange(videos), 10)), once.v2t)
    alone = compute_intervals(once, np.arange(videos))
    together = compute_intervals(tenfold, np.repeat(np.arange(videos), 10))
    assert {name: pytest.approx(one) for name, one in together.t2v.items()} == alone.t2v


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_intervals_contain_the_figures(seed):
    owners = draw_owners(seed)
    ranks = draw_ranks(owners, 12, seed)
    figures, intervals = metrics_of_ranks(ranks, ALL), compute_intervals(ranks, owners, ALL, resamples=200)
    for direction in ("t2v", "v2t"):
        for name, (low, high) in getattr(intervals, direction).items():
            assert low - 1e-9 <= getattr(figures, direction)[name] <= high + 1e-9, name
    assert intervals.sum_recalls.low <= figures.sum_recalls <= intervals.sum_recalls.high
    half = (intervals.t2v["R@1"].high - intervals.t2v["R@1"].low) / 2
    assert intervals.half_widths.t2v["R@1"] == pytest.approx(half)


def test_intervals_cover_the_truth():
    """Videos differ in difficulty, so that queries depend on each other: 95 % of intervals hold R@1."""
    draw, videos, per_video, covered = np.random.default_rng(0), 100, 5, 0
    owners = np.repeat(np.arange(videos), per_video)
    for _ in range(200):
        easy = draw.beta(0.5, 0.5, videos)  # the probability that a caption of the video is found; mean 50 %
        best = np.where(draw.random(len(owners)) < easy[owners], 1, 2)
        t2v = Ranks(best, np.ones(len(owners), np.int64), videos)
        v2t = Ranks(np.ones(len(owners), np.int64), np.full(videos, per_video), len(owners))
        low, high = compute_intervals(RetrievalRanks(t2v, v2t), owners, resamples=300).t2v["R@1"]
        covered += low <= 50 <= high
    assert 0.90 < covered / 200 < 0.99


def test_intervals_depend_on_the_seed_alone(monkeypatch):
    owners = draw_owners(1)
    ranks = draw_ranks(owners, 12)
    whole = compute_intervals(ranks, owners, seed=3)
    assert compute_intervals(ranks, owners, seed=4) != whole
    monkeypatch.setattr(resampling, "_BLOCK", 100)
    assert compute_intervals(ranks, owners, seed=3) == whole


def test_resamples_without_captions_are_left_out():
    """One video of three has captions: 8 of 27 resamples have none, and so no text-to-video metrics."""
    owners = np.zeros(4, int)
    intervals = compute_intervals(draw_ranks(owners, 3), owners, ALL)
    assert all(np.isfinite(one).all() for one in intervals.t2v.values())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"resamples": 0}, "`resamples` is 0, but must be a whole number from 1"),
        ({"resamples": 2.5}, "`resamples` is 2.5"),
        ({"confidence": 95}, "`confidence` is 95, but must be above 0 and below 1"),
        ({"metrics": [recall_at, recall_at]}, "two metrics have the name R@1"),
        ({"video_of_caption": [0]}, "`video_of_caption` has 1 entries"),
    ],
)
def test_bad_input(arguments, part):
    owners = np.arange(4)
    ranks = draw_ranks(owners, 4, signal=9)
    with pytest.raises(InvalidValueError, match=re.escape(part)):
        compute_intervals(**{"ranks": ranks, "video_of_caption": owners} | arguments)


def test_a_metric_that_is_not_finite_for_a_resample():
    owners = np.arange(4)
    spread = Metric(lambda ranks: {"spread": float(ranks.best.max() - ranks.best.min() or "nan")})
    with pytest.raises(InvalidValueError, match="spread is nan, not a finite number"):
        compute_intervals(draw_ranks(owners, 4, seed=2, signal=0), owners, [spread])
