"""The random draws of a training in `padding: published` are distributed as in the published code.

`test_views.py`, `test_batches.py` and `test_dropout.py` test each source of chance by itself. Here a whole
training is watched, so that a part that is left out, drawn twice or switched off would be seen.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mlcmr.data.batches import BatchKey, PairBatch, PairDataset
from mlcmr.data.scenarios import read_training_pairs
from mlcmr.model.config import NewEncoder, TextConfig
from mlcmr.model.encoders.scratch import new_encoder
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training.checkpoint import read_state
from mlcmr.training.config import TrainConfig
from mlcmr.training.run_folder import Run
from mlcmr.training.run_training import build_model, train
from mlcmr.training.step import TrainingStep
from tests.helpers.tiny import SIZE, captions, tiny_config, tiny_model, write_collection

EPOCHS, EXAMPLES, BATCH = 2, 48, 20  # two batches of 20 and one of 8 in an epoch
STEPS = 6
VIEWS = {"text": 4, "video": 2}  # one forward pass each: two languages, whole and masked; whole and dropped
SHARES = {"text_encoder": 0.1, "video_encoder": 0.2, "text_mapping": 0.2, "video_mapping": 0.2}


@dataclass
class Watched:
    """The random draws of one training.

    Attributes:
        keys: The batches that were asked for.
        batches: Their content.
        kept: For each dropout layer, in the order of the calls: which of the numbers that it was given, 0
            left out, it kept.
        evaluated: For each dropout layer, whether it kept all numbers in each call of evaluation.
        attention: The share that attention dropped in each call of training, and in each of evaluation.
        norms: The norm of all gradients at each step of the optimizer.
        passes: How many batches each batch norm has seen.
        config: The settings.
    """

    keys: list[BatchKey] = field(default_factory=list)
    batches: list[PairBatch] = field(default_factory=list)
    kept: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    evaluated: dict[str, list[bool]] = field(default_factory=dict)
    attention: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})
    norms: list[float] = field(default_factory=list)
    passes: dict[str, int] = field(default_factory=dict)
    config: TrainConfig | None = None


def settings(root: Path, run: Path, **changes: Any) -> TrainConfig:
    """A training in published mode; of four transformer layers the first three are frozen."""
    model = tiny_model(padding="published", text=TextConfig(encoder=str(root / "encoder"), trained_layers=1))
    return tiny_config(root, run, model=model, epochs=EPOCHS, batch_size=BATCH, **changes)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("randomness")
    write_collection(folder)
    sizes = NewEncoder(layers=4, hidden_size=32, heads=2, vocabulary=300)
    texts = [text for tag in ("enc", "zh") for _, text in captions("train", tag)]
    for made in new_encoder(sizes, texts, lowercase=True):
        made.save_pretrained(folder / "encoder")
    return folder


def watch(config: TrainConfig) -> Watched:
    """Train, and note every draw."""
    watched = Watched(config=config)
    calls: list[tuple[nn.Module, bool, torch.Tensor]] = []
    models: list[MLCMR] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, TrainingStep) and module.model not in models:
            models.append(module.model)
        if isinstance(module, nn.Dropout):
            given = inputs[0] != 0
            calls.append((module, module.training, (output.detach() != 0)[given]))

    get, attend, step = (
        PairDataset.__getitem__,
        nn.functional.scaled_dot_product_attention,
        torch.optim.Adam.step,
    )

    def noted_get(dataset: PairDataset, key: BatchKey) -> PairBatch:
        batch = get(dataset, key)
        watched.keys.append(key)
        watched.batches.append(batch)
        return batch

    def noted_attend(*args: Any, dropout_p: float = 0.0, **others: Any) -> Any:
        watched.attention[torch.is_grad_enabled()].append(dropout_p)
        return attend(*args, dropout_p=dropout_p, **others)

    def noted_step(optimizer: torch.optim.Adam) -> Any:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        watched.norms.append(float(torch.stack([one.norm() for one in gradients if one is not None]).norm()))
        return step(optimizer)

    hook = nn.modules.module.register_module_forward_hook(note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PairDataset, "__getitem__", noted_get)
            patch.setattr(nn.functional, "scaled_dot_product_attention", noted_attend)
            patch.setattr(torch.optim.Adam, "step", noted_step)
            train(config)
    finally:
        hook.remove()
    (model,) = models
    names = {module: name for name, module in model.named_modules()}
    for module, training, kept in calls:
        if module not in names:  # of the encoder as it was tried when opened, before its layers are replaced
            assert not training
        elif training:
            watched.kept.setdefault(names[module], []).append(kept)
        else:
            watched.evaluated.setdefault(names[module], []).append(bool(kept.all()))
    state = read_state(Run(Path(config.run)).state)
    watched.passes = {
        name: int(count) for name, count in state.model.items() if name.endswith("num_batches_tracked")
    }
    return watched


@pytest.fixture(scope="module")
def watched(root) -> Watched:
    return watch(settings(root, root / "run"))


# ─── examples ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_epoch_trains_each_example_once_in_a_new_order(watched):
    epochs = [
        np.concatenate([key.examples for key in watched.keys if key.epoch == epoch]).tolist()
        for epoch in range(EPOCHS)
    ]
    assert len(watched.keys) == STEPS
    assert [len(key.examples) for key in watched.keys] == [20, 20, 8] * EPOCHS  # the last is not left out
    for epoch in epochs:
        assert sorted(epoch) == list(range(EXAMPLES))
    assert epochs[0] != epochs[1]
    moved = np.argsort(epochs[0]) - np.argsort(epochs[1])
    # Two independent orders of n: places differ by (n² − 1) / 3n on average, here 16 ± 1.6.
    assert np.abs(moved).mean() == pytest.approx((EXAMPLES**2 - 1) / (3 * EXAMPLES), abs=6.5)


def test_second_views_are_drawn_anew_in_each_epoch(watched):
    """An example's masked words and kept frames agree between epochs no more than by chance."""
    drawn: dict[str, list[dict[int, np.ndarray]]] = {"en": [{}, {}], "zh": [{}, {}], "frames": [{}, {}]}
    for key, batch in zip(watched.keys, watched.batches, strict=True):
        for language in ("en", "zh"):
            whole, masked = batch.captions[language], batch.masked[language]
            for example, one, other in zip(
                key.examples.tolist(),
                torch.split(whole.ids, whole.lengths.tolist()),
                torch.split(masked.ids, masked.lengths.tolist()),
                strict=True,
            ):
                changed = (one != other).numpy()
                assert changed.sum() == int(0.15 * len(one))
                drawn[language][key.epoch][example] = changed
        for example, video, kept in zip(
            key.examples.tolist(),
            torch.split(batch.video.frames, batch.video.lengths.tolist()),
            torch.split(batch.dropped.frames, batch.dropped.lengths.tolist()),
            strict=True,
        ):
            assert len(kept) == len(video) - int(0.8 * len(video))
            drawn["frames"][key.epoch][example] = np.array(
                [any(torch.equal(frame, one) for one in kept) for frame in video]
            )
    for name, (first, second) in drawn.items():
        shared, expected, variance = 0, 0.0, 0.0
        for example, one in first.items():
            chosen, places = int(one.sum()), len(one) - (0 if name == "frames" else 2)
            if not 0 < chosen < places:
                continue
            shared += int((one & second[example]).sum())
            # Hypergeometric: the places that two draws have in common.
            expected += chosen**2 / places
            variance += chosen**2 * (places - chosen) ** 2 / (places**2 * (places - 1))
        assert variance > 1, name
        assert abs(shared - expected) < 4 * variance**0.5, name


