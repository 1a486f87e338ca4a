"""Training batches of VATEX's shape: 32 frames × 1024 numbers, two languages, both views, in one process."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import published
from benchmarks.material import DIMENSION, FRAMES, Sources, make_collection, open_training_set
from benchmarks.measure import Options, fresh
from benchmarks.table import Row
from benchmarks.yardstick import copy_gbs
from mlcmr.data.batches import EpochSampler, pair_loader
from mlcmr.data.masking import DROPPED_FRAMES
from mlcmr.model.encoders.text import open_tokenizer

VIDEOS = 1500  # 200 MB of features: more than any cache holds
BATCH = 64


def rows(options: Options) -> list[Row]:
    """Measure an epoch that tokenizes, and an epoch that does not."""
    measured = fresh("benchmarks.training_data", **vars(options))
    kept = FRAMES - int(DROPPED_FRAMES * FRAMES)
    # Both views are read once and written once.
    sample_bytes = 2 * 4 * DIMENSION * (FRAMES + kept)
    limit = 1e9 * measured["copy_gbs"] / sample_bytes
    return [
        Row(
            work=f"training data: {work}",
            unit="samples/s",
            clock=clock,
            alone=alone,
            published=published.DATA_SAMPLES,
            target=5000,
            limit=limit,
        )
        for work, (clock, alone) in (
            ("first epoch, which tokenizes", measured["first"]),
            ("every later epoch", measured["later"]),
        )
    ]


def main(*, captions: str | None, encoder: str, repeats: int, **_: Any) -> dict[str, Any]:
    """Return samples per second of wall time and of processor time."""
    tokenizer = open_tokenizer(encoder, lowercase=True)
    with tempfile.TemporaryDirectory() as folder:
        root = make_collection(Path(folder), Sources(captions, encoder), train=VIDEOS)
        examples = open_training_set(root, tokenizer)
        sampler = EpochSampler(len(examples), BATCH, seed=0)
        clocks, processors = [], []
        for epoch in range(1 + repeats):
            sampler.set_epoch(epoch)
            clock, processor = time.perf_counter(), time.process_time()
            count = sum(len(batch) for batch in pair_loader(examples, sampler))
            clocks.append(count / (time.perf_counter() - clock))
            processors.append(count / (time.process_time() - processor))
    return {
        "first": (clocks[0], processors[0]),
        "later": (statistics.median(clocks[1:]), statistics.median(processors[1:])),
        "copy_gbs": copy_gbs().alone,
    }
