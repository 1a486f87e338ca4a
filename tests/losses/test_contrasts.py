"""The softmax and the sigmoid loss: their formulas, and captions of one video."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mlcmr.losses import InfoNCE, Sigmoid, Softmax
from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.testing import check_loss

VIDEOS = [7, 3, 7, 5, 3, 7]  # the video of each row
LOSSES = [Softmax(cross_lingual=0.5), Sigmoid(cross_lingual=0.5)]


def make_views(video_ids: list[int] | None = VIDEOS, dtype=torch.float64) -> ViewEmbeddings:
    draw = torch.Generator().manual_seed(0)
    rows = [normalize(torch.randn(6, 8, generator=draw, dtype=torch.float64), dim=1) for _ in range(6)]
    video, dropped, english, masked_english, chinese, masked_chinese = (one.to(dtype) for one in rows)
    return ViewEmbeddings(
        video,
        dropped,
        {"en": english, "zh": chinese},
        {"en": masked_english, "zh": masked_chinese},
        None if video_ids is None else torch.tensor(video_ids),
    )


def softmax(rows: Tensor, columns: Tensor, videos: list[int], temperature: float) -> float:
    """The softmax loss of both directions, one row after the other."""
    total = 0.0
    for ours, theirs in ((rows.numpy(), columns.numpy()), (columns.numpy(), rows.numpy())):
        for i in range(len(videos)):
            others = [j for j in range(len(videos)) if j == i or videos[j] != videos[i]]
            powers = {j: np.exp(ours[i] @ theirs[j] / temperature) for j in others}
            total -= np.log(powers[i] / sum(powers.values()))
    return total / 2 / len(videos)


def sigmoid(rows: Tensor, columns: Tensor, videos: list[int], scale: float, bias: float) -> float:
    total = 0.0
    for i, row in enumerate(rows.numpy()):
        for j, column in enumerate(columns.numpy()):
            sign = 1 if videos[i] == videos[j] else -1
            total += np.log(1 + np.exp(-sign * (scale * row @ column + bias)))
    return total / len(videos)


@pytest.mark.parametrize("video_ids", [VIDEOS, None], ids=["same videos", "other videos"])
@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (
            Softmax(0.1, cross_lingual=0.5, views=2),
            lambda rows, columns, videos: softmax(rows, columns, videos, 0.1),
        ),
        (
            Sigmoid(5, -2, cross_lingual=0.5, views=2),
            lambda rows, columns, videos: sigmoid(rows, columns, videos, 5, -2),
        ),
    ],
    ids=["softmax", "sigmoid"],
)
def test_the_terms_are_the_formula(loss, formula, video_ids):
    views = make_views(video_ids)
    pairs = {
        "en→v": (1, views.captions["en"], views.video),
        "zh→v": (1, views.captions["zh"], views.video),
        "en~en'": (2, views.captions["en"], views.masked["en"]),
        "zh~zh'": (2, views.captions["zh"], views.masked["zh"]),
        "v~v'": (2, views.video, views.dropped),
        "en~zh": (0.5, views.captions["en"], views.captions["zh"]),
    }
    videos = video_ids or list(range(6))
    expected = {name: weight * formula(one, other, videos) for name, (weight, one, other) in pairs.items()}
    terms = loss(views)
    assert list(terms) == list(expected)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", [Softmax, Sigmoid])
def test_terms_of_weight_zero_are_left_out(kind):
    assert list(kind()(make_views())) == ["en→v", "zh→v", "en~en'", "zh~zh'", "v~v'"]
    assert list(kind(views=0, cross_lingual=1)(make_views())) == ["en→v", "zh→v", "en~zh"]


def test_another_caption_of_the_video_is_no_negative():
    """To find the caption of row 0, only rows of other videos count beside row 0."""
    views = make_views()

    def loss_of_first(texts: Tensor) -> Tensor:
        video = views.video.clone()
        video[1:] = 0  # all scores of the other rows are equal, wherever the captions are
        return InfoNCE(0.1).one_way(video, texts, views.same_video())

    gradient = torch.autograd.functional.jacobian(loss_of_first, views.captions["en"])
    assert (gradient.abs().sum(1) > 0).tolist() == [True, True, False, True, True, False]


def test_a_batch_of_one_video_has_nothing_to_tell_apart():
    assert all(term == 0 for term in Softmax()(make_views([1] * 6)).values())


@pytest.mark.parametrize("loss", LOSSES, ids=["softmax", "sigmoid"])
def test_all_views_get_gradients(loss):
    views = make_views()
    leaves = [views.video, views.dropped, *views.captions.values(), *views.masked.values()]
    for leaf in leaves:
        leaf.requires_grad_()
    torch.stack(list(loss(views).values())).sum().backward()
    assert all(leaf.grad is not None and leaf.grad.abs().sum(1).all() for leaf in leaves)


@pytest.mark.parametrize("loss", [*LOSSES, Softmax(), Sigmoid()])
def test_the_contract(loss):
    """With it: the order of the examples changes nothing."""
    check_loss(loss)


@pytest.mark.parametrize("loss", LOSSES, ids=["softmax", "sigmoid"])
def test_losses_are_computed_in_full(loss):
    views = make_views(dtype=torch.float32)
    whole = loss(views)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(views) == whole
    half = make_views(dtype=torch.bfloat16)
    assert loss(half) == loss(half.upcast())
    assert all(term.dtype == torch.float32 for term in loss(half).values())
