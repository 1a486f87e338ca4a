"""Poolings: the built-in ones, those of the user, and the contract of both."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from mlcmr import registry
from mlcmr.errors import InvalidValueError
from mlcmr.model.config import TextConfig
from mlcmr.model.encoders.pooling import POOLINGS
from mlcmr.model.mlcmr import MLCMR
from mlcmr.testing import check_pooling
from tests.helpers.small_models import CHINESE, TEXTS, make_model
from tests.helpers.tiny import SIZE

ATTENTION = """
import torch
from torch import nn

class Attention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.query = nn.Linear(size, 1)

    def forward(self, states, lengths):
        past = torch.arange(states.shape[1], device=states.device) >= lengths[:, None]
        weights = self.query(states).squeeze(-1).masked_fill(past, -torch.inf).softmax(1)
        return torch.cat([(weights[:, :, None] * states).sum(1), states[:, 0]], dim=1)
"""


def pooled_model(pooling: str, **changes) -> MLCMR:
    text = make_model().config.text
    return make_model(text=TextConfig(new=text.new, trained_layers="all", pooling=pooling), **changes)


@pytest.fixture
def attention(tmp_path, monkeypatch) -> str:
    """A pooling with weights, in a module of the user's."""
    (tmp_path / "users_pooling.py").write_text(ATTENTION, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_named", set())
    yield "users_pooling:Attention"
    sys.modules.pop("users_pooling", None)


@pytest.mark.parametrize("name", POOLINGS)
def test_built_in_poolings_keep_the_contract(name):
    check_pooling(POOLINGS[name])


def test_what_the_built_in_poolings_return():
    states = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [9.0, 9.0]]])
    lengths = torch.tensor([2])
    expected = {"mean": [2.0, 1.0], "cls": [1.0, 2.0], "last": [3.0, 0.0], "max": [3.0, 2.0]}
    assert {name: pool(states, lengths)[0].tolist() for name, pool in POOLINGS.items()} == expected


@pytest.mark.parametrize("name", POOLINGS)
def test_a_text_alone_is_as_together(name, tmp_path):
    model = pooled_model(name)
    alone = torch.cat([model.encode_texts([one], "en") for one in TEXTS])
    torch.testing.assert_close(alone, model.encode_texts(TEXTS, "en"), rtol=0, atol=1e-6)
    model.save_pretrained(tmp_path)
    opened = MLCMR.from_pretrained(tmp_path)
    assert opened.config.text.pooling == name
    assert torch.equal(opened.encode_texts(TEXTS, "en"), model.encode_texts(TEXTS, "en"))


def test_poolings_differ():
    embeddings = [pooled_model(name).encode_texts(CHINESE, "zh") for name in POOLINGS]
    for number, one in enumerate(embeddings):
        assert all((one - other).abs().max() > 1e-3 for other in embeddings[number + 1 :])


def test_a_model_of_an_older_version_averages(tmp_path):
    """Its settings name no pooling."""
    model = make_model()
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    content = path.read_text()
    assert '"pooling": "mean"' in content
    path.write_text(content.replace(',\n      "pooling": "mean"', ""))
    assert "pooling" not in path.read_text()
    assert torch.equal(
        MLCMR.from_pretrained(tmp_path).encode_texts(TEXTS, "en"), model.encode_texts(TEXTS, "en")
    )


def test_published_padding_averages():
    with pytest.raises(
        InvalidValueError, match=r"`model\.text\.pooling` is cls, but the published code averages"
    ):
        pooled_model("cls", padding="published")


def test_a_pooling_of_the_user_is_trained_and_saved(attention, tmp_path):
    model = pooled_model(attention)
    assert model.text_encoder.output_size == 2 * model.config.text.new.hidden_size
    check_pooling(model.text_encoder.pooling.double(), size=32)
    model.float()
    assert model.text_encoder.pooling.query.weight.requires_grad
    model.save_pretrained(tmp_path / "model")
    opened = MLCMR.from_pretrained(tmp_path / "model")
    assert torch.equal(opened.encode_texts(TEXTS, "en"), model.encode_texts(TEXTS, "en"))
    video = np.ones((2, SIZE), np.float32)
    assert torch.equal(opened.encode_videos([video]), model.encode_videos([video]))


def test_a_strangers_model_brings_no_pooling_in(attention, tmp_path, monkeypatch):
    pooled_model(attention).save_pretrained(tmp_path / "model")
    # A new process of somebody who has not named the pooling.
    monkeypatch.setattr(registry, "_named", set())
    sys.modules.pop("users_pooling", None)
    with pytest.raises(InvalidValueError, match=r"config\.json: `model\.text\.pooling` names code"):
        MLCMR.from_pretrained(tmp_path / "model")
    assert "users_pooling" not in sys.modules
    monkeypatch.setenv("MLCMR_ALLOW_CODE", attention)
    assert MLCMR.from_pretrained(tmp_path / "model").config.text.pooling == attention


def test_a_class_that_takes_no_size(monkeypatch):
    class Strange(nn.Module):
        """Without a constructor of its own."""

    monkeypatch.setattr(sys.modules[__name__], "Strange", Strange, raising=False)
    with pytest.raises(InvalidValueError, match="does not take states of size 32"):
        pooled_model(f"{__name__}:Strange")


def looks_at_padding(states, lengths):
    return states.mean(dim=1)


def looks_at_the_batch(states, lengths):
    return states[:, 0] - states[:, 0].mean(0)


def one_number(states, lengths):
    return states[:, 0, 0]


def single(states, lengths):
    return states[:, 0].float()


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        (looks_at_padding, "padding"),
        (looks_at_the_batch, "does not depend on its batch"),
        (one_number, "one vector per text"),
        (single, "type of the states"),
        (lambda states, _: states[:, 0].tolist(), "a pooling returns a tensor, not list"),
    ],
)
def test_poolings_that_break_the_contract(pooling, message):
    with pytest.raises(AssertionError, match=message):
        check_pooling(pooling)
