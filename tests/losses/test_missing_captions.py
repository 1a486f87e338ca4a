"""If examples lack captions, the terms of a language are those of the examples that have them."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch.nn.functional import normalize

from mlcmr.losses import LossConfig, MLCMRLoss, Sigmoid, Softmax
from mlcmr.model.outputs import ViewEmbeddings

VIDEOS = torch.tensor([7, 3, 7, 5, 3, 7, 8])
HAS = {
    "zh": torch.tensor([True, False, True, True, False, True, False]),
    "de": torch.tensor([False, True, True, True, False, False, False]),
    "es": torch.tensor([False, False, False, False, True, False, False]),
}
LOSSES = {
    "mlcmr": MLCMRLoss(),
    "mean of all negatives": MLCMRLoss(LossConfig(negatives="all", reduction="mean")),
    "softmax": Softmax(cross_lingual=0.5),
    "sigmoid": Sigmoid(cross_lingual=0.5),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def whole_batch() -> ViewEmbeddings:
    """Embeddings of all captions, also of those that will be absent; all are leaves with gradients."""
    draw = torch.Generator().manual_seed(0)

    def rows() -> torch.Tensor:
        return normalize(torch.randn(7, 8, generator=draw, dtype=torch.float64), dim=1).requires_grad_()

    languages = ("en", *HAS)
    captions, masked = ({language: rows() for language in languages} for _ in range(2))
    return ViewEmbeddings(rows(), rows(), captions, masked, VIDEOS)


def with_gaps(whole: ViewEmbeddings) -> ViewEmbeddings:
    captions, masked = (
        {language: rows[HAS[language]] if language in HAS else rows for language, rows in texts.items()}
        for texts in (whole.captions, whole.masked)
    )
    return replace(whole, captions=captions, masked=masked, has_caption=HAS)


def batch_of(whole: ViewEmbeddings, rows: torch.Tensor) -> ViewEmbeddings:
    """A batch that has some of the examples only, and so no gaps."""
    captions, masked = (
        {language: one[rows] for language, one in texts.items()} for texts in (whole.captions, whole.masked)
    )
    return ViewEmbeddings(whole.video[rows], whole.dropped[rows], captions, masked, VIDEOS[rows])


@every_loss
def test_each_term_is_that_of_the_rows_that_are_there(loss):
    whole = whole_batch()
    terms = loss(with_gaps(whole))
    everywhere = torch.ones(7, dtype=torch.bool)
    expected = {"v~v'": loss(batch_of(whole, everywhere))["v~v'"]}
    for language in whole.captions:
        alone = loss(batch_of(whole, HAS.get(language, everywhere)))
        expected |= {name: alone[name] for name in (f"{language}→v", f"{language}~{language}'")}
    for one, other in combinations(whole.captions, 2):
        both = HAS.get(one, everywhere) & HAS.get(other, everywhere)
        if isinstance(loss, Softmax | Sigmoid) and both.any():
            expected[f"{one}~{other}"] = loss(batch_of(whole, both))[f"{one}~{other}"]
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        assert term.item() == pytest.approx(expected[name].item(), abs=1e-12), name


@every_loss
def test_absent_captions_have_no_gradient(loss):
    whole = whole_batch()
    torch.stack(list(loss(with_gaps(whole)).values())).sum().backward()
    for language, has in HAS.items():
        for texts in (whole.captions[language], whole.masked[language]):
            assert texts.grad is not None
            assert not texts.grad[~has].any()
            assert texts.grad[has].any() or has.sum() == 1


@every_loss
def test_a_language_ranks_only_the_videos_of_its_captions(loss):
    """The videos of the other examples have no gradient from its term."""
    whole = whole_batch()
    (gradient,) = torch.autograd.grad(loss(with_gaps(whole))["zh→v"], whole.video)
    assert not gradient[~HAS["zh"]].any()
    assert gradient[HAS["zh"]].any()


def test_without_gaps_nothing_is_selected():
    whole = whole_batch()
    assert whole.having("en", "zh") is whole
    assert with_gaps(whole).having("en").video is whole.video
    assert with_gaps(whole).having("zh", "de").video_ids.tolist() == [7, 5]
