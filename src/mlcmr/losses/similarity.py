"""Similarities of videos and captions inside the ranking loss, by name.

Each takes videos (V, D) and captions (C, D) and returns scores (V, C). All but `cosine` need memory for
V × C × D numbers.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def _order(videos: Tensor, captions: Tensor) -> Tensor:
    """Return minus the violation of the order "a video lies above its caption" (Vendrov et al. 2016)."""
    excess = (captions[None, :, :] - videos[:, None, :]).clamp(min=0)
    return -excess.square().sum(-1).sqrt()


def _jaccard(videos: Tensor, captions: Tensor) -> Tensor:
    """Return the sum of the smaller numbers divided by the sum of the larger numbers."""
    video, caption = videos[:, None, :], captions[None, :, :]
    return torch.minimum(video, caption).sum(-1) / torch.maximum(video, caption).sum(-1)


def _l1(videos: Tensor, captions: Tensor) -> Tensor:
    return (videos[:, None, :] - captions[None, :, :]).abs().sum(-1)


def _l2(videos: Tensor, captions: Tensor) -> Tensor:
    """Return squared Euclidean distances."""
    return (videos[:, None, :] - captions[None, :, :]).square().sum(-1)


SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda videos, captions: videos @ captions.T,
    "order": _order,
    "euclidean": lambda videos, captions: -_l2(videos, captions),
    "jaccard": _jaccard,
    "l1": lambda videos, captions: -_l1(videos, captions),
    "l2": lambda videos, captions: -_l2(videos, captions),
    # As in the published code: divided by the dimension, and without the minus, so that the farther of two
    # videos scores higher. Kept to reproduce, not to recommend.
    "l1_norm": lambda videos, captions: _l1(videos, captions) / videos.shape[1],
    "l2_norm": lambda videos, captions: _l2(videos, captions) / videos.shape[1],
}
