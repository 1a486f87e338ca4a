"""One training step of the published model: forward, backward, clip, optimizer step."""

import statistics
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks import published
from benchmarks.flop import text_flop, video_flop
from benchmarks.material import Sources, make_collection, make_model, open_training_set
from benchmarks.measure import Options, fresh, median_time, peak_gb
from benchmarks.table import Row
from benchmarks.yardstick import product_gflops
from mlcmr.data.batches import BatchKey, PairBatch
from mlcmr.losses.mlcmr import MLCMRLoss
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.schedule import make_optimizer

BATCH = 64
TARGET_SHARE = 0.55  # of the published time


def rows(options: Options) -> list[Row]:
    """Measure a default step, a step padded as published, and a step in bfloat16."""
    ours, padded, mixed = (
        fresh("benchmarks.step", **vars(options), padding=padding, mixed=mixed)
        for padding, mixed in (("masked", False), ("published", False), ("masked", True))
    )
    scaled = published.STEP_S * published.GFLOPS / ours["gflops"]
    return [
        Row(
            work=f"training step, batch {BATCH}",
            unit="s",
            **ours["time"],
            published=published.STEP_S,
            scaled=scaled,
            target=TARGET_SHARE * scaled,
            limit=1e3 * ours["tflop"] / ours["gflops"],
        ),
        Row(
            work="  beside our own code padding as published",
            unit="s",
            clock=ours["time"]["clock"],
            published=padded["time"]["clock"],
            target=TARGET_SHARE * padded["time"]["clock"],
        ),
        Row(
            work="  with --precision bf16-mixed", unit="s", **mixed["time"], published=padded["time"]["clock"]
        ),
        Row(
            work="  peak memory",
            unit="GB",
            clock=ours["peak_gb"],
            published=published.STEP_PEAK_GB,
            target=published.STEP_PEAK_GB,
        ),
    ]


def main(
    *,
    captions: str | None,
    encoder: str,
    padding: Literal["masked", "published"],
    device: str,
    repeats: int,
    mixed: bool,
    **_: Any,
) -> dict[str, Any]:
    """Seconds of a step, each time with another batch; its operations, without padding; the peak memory."""
    model = make_model(encoder, padding).to(device).train()
    with tempfile.TemporaryDirectory() as folder:
        root = make_collection(Path(folder), Sources(captions, encoder), train=200)
        examples = open_training_set(root, model.text_encoder.tokenizer)
        order = np.random.default_rng(1).permutation(len(examples))
        batches = [examples[BatchKey(0, rows)] for rows in order[: BATCH * (repeats + 1)].reshape(-1, BATCH)]
    loss = MLCMRLoss()
    config = OptimizerConfig()
    optimizer = make_optimizer(model, config)
    left = iter(batches)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            total = torch.stack(list(loss(model(next(left).to(device))).values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    time = median_time(step, repeats, threads=torch.get_num_threads())
    return {
        "time": vars(time),
        "tflop": statistics.median(_needed_flop(model, batch) for batch in batches[1:]) / 1e12,
        "peak_gb": peak_gb(),
        "gflops": product_gflops(device).alone,
    }


def _needed_flop(model: MLCMR, batch: PairBatch) -> float:
    texts = [texts for view in (batch.captions, batch.masked) for texts in view.values()]
    flop = text_flop(model, sum(int(text.lengths.sum()) for text in texts), training=True)
    for videos in (batch.video, batch.dropped):
        flop += video_flop(model, len(videos), int(videos.lengths.sum()), training=True)
    return flop