# ─── dropout ─────────────────────────────────────────────────────────────────────────────────────────────


def part(name: str) -> str:
    return name.partition(".")[0]


def test_every_dropout_takes_part_in_every_view(watched):
    """Also those of frozen layers: the published code leaves the whole transformer in training mode."""
    layers = [f"text_encoder.transformer.encoder.layer.{number}" for number in range(4)]
    expected = {
        "text_encoder.transformer.embeddings.dropout": VIEWS["text"],
        **{f"{layer}.attention.output.dropout": VIEWS["text"] for layer in layers},
        **{f"{layer}.output.dropout": VIEWS["text"] for layer in layers},
        "video_encoder.dropout": 2 * VIEWS["video"],  # of the temporal and of the local level
        "text_mapping.dropout": VIEWS["text"],
        "video_mapping.dropout": VIEWS["video"],
    }
    assert {name: len(calls) for name, calls in watched.kept.items()} == {
        name: count * STEPS for name, count in expected.items()
    }


def test_dropout_drops_the_published_share(watched):
    for name, calls in watched.kept.items():
        kept = torch.cat(calls).float()
        share = SHARES[part(name)]
        tolerance = 4.5 * (share * (1 - share) / len(kept)) ** 0.5
        assert 1 - float(kept.mean()) == pytest.approx(share, abs=tolerance), name
    assert watched.attention[True] == pytest.approx([0.1] * (4 * VIEWS["text"] * STEPS))


