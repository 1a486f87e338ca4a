"""Ranks and metrics: equal to the published ones, honest with ties, the same in blocks as in one."""

import json
import tracemalloc
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, Qrel, ScoredDoc, Success

from mlcmr.errors import UserError
from mlcmr.evaluation.metrics import (
    Ranks,
    chance,
    chance_recalls,
    compute_metrics,
    compute_ranks,
    match_captions,
    top_videos,
)
from mlcmr.evaluation.results import DirectionMetrics, Results, RetrievalMetrics
from mlcmr.evaluation.scores import EmbeddingScores, MatrixScores, embedding_scores

GOLDEN = np.load(Path(__file__).parent / "golden" / "metrics.npz")
WITHOUT_TIES = [
    "A_1to1",
    "B_10to1",
    "C_10to1_shuffled",
    "D_variable",
    "I_video_without_caption",
    "L_even_median",
]
WITH_TIES = ["E_ties_int", "F_ties_f32", "G_constant"]


def golden(case: str) -> tuple[np.ndarray, np.ndarray]:
    """A published case as scores and the captions' videos."""
    of_captions = [name.split("#")[0] for name in GOLDEN[f"{case}/caption_ids"].tolist()]
    return -GOLDEN[f"{case}/errors"], match_captions(of_captions, GOLDEN[f"{case}/video_ids"].tolist())


def as_published(metrics: DirectionMetrics) -> list[float]:
    """In the order of the golden arrays, mAP as a fraction."""
    *others, mean_precision = metrics.to_dict().values()
    return [*others, mean_precision / 100]


def sorted_ranks(scores: np.ndarray, owners: np.ndarray) -> tuple[list[int], list[int], list[float]]:
    """By sorting whole rows and columns: t2v ranks, v2t ranks, v2t average precisions."""
    t2v = [
        np.argsort(-row, kind="stable").tolist().index(owner) + 1
        for row, owner in zip(scores, owners, strict=True)
    ]
    v2t, precisions = [], []
    for video in range(scores.shape[1]):
        hits = np.flatnonzero(owners[np.argsort(-scores[:, video], kind="stable")] == video) + 1
        v2t.append(int(hits[0]) if len(hits) else len(scores) + 1)
        precisions.append(float(np.mean(np.arange(1, len(hits) + 1) / hits)) if len(hits) else 0.0)
    return t2v, v2t, precisions


