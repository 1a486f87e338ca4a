"""Ranks and metrics: equal to the published ones, honest with ties, the same in blocks as in one."""

import json
import re
import tracemalloc
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, Qrel, ScoredDoc, Success, nDCG

from mlcmr.errors import InvalidValueError
from mlcmr.evaluation.chance import recall_curve
from mlcmr.evaluation.metrics import (
    BUILT_IN,
    Metric,
    RetrievalMetrics,
    chance_metrics,
    choose_metrics,
    compute_metrics,
    find_metric,
    metrics_of_ranks,
    ndcg,
    recall_at,
    sum_of_recalls,
)
from mlcmr.evaluation.ranks import Ranks, RetrievalRanks, compute_ranks, match_captions, top_videos
from mlcmr.evaluation.scores import EmbeddingScores, MatrixScores, embedding_scores
from mlcmr.evaluation.target_results import TargetResults
from mlcmr.testing import check_metric

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")
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


def as_published(values: dict[str, float]) -> list[float]:
    """In the order of the golden arrays, mAP as a fraction."""
    *others, mean_precision = values.values()
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
    metrics = metrics_of_ranks(ranks)
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
    with pytest.raises(InvalidValueError, match=r"caption 0 and video 4 .* is nan"):
        compute_metrics(*golden("H_nan"))
    scores, owners = golden("A_1to1")
    scores[41, 7] = -np.inf
    with pytest.raises(InvalidValueError, match=r"caption 41 and video 7 .* is -inf"):
        compute_metrics(scores, owners)
    with pytest.raises(InvalidValueError, match="caption 0 and video 1"):
        compute_metrics(
            EmbeddingScores(np.ones((2, 3)), np.array([[1, 1, 1], [1, np.nan, 1]])), np.array([0, 1])
        )


def test_a_caption_without_video_is_refused_by_name():
    assert str(GOLDEN["J_caption_without_video/raises"]).startswith("KeyError")
    with pytest.raises(InvalidValueError, match="'v9'"):
        golden("J_caption_without_video")


def test_a_video_listed_twice_is_refused_by_name():
    with pytest.raises(InvalidValueError, match="'v0' is listed twice"):
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
    with pytest.raises(InvalidValueError):
        compute_metrics(scores, np.array(owners))


def test_embeddings_of_two_spaces_are_refused():
    with pytest.raises(InvalidValueError, match=r"\(4, 3\) and videos \(4, 2\)"):
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
    metrics = metrics_of_ranks(ranks)
    assert metrics.t2v["mAP"] == pytest.approx(100 * np.mean(1 / np.array(t2v)))
    assert metrics.v2t["mAP"] == pytest.approx(100 * np.mean(precisions))


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
    for first, second in ((whole.t2v, blocks.t2v), (whole.v2t, blocks.v2t)):
        np.testing.assert_array_equal(first.values, second.values)
        np.testing.assert_array_equal(first.relevant, second.relevant)


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
    rows_of = [ranks.v2t.values[ranks.v2t.queries == video] for video in columns]
    np.testing.assert_array_equal(moved.v2t.values, np.concatenate(rows_of))


def test_perfect_scores():
    owners = np.repeat(np.arange(30), 3)
    metrics = compute_metrics((owners[:, None] == np.arange(30)).astype(np.float32), owners)
    assert metrics.sum_recalls == 600
    for direction in (metrics.t2v, metrics.v2t):
        assert direction == {"R@1": 100, "R@5": 100, "R@10": 100, "MedR": 1, "MnR": 1, "mAP": 100}


@pytest.mark.parametrize("per_video", [1, 2, 10])
@pytest.mark.parametrize("videos", [20, 21])
def test_constant_scores_are_chance(per_video, videos):
    owners = np.repeat(np.arange(videos), per_video)
    metrics = choose_metrics((1, 5, 10, 50), ("nDCG", "nDCG@10"))
    constant = compute_metrics(np.full((len(owners), videos), 0.5), owners, metrics)
    expected = chance_metrics(owners, videos, metrics)
    assert constant.t2v == pytest.approx(expected.t2v)
    assert constant.v2t["R@1"] == pytest.approx(expected.v2t["R@1"])
    # A video's captions stand together, so that they share their luck: never better than chance.
    assert constant.v2t["R@5"] <= expected.v2t["R@5"] + 1e-9
    assert constant.v2t["R@10"] <= expected.v2t["R@10"] + 1e-9
    if per_video == 1:
        assert constant.v2t == pytest.approx(expected.v2t)


