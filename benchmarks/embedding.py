"""Embedding captions and videos with the published model, without gradients."""

from typing import Any, Literal

import numpy as np
import torch

from benchmarks import published
from benchmarks.flop import text_flop, video_flop
from benchmarks.material import DIMENSION, FRAMES, LANGUAGES, Sources, caption_pairs, make_model
from benchmarks.measure import Options, fresh, median_time
from benchmarks.table import Row
from benchmarks.yardstick import product_gflops

COUNT = 64


def rows(options: Options) -> list[Row]:
    """64 captions in each of two languages; 64 videos."""
    ours, padded = (
        fresh("benchmarks.embedding", **vars(options), padding=padding) for padding in ("masked", "published")
    )
    table = [
        Row(
            work=f"embedding {work}",
            unit="s",
            **ours[name]["time"],
            published=seconds,
            scaled=seconds * published.GFLOPS / ours["gflops"],
            limit=ours[name]["flop"] / 1e9 / ours["gflops"],
        )
        for name, work, seconds in (
            ("texts", f"{COUNT} × 2 captions", published.EMBED_CAPTIONS_S),
            ("videos", f"{COUNT} videos of {FRAMES} frames", published.EMBED_VIDEOS_S),
        )
    ]
    table.insert(
        1,
        Row(
            work="  beside our own code padding as published",
            unit="s",
            **ours["texts"]["time"],
            published=padded["texts"]["time"]["alone"],
        ),
    )
    return table


def main(
    *,
    captions: str | None,
    encoder: str,
    padding: Literal["masked", "published"],
    device: str,
    repeats: int,
    **_: Any,
) -> dict[str, Any]:
    """Seconds and, without padding, operations of each."""
    model = make_model(encoder, padding).to(device)
    pairs = caption_pairs(Sources(captions, encoder))[:COUNT]
    texts = {language: [pair[place] for pair in pairs] for place, language in enumerate(LANGUAGES)}
    videos = np.random.default_rng(0).standard_normal((COUNT, FRAMES, DIMENSION), np.float32)
    tokenize = model.text_encoder.tokenize
    tokens = sum(len(ids) for name, some in texts.items() for ids in tokenize(some, [name] * COUNT))

    def embed_texts() -> None:
        for language, some in texts.items():
            model.encode_texts(some, language, batch_size=COUNT)

    def embed_videos() -> None:
        model.encode_videos(videos, batch_size=COUNT)

    turns, threads = 2 * repeats + 1, torch.get_num_threads()
    return {
        "texts": {
            "time": vars(median_time(embed_texts, turns, threads=threads)),
            "flop": text_flop(model, tokens),
        },
        "videos": {
            "time": vars(median_time(embed_videos, turns, threads=threads)),
            "flop": video_flop(model, COUNT, COUNT * FRAMES),
        },
        "gflops": product_gflops(device).alone,
    }