@pytest.mark.parametrize("case", WITHOUT_TIES)
def test_published_metrics(case):
    ranks = compute_ranks(*golden(case))
    assert ranks.t2v.best.tolist() == GOLDEN[f"{case}/t2v_ranks"].tolist()
    assert ranks.v2t.best.tolist() == GOLDEN[f"{case}/v2t_ranks"].tolist()
    metrics = ranks.metrics()
    np.testing.assert_allclose(as_published(metrics.t2v), GOLDEN[f"{case}/t2v"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(as_published(metrics.v2t), GOLDEN[f"{case}/v2t"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", WITHOUT_TIES + WITH_TIES)
def test_ties_rank_as_in_a_stable_sort(case):
    ranks = compute_ranks(*golden(case))
    for direction in ("t2v", "v2t"):
        best = getattr(ranks, direction).best
        expected = {
            name: GOLDEN[f"{case}/{direction}_ranks_{name}"]
            for name in ("optimistic", "stable", "pessimistic")
        }
        relevant = expected["stable"] > 0  # -1 marks a video without captions
        np.testing.assert_array_equal(best[relevant], expected["stable"][relevant])
        assert np.all(best >= expected["optimistic"])
        assert np.all((best <= expected["pessimistic"]) | ~relevant)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match=r"caption 0 and video 4 .* is nan"):
        compute_metrics(*golden("H_nan"))
    scores, owners = golden("A_1to1")
    scores[41, 7] = -np.inf
    with pytest.raises(UserError, match=r"caption 41 and video 7 .* is -inf"):
        compute_metrics(scores, owners)
    with pytest.raises(UserError, match="caption 0 and video 1"):
        compute_metrics(
            EmbeddingScores(np.ones((2, 3)), np.array([[1, 1, 1], [1, np.nan, 1]])), np.array([0, 1])
        )


def test_a_caption_without_video_is_refused_by_name():
    assert str(GOLDEN["J_caption_without_video/raises"]).startswith("KeyError")
    with pytest.raises(UserError, match="'v9'"):
        golden("J_caption_without_video")


def test_a_video_listed_twice_is_refused_by_name():
    with pytest.raises(UserError, match="'v0' is listed twice"):
        golden("K_duplicate_video_id")


@pytest.mark.parametrize(
    ("scores", "owners"),
    [
        (np.zeros((0, 3)), []),
        (np.zeros((3, 0)), [0, 0, 0]),
        (np.zeros((3, 2)), [0, 1]),
        (np.zeros((2, 2)), [0, 2]),
        (np.zeros((2, 2)), [0, -1]),
        (np.zeros((2, 2)), [0.0, 1.0]),
        (np.zeros(2), [0, 1]),
    ],
)
def test_arrays_that_do_not_fit_are_refused(scores, owners):
    with pytest.raises(UserError):
        compute_metrics(scores, np.array(owners))


def test_embeddings_of_two_spaces_are_refused():
    with pytest.raises(UserError, match=r"\(4, 3\) and videos \(4, 2\)"):
        embedding_scores(np.ones((4, 3)), np.ones((4, 2)))


shapes = st.tuples(st.integers(1, 700), st.integers(1, 40), st.integers(0, 2**32 - 1))


@given(shapes, st.sampled_from([1, 3, 10**6]), st.booleans())
@settings(max_examples=40)
def test_ranks_equal_those_of_whole_sorts(shape, spread, tall):
    captions, videos, seed = shape if tall else (shape[0], min(700, 20 * shape[1]), shape[2])
    draw = np.random.default_rng(seed)
    scores = draw.integers(-spread, spread, (captions, videos), endpoint=True).astype(np.float32)
    owners = draw.integers(0, videos, captions)
    ranks = compute_ranks(scores, owners)
    t2v, v2t, precisions = sorted_ranks(scores, owners)
    assert ranks.t2v.best.tolist() == t2v
    assert ranks.v2t.best.tolist() == v2t
    np.testing.assert_allclose(ranks.t2v.precision, 1 / np.array(t2v))
    np.testing.assert_allclose(ranks.v2t.precision, precisions)


@given(shapes, st.integers(1, 20_000))
@settings(max_examples=40)
def test_blocks_equal_the_whole(shape, block_bytes):
    captions, videos, seed = shape
    draw = np.random.default_rng(seed)
    # Small integers: their products are exact in float32, whatever the order of the sums.
    texts, films = draw.integers(-2, 3, (captions, 4)), draw.integers(-2, 3, (videos, 4))
    owners = draw.integers(0, videos, captions)
    whole = compute_ranks(MatrixScores(texts @ films.T), owners)
    blocks = compute_ranks(EmbeddingScores(texts, films, block_bytes), owners)
    for one, other in ((whole.t2v, blocks.t2v), (whole.v2t, blocks.v2t)):
        np.testing.assert_array_equal(one.best, other.best)
        np.testing.assert_array_equal(one.precision, other.precision)


@given(shapes)
@settings(max_examples=20)
def test_order_of_candidates_does_not_matter_without_ties(shape):
    captions, videos, seed = shape
    draw = np.random.default_rng(seed)
    scores = draw.permutation(captions * videos).reshape(captions, videos).astype(np.float64)
    owners = draw.integers(0, videos, captions)
    ranks = compute_ranks(scores, owners)
    rows, columns = draw.permutation(captions), draw.permutation(videos)
    moved = compute_ranks(scores[rows][:, columns], np.argsort(columns)[owners[rows]])
    np.testing.assert_array_equal(moved.t2v.best, ranks.t2v.best[rows])
    np.testing.assert_array_equal(moved.v2t.best, ranks.v2t.best[columns])
    np.testing.assert_allclose(moved.v2t.precision, ranks.v2t.precision[columns])


def test_perfect_scores():
    owners = np.repeat(np.arange(30), 3)
    metrics = compute_metrics((owners[:, None] == np.arange(30)).astype(np.float32), owners)
    assert metrics.sum_recalls == 600
    for direction in (metrics.t2v, metrics.v2t):
        assert direction.to_dict() == {"R@1": 100, "R@5": 100, "R@10": 100, "MedR": 1, "MnR": 1, "mAP": 100}


@pytest.mark.parametrize("per_video", [1, 2, 10])
@pytest.mark.parametrize("videos", [20, 21])
def test_constant_scores_are_chance(per_video, videos):
    owners = np.repeat(np.arange(videos), per_video)
    constant = compute_metrics(np.full((len(owners), videos), 0.5), owners)
    expected = chance(owners, videos)
    assert constant.t2v.to_dict() == pytest.approx(expected.t2v.to_dict())
    assert constant.v2t.recall_1 == pytest.approx(expected.v2t.recall_1)
    # A video's captions stand together, so that they share their luck: never better than chance.
    assert constant.v2t.recall_5 <= expected.v2t.recall_5 + 1e-9
    assert constant.v2t.recall_10 <= expected.v2t.recall_10 + 1e-9
    if per_video == 1:
        assert constant.v2t.to_dict() == pytest.approx(expected.v2t.to_dict())


def test_chance_is_the_mean_over_random_scores():
    draw = np.random.default_rng(0)
    owners = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 5, 5, 5])  # video 4 has no caption
    expected = chance(owners, 6)
    drawn = [compute_ranks(draw.random((len(owners), 6)), owners) for _ in range(4000)]
    for direction in ("t2v", "v2t"):
        ranks = [getattr(one, direction) for one in drawn]
        every = getattr(expected, direction)
        means = np.mean([list(one.metrics().to_dict().values()) for one in ranks], axis=0)
        np.testing.assert_allclose(
            means[[0, 1, 2, 4, 5]], np.array(list(every.to_dict().values()))[[0, 1, 2, 4, 5]], atol=1
        )
        assert abs(every.median_rank - np.median(np.concatenate([one.best for one in ranks]))) <= 0.5
        curve = np.mean([one.recalls(20) for one in ranks], axis=0)
        np.testing.assert_allclose(chance_recalls(ranks[0].relevant, ranks[0].candidates, 20), curve, atol=1)


def test_a_video_without_captions_is_never_recalled():
    metrics = compute_metrics(np.eye(3)[:2], np.array([0, 1]))
    assert metrics.v2t.recall_10 == pytest.approx(200 / 3)
    assert metrics.v2t.mean_rank == pytest.approx((1 + 1 + 3) / 3)
    assert chance(np.array([0, 1]), 3).v2t.recall_10 == pytest.approx(200 / 3)


def test_recall_curve_contains_the_printed_recalls():
    ranks = compute_ranks(*golden("B_10to1"))
    for one in (ranks.t2v, ranks.v2t):
        curve = one.recalls(100)
        printed = one.metrics()
        assert len(curve) == 100
        assert [curve[0], curve[4], curve[9]] == [printed.recall_1, printed.recall_5, printed.recall_10]
        assert np.all(np.diff(curve) >= 0)
    assert ranks.t2v.recalls(100)[29] == 100


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_ir_measures(seed):
    draw = np.random.default_rng(seed)
    captions, videos = 60, 12
    owners = np.concatenate([np.arange(videos), draw.integers(0, videos, captions - videos)])
    scores = draw.permutation(captions * videos).reshape(captions, videos).astype(np.float64)
    scores[np.arange(captions), owners] += 200.5  # without ties, better than chance
    ours = compute_metrics(scores, owners)
    theirs = {
        "t2v": [
            [(f"c{i}", f"v{j}", owners[i] == j, scores[i, j]) for j in range(videos)] for i in range(captions)
        ],
        "v2t": [
            [(f"v{j}", f"c{i}", owners[i] == j, scores[i, j]) for i in range(captions)] for j in range(videos)
        ],
    }
    for direction, queries in theirs.items():
        pairs = [pair for query in queries for pair in query]
        judged = [Qrel(query, found, 1) for query, found, relevant, _ in pairs if relevant]
        run = [ScoredDoc(query, found, float(score)) for query, found, _, score in pairs]
        values = ir_measures.calc_aggregate([Success @ 1, Success @ 5, Success @ 10, AP, RR], judged, run)
        metrics = getattr(ours, direction)
        assert metrics.recall_1 == pytest.approx(100 * values[Success @ 1])
        assert metrics.recall_5 == pytest.approx(100 * values[Success @ 5])
        assert metrics.recall_10 == pytest.approx(100 * values[Success @ 10])
        assert metrics.mean_precision == pytest.approx(100 * values[AP])
        best = getattr(compute_ranks(scores, owners), direction).best
        assert np.mean(1 / best) == pytest.approx(values[RR])


def test_memory_is_bounded_by_blocks():
    draw = np.random.default_rng(0)
    videos, per_video, block_bytes = 1000, 10, 2 * 2**20
    films = draw.integers(-9, 10, (videos, 8)).astype(np.float32)
    owners = np.repeat(np.arange(videos), per_video)
    texts = films[owners] + draw.integers(-1, 2, (len(owners), 8))
    scores = embedding_scores(texts, films, kept_bytes=2**20, block_bytes=block_bytes)
    tracemalloc.start()
    metrics = compute_metrics(scores, owners)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * block_bytes  # all scores: 40 MB
    assert metrics.to_dict() == compute_metrics(texts @ films.T, owners).to_dict()


def test_scores_that_fit_are_kept():
    texts, films = np.eye(4, 3), np.eye(5, 3)
    assert isinstance(embedding_scores(texts, films, kept_bytes=80), MatrixScores)
    assert isinstance(embedding_scores(texts, films, kept_bytes=79), EmbeddingScores)


def test_top_videos_of_some_captions():
    scores = np.array([[0, 3, 1, 3], [1, 1, 1, 1], [9, 8, 7, 6]])
    for source in (scores, MatrixScores(scores), EmbeddingScores(scores, np.eye(4))):
        assert top_videos(source, np.array([0, 1]), 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    assert top_videos(scores, np.array([2])).tolist() == [[0, 1, 2, 3]]


def test_metrics_of_one_query():
    ranks = Ranks(np.array([3]), np.array([1 / 3]), np.array([1]), 8)
    assert ranks.metrics() == DirectionMetrics(0, 100, 100, 3, 3, pytest.approx(100 / 3))


def example_results(**others) -> Results:
    owners = np.repeat(np.arange(10), 2)
    metrics = compute_metrics(np.random.default_rng(0).random((20, 10)), owners)
    stated = {
        "collection": "vatex", "feature": "i3d", "split": "test", "target": "zh", "scenario": "parallel",
        "queries": 20, "videos": 10, "captions_per_video": 2.0,
        "target_only": metrics, "chance": chance(owners, 10),
    }  # fmt: skip
    return Results(**stated | others)


def test_results_survive_json():
    metrics = compute_metrics(*golden("L_even_median"))
    published = RetrievalMetrics(
        DirectionMetrics(36.9, 71.3, 80.6, 2, None, 52.13),
        DirectionMetrics(51.1, 79.1, 86.7),
        printed_sum=405.9,
    )
    plain = example_results()
    full = example_results(
        fused=metrics, fusion_weight=0.85, published=published, versions={"numpy": "2.0"}, seed=0, run="r"
    )
    for results in (plain, full):
        assert json.loads(json.dumps(results.to_dict())) == results.to_dict()
    assert full.main is metrics
    assert plain.main is plain.target_only
    assert full.to_dict()["published"]["SumR"] == 405.9
    assert full.to_dict()["metrics"]["fused"]["t2v"]["MedR"] == 4.5
