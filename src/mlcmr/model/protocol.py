"""The protocols of models, as evaluation and search use them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a plan of an index names these protocols and does not wait for torch
    from torch import Tensor

Advance = Callable[[int], object]
"""Called during long work with the number of further items that are done, such as `Task.advance`."""


class TextVideoModel(Protocol):
    """Anything that puts texts and videos into one space."""

    def encode_texts(
        self,
        texts: Sequence[str],
        language: str,
        /,
        *,
        batch_size: int = ...,
        advance: Advance | None = None,
    ) -> "Tensor":
        """Embed N texts of one language: (N, D) float32 on the CPU, L2-normalised."""
        ...

    def encode_videos(
        self,
        videos: Iterable[NDArray[np.float32]],
        *,
        batch_size: int = ...,
        advance: Advance | None = None,
    ) -> "Tensor":
        """Embed N videos, given as (frames, d) features: (N, D) float32 on the CPU, L2-normalised."""
        ...


class SearchModel(TextVideoModel, Protocol):
    """A model for an index and for search in it.

    Attributes:
        feature_size: d, the size of the frame features that the model takes.
    """

    feature_size: int

    def can_encode(self, text: str, language: str, /) -> bool:
        """Return whether the model knows at least one token of a text; other queries are refused."""
        ...

    def fingerprint(self) -> str:
        """Return a text that changes with the weights: only vectors of the same weights can be compared."""
        ...
