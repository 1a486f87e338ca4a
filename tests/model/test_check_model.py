"""The contract of models finds what breaks it."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mlcmr.model.two_tower import TwoTower
from mlcmr.testing import check_model
from tests.helpers.models import write_clip, write_siglip
from tests.helpers.small_models import make_model
from tests.helpers.tiny import SIZE


def test_mlcmr_keeps_the_contract(model):
    check_model(model, feature_size=SIZE)


def test_the_published_padding_does_not():
    """There, an embedding depends on its batch."""
    with pytest.raises(AssertionError, match="of a text in 'en' does not depend on its batch"):
        check_model(make_model(padding="published"), feature_size=SIZE)


@pytest.mark.parametrize("write", [write_clip, write_siglip])
def test_two_tower_models_keep_the_contract(write, tmp_path):
    write(tmp_path / "model")
    model = TwoTower.from_pretrained(tmp_path / "model")
    check_model(model, feature_size=model.feature_size)


@dataclass
class Model:
    """A model of means, with functions that break its output."""

    text: object = field(default=lambda rows: rows)
    video: object = field(default=lambda rows: rows)
    counts: tuple[int, ...] = ()

    def encode_texts(self, texts, language, *, batch_size=64, advance=None) -> Tensor:
        for count in self.counts:
            advance(count)
        codes = [[len(text), *map(ord, text[:SIZE])] for text in texts]
        rows = torch.tensor([(code + [1] * SIZE)[:SIZE] for code in codes]).float()
        return self.text(normalize(rows, dim=1))

    def encode_videos(self, videos, *, batch_size=64, advance=None) -> Tensor:
        return self.video(
            normalize(torch.stack([torch.from_numpy(video).mean(0) for video in videos]), dim=1)
        )


def test_a_model_that_counts_nothing_keeps_the_contract():
    check_model(Model(), feature_size=SIZE)


def mean_of_batch(rows: Tensor) -> Tensor:
    return normalize(rows + rows.mean(dim=0), dim=1)


def noisy(rows: Tensor) -> Tensor:
    return normalize(rows + 0.01 * torch.randn_like(rows), dim=1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "a model has the method `encode_texts`"),
        (Model(text=lambda rows: rows.numpy()), "of a text in 'en' are a tensor"),
        (Model(video=lambda rows: rows[1:]), "one embedding per item, .* of a video"),
        (Model(text=lambda rows: rows.sum(dim=1)), "one embedding per item"),
        (Model(text=lambda rows: rows.double()), "are float32"),
        (Model(video=lambda rows: rows.to("meta")), "are on the CPU"),
        (Model(text=lambda rows: rows.requires_grad_()), "have no gradients"),
        (Model(text=lambda rows: rows / 0), "are finite numbers"),
        (Model(video=lambda rows: 2 * rows), "the length of a video is 1"),
        (Model(text=lambda rows: rows[:1].expand(len(rows), -1)), "depends on the item"),
        (Model(text=noisy), "equal items have equal embeddings"),
        (Model(video=mean_of_batch), "of a video does not depend on its batch"),
        (Model(text=lambda rows: rows.flip(0)), "does not depend on its batch"),
        (Model(text=lambda rows: normalize(rows[:, 1:], dim=1)), "the same size"),
        (Model(counts=(1, 1)), "add up to N"),
    ],
)
def test_models_that_break_the_contract(model, message):
    with pytest.raises(AssertionError, match=message):
        check_model(model, feature_size=SIZE)


class Scaling(Model):
    def encode_videos(self, videos, **_) -> Tensor:
        given = list(videos)
        for video in given:
            video[:] = 1
        return super().encode_videos(given)


def test_a_model_that_changes_frame_features():
    with pytest.raises(AssertionError, match="does not change frame features"):
        check_model(Scaling(), feature_size=SIZE)
