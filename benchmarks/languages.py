"""The cost of a caption in training in many languages, beside two; with the model of real/small.yaml."""

import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.material import DIMENSION, Sources, caption_pairs, make_collection, open_training_set
from benchmarks.measure import CHECKOUT, Options, Time, fresh, median_time
from benchmarks.table import Row
from mlcmr.data.batches import BatchKey, PairBatch, PairDataset
from mlcmr.losses.mlcmr import MLCMRLoss
from mlcmr.model.encoders.scratch import new_encoder
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training.recipes import read_recipe
from mlcmr.training.schedule import make_optimizer

BATCH = 64
LANGUAGES = (2, 3, 4, 8)


def rows(options: Options) -> list[Row]:
    """Measure a step with two languages, and the cost of a caption with more of them, all in one process."""
    found = fresh("benchmarks.languages", captions=options.captions, repeats=options.repeats)
    (first, two), *others = found.items()
    return [
        Row(work=f"training step with {first} languages, small model, per caption", unit="ms", **two),
        *(
            Row(
                work=f"  with {count} languages, beside {first}",
                unit="×",
                clock=more["clock"] / two["clock"],
                alone=more["alone"] / two["alone"],
                target=1,
            )
            for count, more in others
        ),
    ]


def main(*, captions: str | None, repeats: int, **_: Any) -> dict[str, Any]:
    """Milliseconds per caption by the number of languages; the numbers take turns."""
    config = read_recipe(CHECKOUT / "benchmarks/real/small.yaml", {})
    sources = Sources(captions, "")
    torch.manual_seed(0)
    assert config.model.text.new
    texts = [text for pair in caption_pairs(sources)[:20_000] for text in pair]
    model = MLCMR(config.model, DIMENSION, *new_encoder(config.model.text.new, texts, lowercase=True)).train()
    optimizer = make_optimizer(model, config.optimizer)
    loss = MLCMRLoss()
    with tempfile.TemporaryDirectory() as folder:
        root = make_collection(Path(folder), sources, train=200)
        dataset = open_training_set(root, model.text_encoder.tokenizer)
        batches = {count: _batch(dataset, count) for count in LANGUAGES}

    def step(batch: PairBatch) -> None:
        optimizer.zero_grad()
        torch.stack(list(loss(model(batch)).values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip)
        optimizer.step()

    times: dict[int, list[Time]] = {count: [] for count in batches}
    for turn in range(repeats + 1):
        for count, batch in batches.items():
            time = median_time(partial(step, batch), 1, threads=torch.get_num_threads(), warm_up=0)
            if turn:
                times[count].append(time)
    return {str(count): _per_caption(found, count) for count, found in times.items()}


def _batch(dataset: PairDataset, languages: int) -> PairBatch:
    """Return a batch in so many languages: every two are the English and the Chinese of further examples."""
    batch = dataset[BatchKey(0, np.arange(BATCH))]
    for number in range(2, languages):
        further = dataset[BatchKey(0, np.arange(BATCH) + number // 2 * BATCH)]
        language = ("en", "zh")[number % 2]
        name = f"{language}{number // 2}"
        batch.captions[name], batch.masked[name] = further.captions[language], further.masked[language]
    return batch


def _per_caption(times: Sequence[Time], languages: int) -> dict[str, float]:
    return {
        name: 1e3 * statistics.median(getattr(time, name) for time in times) / (BATCH * languages)
        for name in ("clock", "alone")
    }
