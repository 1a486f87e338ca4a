"""Evaluate a model that mlcmr does not know with the same captions, metrics and table.

    pip install mlcmr
    python evaluate_another_model.py VisualSearch mine clip-vit-base-patch16

The features are those of `mlcmr extract --encoder openai/clip-vit-base-patch16`. The model needs no training:
the embedding of a video is the mean over its frames.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

import mlcmr
from mlcmr.data import DataConfig


class MeanOfFrames:
    """Any object with these two methods can be evaluated. They return rows of length 1."""

    def __init__(self, name: str) -> None:
        self.model = AutoModel.from_pretrained(name).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(name)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], *_: Any, **__: Any) -> Tensor:
        """Return one embedding for each text, (N, D); the second argument is the language."""
        embedded = []
        for text in texts:  # one by one, so that no padding is needed
            tokens = self.tokenizer(text, truncation=True, return_tensors="pt")
            output = self.model.get_text_features(**tokens)
            embedded.append(getattr(output, "pooler_output", output))
        return normalize(torch.cat(embedded), dim=1)

    def encode_videos(self, videos: Iterable[np.ndarray], **__: Any) -> Tensor:
        """Return one embedding for each video, given as (frames, D) features: (N, D)."""
        return normalize(torch.stack([torch.from_numpy(frames).mean(dim=0) for frames in videos]), dim=1)


def main(rootpath: str, collection: str, feature: str, model: str = "openai/clip-vit-base-patch16") -> None:
    """Evaluate on the test split of a collection."""
    data = DataConfig(rootpath=rootpath, collection=collection, feature=feature)
    results = mlcmr.evaluate(MeanOfFrames(model), data, targets=["en"])
    print(results)


if __name__ == "__main__":
    main(*sys.argv[1:4])