def test_chance_is_the_mean_over_random_scores():
    draw = np.random.default_rng(0)
    owners = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 5, 5, 5])  # video 4 has no caption
    metrics = choose_metrics((1, 5, 10), ("nDCG", "nDCG@3"))
    expected = chance_metrics(owners, 6, metrics)
    drawn = [compute_ranks(draw.random((len(owners), 6)), owners) for _ in range(4000)]
    for direction in ("t2v", "v2t"):
        ranks = [getattr(draw, direction) for draw in drawn]
        every = getattr(expected, direction)
        values = [getattr(metrics_of_ranks(draw, metrics), direction) for draw in drawn]
        for name in ("R@1", "R@5", "R@10", "MnR", "mAP", "nDCG", "nDCG@3"):
            assert np.mean([value[name] for value in values]) == pytest.approx(every[name], abs=1)
        assert abs(every["MedR"] - np.median(np.concatenate([ranked.best for ranked in ranks]))) <= 0.5
        curve = np.mean([ranked.recalls(20) for ranked in ranks], axis=0)
        np.testing.assert_allclose(recall_curve(ranks[0].relevant, ranks[0].candidates, 20), curve, atol=1)


def test_a_video_without_captions_is_never_recalled():
    metrics = compute_metrics(np.eye(3)[:2], np.array([0, 1]))
    assert metrics.v2t["R@10"] == pytest.approx(200 / 3)
    assert metrics.v2t["MnR"] == pytest.approx((1 + 1 + 3) / 3)
    assert chance_metrics(np.array([0, 1]), 3).v2t["R@10"] == pytest.approx(200 / 3)


def test_recall_curve_contains_the_printed_recalls():
    ranks = compute_ranks(*golden("B_10to1"))
    for direction in (ranks.t2v, ranks.v2t):
        curve = direction.recalls(100)
        printed = recall_at(direction, 1, 5, 10)
        assert len(curve) == 100
        assert [curve[0], curve[4], curve[9]] == list(printed.values())
        assert np.all(np.diff(curve) >= 0)
    assert ranks.t2v.recalls(100)[29] == 100


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_ir_measures(seed):
    draw = np.random.default_rng(seed)
    captions, videos = 60, 12
    owners = np.concatenate([np.arange(videos), draw.integers(0, videos, captions - videos)])
    scores = draw.permutation(captions * videos).reshape(captions, videos).astype(np.float64)
    scores[np.arange(captions), owners] += 200.5  # without ties, better than chance
    ours = compute_metrics(scores, owners, choose_metrics((1, 5, 10, 50), ("nDCG", "nDCG@10")))
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
        values = ir_measures.calc_aggregate(
            [*(Success @ k for k in (1, 5, 10, 50)), AP, RR, nDCG, nDCG @ 10], judged, run
        )
        metrics = getattr(ours, direction)
        for k in (1, 5, 10, 50):
            assert metrics[f"R@{k}"] == pytest.approx(100 * values[Success @ k])
        assert metrics["mAP"] == pytest.approx(100 * values[AP])
        assert metrics["nDCG"] == pytest.approx(100 * values[nDCG])
        assert metrics["nDCG@10"] == pytest.approx(100 * values[nDCG @ 10])
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
    ranks = Ranks.from_lists([[3]], candidates=8)
    expected = {"R@1": 0, "R@5": 100, "R@10": 100, "MedR": 3, "MnR": 3, "mAP": pytest.approx(100 / 3)}
    assert metrics_of_ranks(RetrievalRanks(ranks, ranks)).t2v == expected


def example_results(**others) -> TargetResults:
    owners = np.repeat(np.arange(10), 2)
    metrics = compute_metrics(np.random.default_rng(0).random((20, 10)), owners)
    stated = {
        "collection": "vatex", "feature": "i3d", "split": "test", "target": "zh", "scenario": "parallel",
        "queries": 20, "videos": 10, "captions_per_video": 2.0,
        "target_only": metrics, "chance": chance_metrics(owners, 10),
    }  # fmt: skip
    return TargetResults(**stated | others)


