"""Batches are the published ones, and the same whoever makes them, whenever."""

import json
from dataclasses import fields
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.data.batches import (
    BatchKey,
    EpochSampler,
    PairBatch,
    PairDataset,
    TokenBatch,
    VideoBatch,
    pair_loader,
)
from mlcmr.data.collection import open_collection
from mlcmr.data.features.frame_features import write_features
from mlcmr.data.language_sampling import LanguageSampler
from mlcmr.data.scenarios import ExampleCaptions, Scenario, ScenarioKind, TrainingPairs, read_training_pairs
from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.model.encoders.text import CaptionTokenizer, open_tokenizer
from tests.helpers.tiny import FEATURE, write_collection

MASK = 103  # in the published vocabulary


@pytest.fixture(scope="module")
def tokenizer(reference_data) -> CaptionTokenizer:
    folder = reference_data("data/bert-base-multilingual-cased")
    return CaptionTokenizer(open_tokenizer(folder, lowercase=True))


# ─── the published arrays ────────────────────────────────────────────────────────────────────────────────


def test_tokens_are_the_published_ones(reference_data, tokenizer):
    items = json.loads(reference_data("golden/tokens.json").read_text(encoding="utf-8"))["items"]
    languages = ["en" if item["type"] == "EN" else "zh" for item in items]
    ids = tokenizer([item["caption"] for item in items], languages)
    assert len(ids) == 287
    for item, ours in zip(items, ids, strict=True):
        assert ours.tolist() == item["ids"], item["caption"]


@pytest.mark.parametrize(
    ("name", "scenario"),
    [
        ("train_parallel_human", Scenario(ScenarioKind.PARALLEL)),
        ("train_parallel_translate_zh", Scenario(ScenarioKind.PSEUDO_PARALLEL, target="zh")),
        ("train_unparallel", Scenario(ScenarioKind.UNPARALLEL)),
    ],
)
def test_batches_are_the_published_ones(reference_data, tokenizer, name, scenario):
    """All that is not drawn at random is equal, and as much is drawn."""
    with np.load(reference_data("golden/data.npz")) as arrays:
        published = {
            key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")
        }
    collection = open_collection(reference_data("golden/data"), "vatex")
    pairs = read_training_pairs(collection, scenario)
    dataset = PairDataset(pairs, collection.open_features("feat16"), tokenizer, MASK, seed=0)
    examples = published["idxs"]
    assert sorted(examples.tolist()) == list(range(len(dataset)))
    assert [pairs.videos[example] for example in examples] == published["video_ids"].tolist()
    batch = dataset[BatchKey(0, examples)]

    lengths = batch.video.lengths.clamp(max=64)
    assert lengths.tolist() == published["video/lengths"].tolist()
    # Added up in another order than the published code does.
    np.testing.assert_array_equal(batch.video.means, published["video/mean_origin"])
    for video, length, theirs in zip(
        torch.split(batch.video.frames, batch.video.lengths.tolist()),
        lengths.tolist(),
        published["video/frames"],
        strict=True,
    ):
        assert np.array_equal(video[:length], theirs[:length])
    assert batch.dropped.lengths.tolist() == published["video_masked/lengths"].tolist()

    columns = {"mixed": "en"} if scenario.kind == ScenarioKind.UNPARALLEL else {"en": "en", "zh": "zh"}
    assert list(batch.captions) == list(columns)
    for ours, theirs in columns.items():
        real = published[f"{theirs}/mask"] > 0
        assert batch.captions[ours].lengths.tolist() == real.sum(1).tolist()
        assert batch.captions[ours].ids.tolist() == published[f"{theirs}/ids"][real].tolist()
        masked = published[f"{theirs}_masked/ids"]
        masks = [
            int((ids == MASK).sum())
            for ids in torch.split(batch.masked[ours].ids, batch.masked[ours].lengths.tolist())
        ]
        assert masks == (masked == MASK).sum(1).tolist()
        assert sum(masks) > 10
        changed = batch.masked[ours].ids != batch.captions[ours].ids
        assert (batch.masked[ours].ids[changed] == MASK).all()


