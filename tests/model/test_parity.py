"""In published mode every number equals what the published code computed (float64: 1e-9)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcmr.data.batches import PairBatch
from mlcmr.losses.config import LossConfig
from mlcmr.losses.infonce import InfoNCE
from mlcmr.losses.mlcmr import MLCMRLoss
from mlcmr.losses.triplet import TripletRanking
from mlcmr.model.config import TextConfig
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.schedule import make_optimizer
from tests.helpers.golden_model import GOLDEN, golden, golden_batch, golden_model, state

CLOSE = {"rtol": 0, "atol": 1e-9}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return golden()


def close(ours: torch.Tensor, theirs: np.ndarray, **tolerance: float) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, **(CLOSE | tolerance))


def unparallel(batch: PairBatch) -> PairBatch:
    return replace(batch, captions={"en": batch.captions["en"]}, masked={"en": batch.masked["en"]})


def test_batch_is_the_published_one(arrays):
    batch = golden_batch(arrays)
    for name, ours in (("video", batch.video), ("video_masked", batch.dropped)):
        close(ours.means, arrays[f"in/{name}/mean_origin"], atol=1e-7)  # theirs were averaged in float32
        assert ours.lengths.clamp(max=64).tolist() == arrays[f"in/{name}/lengths"].tolist()
    for name, ours in batch.captions.items():
        theirs = arrays[f"in/{name}/ids"][arrays[f"in/{name}/mask"] > 0]
        assert ours.ids.tolist() == theirs.tolist()


@pytest.fixture
def batch(arrays) -> PairBatch:
    batch = golden_batch(arrays)
    # The published code averaged frames in float32 before it went on in float64.
    for name, ours in (("video", batch.video), ("video_masked", batch.dropped)):
        ours.means = torch.from_numpy(arrays[f"in/{name}/mean_origin"])
    return batch


def test_every_level_of_evaluation(arrays, batch):
    model = golden_model(arrays).eval()
    close(model.video_encoder(batch.video), arrays["eval/video_feat"])
    close(model.video_mapping(model.video_encoder(batch.video)), arrays["eval/video"])
    close(model.video_mapping(model.video_encoder(batch.dropped)), arrays["eval/video_masked"])
    for language in ("en", "zh"):
        features = model.text_encoder(batch.captions[language])
        close(features, arrays[f"eval/{language}_feat"])
        close(model.text_mapping(features), arrays[f"eval/{language}"])
    pooled = golden_model(arrays, gru_pool="max").eval()
    close(pooled.video_encoder(batch.video), arrays["eval/video_feat_grumax"])


def test_alone_is_the_published_embedding_without_padding(arrays, batch):
    """The default mode embeds every item as the published code does an item that is alone in its batch."""
    model = golden_model(arrays, padding="masked").eval()
    close(model.video_mapping(model.video_encoder(batch.video)), arrays["eval/video_alone"])
    close(model.text_mapping(model.text_encoder(batch.captions["en"])), arrays["eval/en_alone"])


@pytest.mark.parametrize("scenario", ["parallel", "unparallel"])
def test_training(arrays, batch, scenario):
    """Embeddings, each loss term, all gradients, and three optimizer steps."""
    model = golden_model(arrays).train()
    if scenario == "unparallel":
        batch = unparallel(batch)
    at = f"train_{scenario}"
    loss = MLCMRLoss()
    optimizer = make_optimizer(model, OptimizerConfig(learning_rate=1e-3))
    losses, norms = [], []
    for step in range(3):
        optimizer.zero_grad()
        views = model(batch)
        terms = loss(views)
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        if step == 0:
            close(views.video, arrays[f"{at}/emb/video"])
            close(views.dropped, arrays[f"{at}/emb/video_masked"])
            for language in batch.captions:
                close(views.captions[language], arrays[f"{at}/emb/{language}"])
                close(views.masked[language], arrays[f"{at}/emb/{language}_masked"])
                close(terms[f"{language}→v"], arrays[f"{at}/loss/{language}_vid"])
                both = [arrays[f"{at}/loss/{a}_{b}"] for a, b in _both(language)]
                close(terms[f"{language}~{language}'"], np.mean(both))
            both = [arrays[f"{at}/loss/vid_vidm"], arrays[f"{at}/loss/vidm_vid"]]
            close(terms["v~v'"], np.mean(both))
            close(total, arrays[f"{at}/loss/total"])
            _gradients_equal(model, arrays, f"{at}/grad")
        losses.append(total.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0).item())
        optimizer.step()
    np.testing.assert_allclose(losses, arrays[f"{at}/step_losses"], **CLOSE)
    np.testing.assert_allclose(norms, arrays[f"{at}/step_total_gradnorm_before_clip"], rtol=0, atol=1e-8)
    ours = model.state_dict()
    after = state(arrays, f"{at}/sd3")
    assert len(after) > 50
    for name, theirs in after.items():
        close(ours[name], theirs.numpy())


def test_frozen_is_what_is_published_as_frozen(arrays):
    model = golden_model(arrays)
    trained = sum(parameter.requires_grad for parameter in model.parameters())
    assert trained == len(arrays["trainable"])


def _both(language: str) -> list[tuple[str, str]]:
    return [(language, f"{language}m"), (f"{language}m", language)]


def _gradients_equal(model: torch.nn.Module, arrays: dict[str, np.ndarray], prefix: str) -> None:
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    theirs = state(arrays, prefix)
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        close(gradient, theirs[name].numpy())


LOSSES = np.load(GOLDEN / "loss.npz")


def _loss_settings() -> list[str]:
    return sorted({name.rpartition("/")[0] for name in LOSSES.files if "/" in name})


@pytest.mark.parametrize("setting", _loss_settings())
def test_loss(setting):
    """Value and both gradients of every published option."""
    captions = torch.from_numpy(LOSSES["s"]).requires_grad_()
    videos = torch.from_numpy(LOSSES["im"]).requires_grad_()
    kind, *options = setting.split("/")
    if kind == "infonce":
        loss = InfoNCE(float(options[0].removeprefix("temp"))).one_way(videos, captions)
    elif options[0].startswith("measure_"):
        loss = TripletRanking(similarity=options[0].removeprefix("measure_"))(videos, captions)
    else:
        hardest, reduction, direction = options
        loss = TripletRanking(
            negatives="hardest" if hardest == "maxviol_True" else "all",
            reduction=reduction,
            direction={"all": "both"}.get(direction, direction),
        )(videos, captions)
    loss.backward()
    close(loss, LOSSES[f"{setting}/loss"])
    close(captions.grad, LOSSES[f"{setting}/grad_s"])
    close(videos.grad, LOSSES[f"{setting}/grad_im"])


def test_defaults_are_published():
    assert LossConfig() == LossConfig(0.2, "hardest", "sum", "both", "cosine", 0.07)
    assert TextConfig().trained_layers == 6