def test_views_and_steps_are_dropped_independently(watched):
    """Masks of consecutive calls, of the same call in the next step, and in the next epoch."""
    for name, calls in watched.kept.items():
        share = SHARES[part(name)]
        by_chance = share**2 + (1 - share) ** 2
        per_step = len(calls) // STEPS
        for distance in (1, per_step, 3 * per_step):
            agree = [
                (one[: len(other)] == other[: len(one)])
                for one, other in zip(calls, calls[distance:], strict=False)
            ]
            together = torch.cat(agree).float()
            # Pairs overlap, each mask is in two of them: the spread is at most √2 of that of single pairs.
            spread = (2 * by_chance * (1 - by_chance) / len(together)) ** 0.5
            assert float(together.mean()) == pytest.approx(by_chance, abs=4.5 * spread), (name, distance)


def test_another_seed_drops_others(root, watched):
    other = watch(settings(root, root / "other", seed=1))
    assert [key.examples.tolist() for key in other.keys] != [key.examples.tolist() for key in watched.keys]
    for name, calls in watched.kept.items():
        share = SHARES[part(name)]
        pairs = [one[: len(two)] == two[: len(one)] for one, two in zip(calls, other.kept[name], strict=True)]
        together = torch.cat(pairs).float()
        by_chance = share**2 + (1 - share) ** 2
        spread = (by_chance * (1 - by_chance) / len(together)) ** 0.5
        assert float(together.mean()) == pytest.approx(by_chance, abs=4.5 * spread), name


def test_nothing_is_dropped_in_validation(watched):
    assert watched.evaluated.keys() == watched.kept.keys()
    assert all(all(calls) for calls in watched.evaluated.values())
    assert set(watched.attention[False]) == {0.0}


# ─── batch norm, gradients, the start ────────────────────────────────────────────────────────────────────


def test_batch_norm_sees_each_view_by_itself(watched):
    assert watched.passes == {
        "text_mapping.norm.num_batches_tracked": VIEWS["text"] * STEPS,
        "video_mapping.norm.num_batches_tracked": VIEWS["video"] * STEPS,
    }


def test_gradients_are_clipped_to_the_published_norm(root, watched):
    assert watched.norms == pytest.approx([2.0] * STEPS, rel=1e-4)  # losses are sums: all are larger before
    config = settings(root, root / "unclipped")
    loose = replace(config, optimizer=replace(config.optimizer, clip=1e9))
    assert min(watch(loose).norms) > 2.5


def test_weights_begin_as_published(watched):
    """Uniform within PyTorch's bounds for the GRU and the convolutions, Xavier's for the mappings."""
    config = watched.config
    pairs = read_training_pairs(config.open_collection(), config.as_scenario())
    video = replace(config.model.video, gru_size=64, filters=64)
    model = build_model(
        replace(config, model=replace(config.model, video=video, embedding_size=256)), pairs, SIZE
    )
    for name, weights in model.video_encoder.gru.named_parameters():
        assert_uniform(weights, 64**-0.5, name)
    for window, convolution in zip(video.windows, model.video_encoder.convolutions, strict=True):
        fan_in = window * 2 * 64  # of the published two-dimensional convolution over the full width
        assert_uniform(convolution.weight, fan_in**-0.5, f"window {window}")
        assert convolution.bias.abs().max() <= fan_in**-0.5
        assert convolution.bias.std() > 0.3 * fan_in**-0.5
    for mapping in (model.text_mapping, model.video_mapping):
        linear = mapping.linear
        assert_uniform(linear.weight, (6 / (linear.in_features + linear.out_features)) ** 0.5, "mapping")
        assert not linear.bias.any()
        assert (mapping.norm.weight == 1).all()
        assert not mapping.norm.bias.any()


def assert_uniform(weights: torch.Tensor, bound: float, name: str) -> None:
    values = weights.detach().flatten()
    assert values.abs().max() <= bound * (1 + 1e-6), name
    assert values.abs().max() > 0.9 * bound, name
    assert float(values.std()) == pytest.approx(bound / 3**0.5, rel=4 / len(values) ** 0.5), name
    assert abs(float(values.mean())) < 4 * bound / (3 * len(values)) ** 0.5, name
