"""A loss comes from the settings or as an object, and any loss can be tested against the contract."""

import pytest
import torch
from torch import nn

from mlcmr.errors import InvalidValueError
from mlcmr.losses import LossConfig, MLCMRLoss, Sigmoid, Softmax, TripletRanking, select_loss
from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.settings import from_dict
from mlcmr.testing import check_loss

HERE = __name__


class Squares(nn.Module):
    """Pulls captions to their videos."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, views: ViewEmbeddings) -> dict[str, torch.Tensor]:
        return {
            language: self.weight * (own.captions[language] - own.video).square().sum()
            for language in views.captions
            for own in [views.having(language)]
        }


def squares(views: ViewEmbeddings, weight: float = 1.0) -> dict[str, torch.Tensor]:
    return Squares(weight)(views)


def views() -> ViewEmbeddings:
    one, other = torch.eye(4), torch.ones(4, 4)
    return ViewEmbeddings(one, one, {"en": other}, {"en": other})


def test_the_default_is_the_published_loss():
    loss = select_loss(from_dict(LossConfig, {"measure": "order", "margin": 0.3}))
    assert isinstance(loss, MLCMRLoss)
    assert loss.ranking.margin == 0.3
    assert loss.ranking.similarity is TripletRanking(similarity="order").similarity


def test_built_in_losses_by_name():
    softmax = select_loss(from_dict(LossConfig, {"name": "softmax", "options": {"temperature": 0.1}}))
    assert isinstance(softmax, Softmax)
    assert softmax.contrast.temperature == 0.1
    assert isinstance(select_loss(LossConfig(name="sigmoid")), Sigmoid)


def test_a_class_and_a_function_by_name():
    plain = select_loss(LossConfig(name=f"{HERE}:squares"))(views())["en"]
    assert plain == 12
    for name in ("Squares", "squares"):
        config = from_dict(LossConfig, {"name": f"{HERE}:{name}", "options": {"weight": 2.0}})
        assert select_loss(config)(views())["en"] == 2 * plain


def test_an_object_goes_before_a_name():
    loss = Squares(3.0)
    assert select_loss(LossConfig(), loss) is loss


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            LossConfig(name="mlcnr"),
            "`loss.name` is 'mlcnr', but must be mlcmr, softmax, sigmoid or .*; did you mean mlcmr",
        ),
        (LossConfig(name="math:pi"), "'math:pi', which is neither a class nor a function$"),
        (LossConfig(options={"margin": 1}), "`loss.options` are for other losses"),
        *(
            (
                LossConfig(name=f"{HERE}:{name}", options={"size": 1}),
                f"`loss.options` do not fit .*:{name}: 'size' is not an option; options are weight$",
            )
            for name in ("Squares", "squares")
        ),
        (
            LossConfig(name="softmax", options={"margin": 1}),
            "fit softmax: 'margin' is not an option; options are temperature, cross_lingual, views$",
        ),
        (
            LossConfig(name="sigmoid", options={"scale": "x"}),
            "`loss.options` do not fit sigmoid: scale is 'x', but must be a number$",
        ),
    ],
)
def test_settings_that_do_not_fit(config, message):
    with pytest.raises(InvalidValueError, match=message):
        select_loss(config)


def test_a_loss_with_weights_is_refused():
    """Training would neither train nor save them."""
    loss = Squares()
    loss.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(InvalidValueError, match="weights of its own"):
        select_loss(LossConfig(), loss)


# ─── the contract ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("loss", [MLCMRLoss(), MLCMRLoss(LossConfig(negatives="all")), Squares(), squares])
def test_losses_that_keep_the_contract(loss):
    check_loss(loss)


def no_term(views):
    return {}


def matrix(views):
    return {"all": views.video @ views.dropped.T}


def detached(views):
    return {"one": views.video.detach().sum()}


def infinite(views):
    return {"one": views.video.sum() / 0}


def random(views):
    return {"one": views.video.sum() * torch.rand(())}


def in_place(views):
    with torch.no_grad():
        views.video.mul_(2)
    return {"one": views.video.sum() * 0}


def first_example(views):
    return {"one": views.video[0].sum()}


def all_videos(views):
    return {"one": sum((texts - views.video).square().sum() for texts in views.captions.values())}


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda views: views.video.sum(), "returns its terms by name, not Tensor"),
        (lambda _: {"one": 0.5}, "term 'one' is a tensor, not float"),
        (Squares, "returns its terms by name, not Squares"),
        (no_term, "at least one term"),
        (matrix, "is a scalar"),
        (detached, "has gradients"),
        (infinite, "is a finite number"),
        (random, "the same embeddings give the same terms"),
        (in_place, "does not change its input"),
        (first_example, "does not depend on the order"),
        (all_videos, "does not fail where examples lack captions, see `ViewEmbeddings.having`"),
    ],
)
def test_losses_that_break_the_contract(loss, message):
    with pytest.raises(AssertionError, match=message):
        check_loss(loss)