# ─── the same everywhere ─────────────────────────────────────────────────────────────────────────────────


def tensors(batch: PairBatch) -> dict[str, torch.Tensor]:
    parts = {
        "video": batch.video,
        "dropped": batch.dropped,
        **{f"captions {name}": texts for name, texts in batch.captions.items()},
        **{f"masked {name}": texts for name, texts in batch.masked.items()},
    }
    return {
        f"{name}.{field.name}": getattr(part, field.name)
        for name, part in parts.items()
        for field in fields(part)
    }


def assert_equal(batch: PairBatch, other: PairBatch) -> None:
    ours, theirs = tensors(batch), tensors(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    assert torch.equal(batch.video_ids, other.video_ids)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_collection(tmp_path_factory.mktemp("batches"))


def tokenize(texts, languages):
    """One id per character, special ones around: as good as any for these tests."""
    return [np.array([1, *(10 + ord(c) % 500 for c in text), 2], np.int32) for text in texts]


@pytest.fixture(scope="module")
def dataset(folder) -> PairDataset:
    collection = open_collection(folder.parent, folder.name)
    pairs = read_training_pairs(collection, Scenario(ScenarioKind.PARALLEL))
    return PairDataset(pairs, collection.open_features(FEATURE), tokenize, 3, seed=5)


def test_a_batch_is_its_examples(dataset):
    """An example does not depend on the other examples of its batch."""
    together = dataset[BatchKey(2, np.array([7, 0, 33, 12]))]
    for place, example in enumerate((7, 0, 33, 12)):
        alone = tensors(dataset[BatchKey(2, np.array([example]))])
        for name, tensor in tensors(together).items():
            part, attribute = name.rsplit(".", 1)
            lengths = tensors(together)[f"{part}.lengths"].tolist()
            sizes = lengths if attribute in {"frames", "ids"} else [1] * len(lengths)
            assert torch.equal(torch.split(tensor, sizes)[place], alone[name]), name
    assert len(together) == 4


def test_examples_of_one_video_share_its_number(folder, dataset):
    collection = open_collection(folder.parent, folder.name)
    examples = np.array([5, 0, 40, 1, 4])
    ids = dataset[BatchKey(0, examples)].video_ids
    names = read_training_pairs(collection, Scenario(ScenarioKind.PARALLEL)).videos
    assert len({names[example] for example in examples}) < len(examples)
    features = collection.open_features(FEATURE)
    assert [features.videos[number] for number in ids] == [names[example] for example in examples]
    assert ids.dtype == torch.int64


def test_dropped_frames_are_some_of_the_frames_in_order(dataset):
    batch = dataset[BatchKey(0, np.arange(len(dataset)))]
    whole = torch.split(batch.video.frames, batch.video.lengths.tolist())
    dropped = torch.split(batch.dropped.frames, batch.dropped.lengths.tolist())
    for video, kept, mean in zip(whole, dropped, batch.dropped.means, strict=True):
        rows = [int((video == frame).all(1).nonzero()) for frame in kept]
        assert rows == sorted(rows)
        assert len(rows) == len(video) - int(0.8 * len(video))
        torch.testing.assert_close(mean, kept.mean(0))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(dataset, workers):
    def batches(count: int) -> list[PairBatch]:
        sampler = EpochSampler(len(dataset), 10, seed=5)
        loader = pair_loader(dataset, sampler, workers=count)
        found = []
        for epoch in range(2):
            sampler.set_epoch(epoch)
            found += list(loader)
        return found

    ours, theirs = batches(workers), batches(0)
    assert len(ours) == len(theirs) == 10
    for batch, other in zip(ours, theirs, strict=True):
        assert_equal(batch, other)


def test_another_epoch_or_seed_draws_others(folder, dataset):
    key = BatchKey(0, np.arange(len(dataset)))
    first = tensors(dataset[key])
    collection = open_collection(folder.parent, folder.name)
    pairs = read_training_pairs(collection, Scenario(ScenarioKind.PARALLEL))
    seeded = PairDataset(pairs, collection.open_features(FEATURE), tokenize, 3, seed=6)
    for other in (tensors(dataset[BatchKey(1, key.examples)]), tensors(seeded[key])):
        for name, tensor in first.items():
            same = tensor.shape == other[name].shape and torch.equal(tensor, other[name])
            drawn = name in {"dropped.frames", "dropped.means", "masked en.ids", "masked zh.ids"}
            assert same != drawn, name


def test_captions_are_tokenized_once(folder):
    asked: list[str] = []

    def counting(texts, languages):
        asked.extend(texts)
        return tokenize(texts, languages)

    collection = open_collection(folder.parent, folder.name)
    pairs = read_training_pairs(collection, Scenario(ScenarioKind.PARALLEL))
    dataset = PairDataset(pairs, collection.open_features(FEATURE), counting, 3, seed=0)
    for epoch in range(3):
        for examples in (np.arange(20), np.arange(10, 48), np.array([3, 3])):
            dataset[BatchKey(epoch, examples)]
    assert sorted(asked) == sorted([*pairs.captions["en"].texts, *pairs.captions["zh"].texts])


def test_examples_without_captions(folder, dataset):
    """Captions that are missing leave the other rows as they are, in every batch."""
    collection = open_collection(folder.parent, folder.name)
    pairs = read_training_pairs(collection, Scenario(ScenarioKind.PARALLEL))
    present = [0, 3, 4, 7, 33, 40]
    chinese = pairs.captions["zh"]
    few = ExampleCaptions([chinese.texts[row] for row in present], ["zh"] * len(present), present)
    gappy = TrainingPairs(pairs.videos, {"en": pairs.captions["en"], "zh": few})
    with_gaps = PairDataset(gappy, collection.open_features(FEATURE), tokenize, 3, seed=5)
    for examples in ([33, 2, 7, 12, 0], [1, 2], [4, 3]):
        batch = with_gaps[BatchKey(2, np.array(examples))]
        whole = dataset[BatchKey(2, np.array(examples))]
        has = [example in present for example in examples]
        assert list(batch.has_caption) == ["zh"]
        assert batch.has_caption["zh"].tolist() == has
        for view in ("captions", "masked"):
            english, chinese = getattr(batch, view)["en"], getattr(batch, view)["zh"]
            assert torch.equal(english.ids, getattr(whole, view)["en"].ids)
            each = torch.split(getattr(whole, view)["zh"].ids, getattr(whole, view)["zh"].lengths.tolist())
            assert chinese.ids.tolist() == [
                token for ids, there in zip(each, has, strict=True) if there for token in ids.tolist()
            ]
            assert len(chinese) == sum(has)


def test_a_batch_has_the_languages_of_its_key(dataset):
    examples = np.array([7, 0])
    whole, one = dataset[BatchKey(1, examples)], dataset[BatchKey(1, examples, ("zh",))]
    assert list(one.captions) == list(one.masked) == ["zh"]
    assert torch.equal(one.masked["zh"].ids, whole.masked["zh"].ids)


def test_a_video_without_features(tmp_path):
    write_features(tmp_path / "feat", [(["seen_0"], np.ones((1, 4), np.float32))])
    from mlcmr.data.features.frame_features import open_features

    pairs = TrainingPairs(["seen", "unseen"], {"en": ExampleCaptions(["a", "b"], ["en", "en"])})
    with pytest.raises(NotFoundError, match="no video 'unseen'"):
        PairDataset(pairs, open_features(tmp_path / "feat"), tokenize, 3, seed=0)


# ─── the order of an epoch ───────────────────────────────────────────────────────────────────────────────

SIZES = {"examples": st.integers(1, 60), "batch_size": st.integers(1, 20), "seed": st.integers(0, 2**64 - 1)}


def epoch_of(sampler: EpochSampler, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert all(key.epoch == epoch for key in keys)
    return [key.examples.tolist() for key in keys]


@given(**SIZES, epoch=st.integers(0, 100))
def test_an_epoch_is_every_example_once(examples, batch_size, seed, epoch):
    batches = epoch_of(EpochSampler(examples, batch_size, seed), epoch)
    assert sorted(chain.from_iterable(batches)) == list(range(examples))
    assert len(batches) == len(EpochSampler(examples, batch_size, seed))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert 0 < len(batches[-1]) <= batch_size


@given(**SIZES, data=st.data())
def test_a_continued_epoch_goes_on_exactly(examples, batch_size, seed, data):
    whole = EpochSampler(examples, batch_size, seed)
    epoch = data.draw(st.integers(0, 5))
    done = data.draw(st.integers(0, len(whole)))
    continued = EpochSampler(examples, batch_size, seed)
    continued.resume(epoch, done)
    assert [key.examples.tolist() for key in continued] == epoch_of(whole, epoch)[done:]
    for following in (epoch + 1, epoch + 2):
        assert epoch_of(continued, following) == epoch_of(whole, following)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 6))
