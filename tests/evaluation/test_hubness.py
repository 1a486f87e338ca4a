"""Hubness correction and normalisations over the test split, against their formulas on whole matrices."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.evaluation.dual_softmax import DualSoftmaxScores, sinkhorn
from mlcmr.evaluation.hubness import Bank, inverted_softmax, measure_hubness
from mlcmr.evaluation.ranks import compute_ranks, top_videos
from mlcmr.evaluation.scores import EmbeddingScores, MatrixScores, Scores


class Drawn(NamedTuple):
    """Scores of captions and videos, and of the captions and the videos of a bank."""

    scores: np.ndarray
    captions: np.ndarray
    videos: np.ndarray

    @property
    def bank(self) -> Bank:
        return Bank(MatrixScores(self.captions), MatrixScores(self.videos))


@st.composite
def drawn(draw) -> Drawn:
    captions, videos, bank_captions, bank_videos = (draw(st.integers(1, 12)) for _ in range(4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Rounded scores: ties are common.
    shapes = (captions, videos), (bank_captions, videos), (bank_videos, captions)
    return Drawn(*(random.uniform(-1, 1, shape).round(draw(st.integers(1, 9))) for shape in shapes))


BETAS = st.sampled_from([0.5, 5.0, 50.0])


def read(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """All scores by captions and by videos, (N, M) both."""
    by_captions = np.concatenate([block.copy() for _, block in scores.by_captions()])
    by_videos = np.concatenate([block.copy() for _, block in scores.by_videos()], axis=1)
    return by_captions, by_videos


def expected_softmax(queries: np.ndarray, bank: np.ndarray, beta: float, *, dynamic: bool) -> np.ndarray:
    """The published formula: (Q, C) from the scores of Q queries and of a bank, (K, C)."""
    normalised = np.exp(beta * queries) / np.exp(beta * bank).sum(axis=0)
    if not dynamic:
        return normalised
    activation_set = set(bank.argmax(axis=1))
    activated = [best in activation_set for best in queries.argmax(axis=1)]
    return np.where(np.array(activated)[:, None], normalised, queries)


def in_the_units_of(expected: np.ndarray, queries: np.ndarray, beta: float, bank_size: int) -> np.ndarray:
    """log(p K) / β of the normalised rows; other rows are as they were."""
    normalised = (expected != queries).any(axis=1, keepdims=True)
    logarithm = np.log(np.where(normalised, expected, 1)) + np.log(bank_size)
    return np.where(normalised, logarithm / beta, expected)


@pytest.mark.parametrize("dynamic", [False, True])
@given(drawn(), BETAS)
def test_inverted_softmax_is_the_published_formula(dynamic, some, beta):
    by_captions, by_videos = read(
        inverted_softmax(MatrixScores(some.scores), some.bank, beta, dynamic=dynamic)
    )
    for found, queries, bank in (
        (by_captions, some.scores, some.captions),
        (by_videos.T, some.scores.T, some.videos),
    ):
        expected = expected_softmax(queries, bank, beta, dynamic=dynamic)
        expected = in_the_units_of(expected, queries, beta, len(bank))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@given(drawn(), BETAS)
def test_some_captions_have_the_scores_that_all_have(some, beta):
    chosen = np.arange(len(some.scores))[::-2]
    source = MatrixScores(some.scores)
    for scores in (
        inverted_softmax(source, some.bank, beta),
        inverted_softmax(source, some.bank, beta, dynamic=True),
        DualSoftmaxScores(source, beta),
        sinkhorn(source, beta),
    ):
        assert scores.shape == some.scores.shape
        np.testing.assert_array_equal(scores.of_captions(chosen), read(scores)[0][chosen])


@given(drawn(), BETAS)
def test_dual_softmax_is_the_published_formula(some, beta):
    """Scores times their softmax over the queries of each direction, up to the number of queries."""
    exponentials = np.exp(beta * some.scores)
    found = read(DualSoftmaxScores(MatrixScores(some.scores), beta))
    for weighed, axis in zip(found, (0, 1), strict=True):
        softmax = exponentials / exponentials.sum(axis=axis, keepdims=True)
        np.testing.assert_allclose(weighed, some.scores * softmax * some.scores.shape[axis], atol=1e-9)


@given(drawn(), BETAS)
def test_sinkhorn_balances_rows_and_columns(some, beta):
    """Equal to dividing the rows and the columns of exp(β s) by their means, again and again."""
    matrix = np.exp(beta * some.scores)
    rows = columns = np.ones(1)
    for _ in range(7):
        rows = (matrix / columns).mean(axis=1, keepdims=True)
        columns = (matrix / rows).mean(axis=0, keepdims=True)
    by_captions, by_videos = read(sinkhorn(MatrixScores(some.scores), beta, iterations=7))
    np.testing.assert_allclose(by_captions, np.log(matrix / columns) / beta, atol=1e-9)
    np.testing.assert_allclose(by_videos, np.log(matrix / rows) / beta, atol=1e-9)


@given(drawn(), st.booleans())
def test_an_empty_bank_corrects_nothing(some, dynamic):
    captions, videos = some.scores.shape
    bank = Bank(MatrixScores(np.zeros((0, videos))), MatrixScores(np.zeros((0, captions))))
    for found in read(inverted_softmax(MatrixScores(some.scores), bank, 20, dynamic=dynamic)):
        np.testing.assert_array_equal(found, some.scores)


def test_a_bank_that_activates_nothing_corrects_nothing():
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.1]])
    bank = Bank(MatrixScores([[0.0, 0.1, 0.7]]), MatrixScores(np.zeros((0, 2))))
    by_captions, _ = read(inverted_softmax(MatrixScores(scores), bank, 20, dynamic=True))
    np.testing.assert_array_equal(by_captions, scores)


@given(drawn())
def test_hubness_lies_between_mean_and_maximum(some):
    bank = MatrixScores(some.captions)
    np.testing.assert_allclose(measure_hubness(bank, 1e-5).values, some.captions.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(measure_hubness(bank, 1e6).values, some.captions.max(axis=0), atol=1e-5)


def test_no_exponential_overflows():
    """Nor do scores in float32 whose exponentials would."""
    scores = np.array([[300.0, 1.0], [-300.0, 2.0]], np.float32)
    found = measure_hubness(MatrixScores(scores), 100)
    np.testing.assert_allclose(found.values, [300 - np.log(2) / 100, 2 - np.log(2) / 100], rtol=1e-6)


def test_of_equal_scores_the_first_is_the_first_candidate():
    """In the bank and among the queries, as in ranks."""
    bank = MatrixScores([[0.5, 0.5, 0.1]])
    hubness = measure_hubness(bank, 10, dynamic=True)
    assert hubness.activated.tolist() == [True, False, False]
    corrected = hubness.correct(np.array([[0.4, 0.4, 0.0], [0.3, 0.4, 0.4]]))
    np.testing.assert_allclose(corrected, [[-0.1, -0.1, -0.1], [0.3, 0.4, 0.4]], atol=1e-12)


def test_of_equal_scores_the_first_counts_in_each_layout():
    """Transposed scores of more candidates than a tile has; only the first of the best is activated."""
    random = np.random.default_rng(0)
    scores = random.integers(0, 9, (50, 700)).astype(np.float32)
    expected = np.isin(np.arange(700), scores.argmax(axis=1))
    for layout in (scores, np.asfortranarray(scores)):
        np.testing.assert_array_equal(
            measure_hubness(MatrixScores(layout), 1, dynamic=True).activated, expected
        )


def embeddings(random: np.random.Generator, count: int, size: int = 16) -> np.ndarray:
    drawn = random.standard_normal((count, size))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def test_blocks_are_the_whole():
    """Scores and banks in blocks of a few rows, and in one block with several tiles."""
    random = np.random.default_rng(0)
    captions, videos, more, films = (embeddings(random, count) for count in (90, 31, 700, 55))

    def scores(block_bytes: int) -> list[Scores]:
        source = EmbeddingScores(captions, videos, block_bytes)
        bank = Bank(EmbeddingScores(more, videos, block_bytes), EmbeddingScores(films, captions, block_bytes))
        softmaxes = [inverted_softmax(source, bank, 20, dynamic=dynamic) for dynamic in (False, True)]
        return [*softmaxes, DualSoftmaxScores(source, 20), sinkhorn(source, 20)]

    for chunked, whole in zip(scores(1000), scores(2**28), strict=True):
        for some, all_of_them in zip(read(chunked), read(whole), strict=True):
            np.testing.assert_allclose(some, all_of_them, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def hub() -> tuple[np.ndarray, np.ndarray, Bank]:
    """Scores of captions and videos where video 0 is a hub, their videos, and a bank that shows it.

    Caption 0 is a hub of the other direction.
    """
    random = np.random.default_rng(1)
    owners = np.arange(60) % 20

    def noise(*shape: int) -> np.ndarray:
        return random.normal(scale=0.05, size=shape)

    scores = 0.3 * (owners[:, None] == np.arange(20)) + noise(60, 20)
    captions, videos = noise(500, 20), noise(400, 60)
    for matrix in (scores, captions):
        matrix[:, 0] += 0.4
    for matrix in (scores.T, videos):
        matrix[:, 0] += 0.4
    return scores, owners, Bank(MatrixScores(captions), MatrixScores(videos))


@pytest.mark.parametrize("cure", ["inverted", "dynamic", "dual", "sinkhorn"])
def test_a_hub_is_cured(hub, cure):
    scores, owners, bank = hub
    source = MatrixScores(scores)
    cured = {
        "inverted": lambda: inverted_softmax(source, bank, 20),
        "dynamic": lambda: inverted_softmax(source, bank, 20, dynamic=True),
        "dual": lambda: DualSoftmaxScores(source, 20),
        "sinkhorn": lambda: sinkhorn(source, 20),
    }[cure]()
    before, after = compute_ranks(source, owners), compute_ranks(cured, owners)
    assert before.t2v.recalls(1)[0] < 30
    assert before.v2t.recalls(1)[0] < 30
    assert after.t2v.recalls(1)[0] > 90
    assert after.v2t.recalls(1)[0] > 90
    assert top_videos(cured, [0, 1], count=1).tolist() == [[0], [1]]