def test_results_survive_json():
    metrics = compute_metrics(*golden("L_even_median"))
    published = RetrievalMetrics(
        {"R@1": 36.9, "R@5": 71.3, "R@10": 80.6, "MedR": 2, "mAP": 52.13},
        {"R@1": 51.1, "R@5": 79.1, "R@10": 86.7},
        sum_recalls=405.9,
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


def reciprocal_rank(ranks: Ranks) -> dict[str, float]:
    return {"MRR": float((1 / ranks.best).mean())}


class WorstRank:
    """A metric as a class, with all that a table can use."""

    format = ".0f"
    higher_is_better = False

    def __call__(self, ranks: Ranks) -> dict[str, float]:
        return {"worst": float(ranks.best.max())}

    def chance(self, relevant: np.ndarray, candidates: int) -> dict[str, float]:
        return {"worst": candidates}


def test_metrics_of_another_package():
    """As functions, as classes, or by name; each once, after the published ones."""
    here = f"{__name__}:reciprocal_rank"
    chosen = choose_metrics((1, 50), (here, WorstRank, "nDCG@3", "mAP", "nDCG@3"))
    metrics = compute_metrics(*golden("B_10to1"), chosen)
    names = ["R@1", "R@50", "MedR", "MnR", "mAP", "MRR", "worst", "nDCG@3"]
    assert list(metrics.t2v) == list(metrics.v2t) == list(metrics.metric_of) == names
    assert metrics.t2v["MRR"] == pytest.approx(metrics.t2v["mAP"] / 100)
    assert metrics.metric_of["MRR"].format == ".1f"
    assert metrics.metric_of["worst"].format == ".0f"
    assert not metrics.metric_of["worst"].higher_is_better
    expected = chance_metrics(np.arange(3), 3, chosen)
    assert list(expected.t2v) == [name for name in names if name != "MRR"]
    assert expected.t2v["worst"] == 3


@pytest.mark.parametrize("cutoffs", [(1,), (50, 7), (1, 5, 10, 100)])
def test_sum_of_recalls_does_not_depend_on_the_cutoffs(cutoffs):
    ranks = compute_ranks(*golden("B_10to1"))
    whole = metrics_of_ranks(ranks)
    assert metrics_of_ranks(ranks, choose_metrics(cutoffs)).sum_recalls == whole.sum_recalls
    assert sum_of_recalls(ranks) == {"SumR": whole.sum_recalls}
    assert whole.sum_recalls == pytest.approx(
        sum(direction[f"R@{k}"] for direction in (whole.t2v, whole.v2t) for k in (1, 5, 10))
    )
    owners = np.repeat(np.arange(9), 2)
    by_chance = chance_metrics(owners, 9, choose_metrics(cutoffs))
    assert by_chance.sum_recalls == chance_metrics(owners, 9).sum_recalls


@pytest.mark.parametrize(
    ("recalls", "metrics", "part"),
    [
        ((), (), "`recall_at` is [], but must be whole numbers from 1"),
        ((0,), (), "`recall_at` is [0]"),
        ((1,), ("MAP",), "`metrics` is 'MAP', but must be"),
        ((1,), ("nDCG@0",), "`metrics` is 'nDCG@0'"),
        ((1,), ("math:no_such",), "cannot be imported"),
        ((1,), (3,), "3 is not a function of ranks"),
        ((1,), (Metric(reciprocal_rank, "digits"),), "not a format of numbers"),
        ((1,), (lambda _: {"x": float("nan")},), "x is nan, not a finite number"),
        ((1,), (lambda _: {"R@1": 1.0},), "two metrics have the name R@1"),
    ],
)
def test_metrics_that_cannot_be_used(recalls, metrics, part):
    with pytest.raises(InvalidValueError, match=re.escape(part)):
        compute_metrics(*golden("A_1to1"), choose_metrics(recalls, metrics))


def test_ndcg_of_several_relevant_candidates():
    """By hand: ranks 1 and 4 of two relevant candidates, beside a query without any."""
    ranks = Ranks.from_lists([[4, 1], []], candidates=6)
    ideal = 1 + 1 / np.log2(3)
    assert ndcg(ranks)["nDCG"] == pytest.approx(50 * (1 + 1 / np.log2(5)) / ideal)
    assert ndcg(ranks, 3)["nDCG@3"] == pytest.approx(50 / ideal)
    assert ndcg(ranks, 1)["nDCG@1"] == pytest.approx(50)
    assert ndcg(ranks, 100)["nDCG@100"] == pytest.approx(ndcg(ranks)["nDCG"])


@given(shapes)
@settings(max_examples=20)
def test_ranks_of_all_relevant_candidates(shape):
    captions, videos, seed = shape
    draw = np.random.default_rng(seed)
    scores = draw.integers(-3, 3, (captions, videos)).astype(np.float32)
    owners = draw.integers(0, videos, captions)
    ranks = compute_ranks(scores, owners).v2t
    for video in range(videos):
        order = np.argsort(-scores[:, video], kind="stable")
        expected = np.flatnonzero(owners[order] == video) + 1
        assert ranks.values[ranks.queries == video].tolist() == expected.tolist()
        assert ranks.nth[ranks.queries == video].tolist() == list(range(1, len(expected) + 1))


@pytest.mark.parametrize("name", [*BUILT_IN, "R@3", "nDCG@2"])
def test_built_in_metrics_are_metrics(name):
    check_metric(find_metric(name))


def test_results_file_of_the_default_metrics():
    """The fields of a file of format 1, in their order: what earlier versions wrote, and readers expect."""
    published = RetrievalMetrics({"R@1": 1.0}, {"R@1": 2.0}, 9.0)
    stored = example_results(published=published).to_dict()
    assert list(stored) == [
        "collection", "feature", "split", "target", "scenario", "queries", "videos", "captions_per_video",
        "chance", "fusion_weight", "published", "trained_on", "validated_on", "versions", "seed", "run",
        "queries_digest", "intervals", "target_only_intervals", "seeds", "fusion_weight_chosen_on",
        "metrics", "normalised", "uses_all_test_queries",
    ]  # fmt: skip
    names = ["R@1", "R@5", "R@10", "MedR", "MnR", "mAP"]
    for metrics in (stored["chance"], stored["published"], stored["metrics"]["target_only"]):
        assert list(metrics) == ["t2v", "v2t", "SumR"]
        assert list(metrics["t2v"]) == list(metrics["v2t"]) == names
    assert stored["published"]["v2t"] == {"R@1": 2.0} | dict.fromkeys(names[1:])
    assert stored["metrics"]["fused"] is None