def test_together_they_see_each_example_once_an_epoch(examples, batch_size, count):
    if min(examples, batch_size) < count:
        with pytest.raises(InvalidValueError, match=f": {count} processes cannot share"):
            EpochSampler(examples, batch_size, 3, 0, count)
        return
    samplers = [EpochSampler(examples, batch_size, 3, process, count) for process in range(count)]
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])}  # or some would wait for the others
    assert all(len(key.examples) for part in parts for key in part)
    together = [np.concatenate([key.examples for key in keys]).tolist() for keys in zip(*parts, strict=True)]
    assert sorted(chain.from_iterable(together)) == list(range(examples))
    one = [key.examples.tolist() for key in EpochSampler(examples, batch_size, 3)]
    assert list(chain.from_iterable(together)) == list(chain.from_iterable(one))
    if examples % batch_size == 0 or examples % batch_size >= count:  # else the rest joins the batch before
        assert together == one


def test_all_processes_draw_the_languages_of_one(dataset):
    """Also in an epoch that is continued."""
    languages = LanguageSampler(("en", "zh", "de"), 2, seed=3)
    whole = EpochSampler(40, 4, 3, languages=languages)
    whole.set_epoch(2)
    drawn = [key.languages for key in whole]
    assert len(set(drawn)) == 3
    for process in range(2):
        part = EpochSampler(40, 4, 3, process, 2, languages=languages)
        part.resume(2, 4)
        assert [key.languages for key in part] == drawn[4:]
    assert {key.languages for key in EpochSampler(40, 4, 3)} == {None}


