"""The embeddings that a model returns for a training batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class ViewEmbeddings:
    """The embeddings of a batch of B examples; all are (B, D), and row i of each belongs to example i.

    Attributes:
        video: The whole videos.
        dropped: The videos with most frames dropped.
        captions: The captions by language.
        masked: The captions with some words masked, by language.
    """

    video: Tensor
    dropped: Tensor
    captions: Mapping[str, Tensor]
    masked: Mapping[str, Tensor]

    def __repr__(self) -> str:
        examples, size = self.video.shape
        return f"{type(self).__name__}({examples} × {size}, {', '.join(self.captions)})"

    def upcast(self) -> "ViewEmbeddings":
        """Return the embeddings in float32; those in float64 stay in float64."""
        return ViewEmbeddings(
            _upcast(self.video),
            _upcast(self.dropped),
            {language: _upcast(texts) for language, texts in self.captions.items()},
            {language: _upcast(texts) for language, texts in self.masked.items()},
        )


def _upcast(embeddings: Tensor) -> Tensor:
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
