"""What evaluation and search ask of a model."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Advance = Callable[[int], None]
"""Told, while long work goes on, how many more items are done."""


class TextVideoModel(Protocol):
    """Anything that puts texts and videos into one space."""

    def encode_texts(
        self, texts: Sequence[str], language: str, *, batch_size: int = ..., advance: Advance | None = None
    ) -> Tensor:
        """Embeds N texts of one language: (N, D) float32 on the CPU, L2-normalised."""
        ...

    def encode_videos(
        self,
        videos: Iterable[NDArray[np.float32]],
        *,
        batch_size: int = ...,
        advance: Advance | None = None,
    ) -> Tensor:
        """Embeds N videos, each given as (frames, d) features: (N, D) float32 on the CPU, L2-normalised."""
        ...


class SearchModel(TextVideoModel, Protocol):
    """What search asks besides."""

    def reads(self, text: str, language: str) -> bool:
        """Whether there is anything in a text that the model can read."""
        ...