def test_epochs_and_seeds_shuffle_anew():
    orders = {
        str(epoch_of(EpochSampler(50, 50, seed), epoch))
        for seed in (0, 1, 2**63, 2**64 - 1)
        for epoch in (0, 1, 2)
    }
    assert len(orders) == 12
    assert str([list(range(50))]) not in orders


def test_every_place_is_as_likely():
    """Over many epochs, example 0 is as often in each of the 10 places: a chi-square test."""
    sampler = EpochSampler(10, 10, seed=0)
    places = [epoch_of(sampler, epoch)[0].index(0) for epoch in range(2000)]
    counts = np.bincount(places, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # 9 degrees of freedom: exceeded once in a thousand


# ─── moving ──────────────────────────────────────────────────────────────────────────────────────────────


def test_batches_of_texts_join():
    first = TokenBatch.of([np.array([1, 2], np.int32), np.array([3], np.int32)])
    second = TokenBatch.of([np.array([4, 5, 6], np.int32)])
    both = TokenBatch.concatenate([first, second])
    assert both.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert both.lengths.tolist() == [2, 1, 3]
    assert len(both) == 3
    assert both.ids.dtype == torch.int64


def test_moving_keeps_lengths_here(dataset):
    batch = dataset[BatchKey(0, np.arange(3))]
    moved = tensors(batch.to("meta"))
    for name, tensor in moved.items():
        assert tensor.device.type == ("cpu" if name.endswith("lengths") else "meta")
    assert batch.to("meta").video_ids.device.type == "meta"
    assert isinstance(batch.to("cpu").video, VideoBatch)
    assert_equal(batch.to("cpu"), batch)
