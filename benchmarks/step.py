"""One training step of the published model: forward, backward, clip, optimizer step."""

import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.material import Sources, make_collection, make_model, open_training_set
from benchmarks.measure import median_time
from benchmarks.yardstick import product_gflops
from mlcmr.data.batches import BatchKey, PairBatch
from mlcmr.model.losses import MLCMRLoss
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.optimizer import make_optimizer

BATCH = 64


def main(
    *,
    captions: str | None,
    encoder: str,
    padding: Literal["masked", "published"],
    device: str,
    repeats: int,
    **_: Any,
) -> dict[str, Any]:
    """Measures steps on a few batches, each with other captions."""
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
        terms = loss(model(next(left).to(device)))
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    time = median_time(step, repeats)
    yardstick = product_gflops(device)
    return {
        "wall": time.wall,
        "cpu": time.cpu / torch.get_num_threads(),
        "gflops": yardstick.wall,
        "gflops_cpu": yardstick.cpu,
        "tflop": float(np.median([needed_flop(model, batch) for batch in batches])) / 1e12,
        "tokens": float(np.median([_tokens(batch) for batch in batches])),
    }


def needed_flop(model: MLCMR, batch: PairBatch) -> float:
    """The floating-point operations of the matrix products of a step, without any padding.

    A product of n vectors with a matrix of p weights takes 2·n·p, its backward pass as much again for the
    gradient of what it reads, and again for that of the weights. Attention's own products are left out
    (about 1 % with captions), and so are losses and mappings.
    """
    return _tokens(batch) * _text_flop(model) + _video_flop(model, batch)


def _tokens(batch: PairBatch) -> int:
    return sum(int(texts.lengths.sum()) for view in (batch.captions, batch.masked) for texts in view.values())


def _text_flop(model: MLCMR) -> float:
    linears = [module for module in model.text_encoder.modules() if isinstance(module, torch.nn.Linear)]
    return sum(2 * linear.weight.numel() * (3 if linear.weight.requires_grad else 1) for linear in linears)


def _video_flop(model: MLCMR, batch: PairBatch) -> float:
    encoder = model.video_encoder
    read = [weight.numel() for name, weight in encoder.gru.named_parameters() if "weight" in name]
    flop = 0.0
    for videos in (batch.video, batch.dropped):
        frames = int(videos.lengths.sum())
        flop += 2 * 3 * frames * sum(read)
        for window, convolution in zip(encoder.config.windows, encoder.convolutions, strict=True):
            places = frames + (window - 1) * len(videos)
            flop += 2 * 3 * places * sum(p.numel() for p in convolution.parameters())
    return flop
