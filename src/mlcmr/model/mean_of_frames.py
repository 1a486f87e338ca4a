"""The embedding of a video as the mean of the embeddings of its frames."""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mlcmr.errors import InvalidValueError
from mlcmr.model.protocol import Advance


def mean_of_frames(
    videos: Iterable[NDArray[np.float32]],
    feature_size: int,
    *,
    dimension: int | None = None,
    advance: Advance | None = None,
) -> Tensor:
    """Embed N videos by the means of the L2-normalised embeddings of their frames.

    Args:
        videos: The frame features of each video, (frames, D), which are embeddings.
        feature_size: D.
        dimension: The number of first coordinates to keep; None for all.
        advance: Called with the number of further videos that are done.

    Returns:
        (N, `dimension` or D) float32 on the CPU, L2-normalised.

    Raises:
        InvalidValueError: If a video has no frames, or features of another size.
    """
    embeddings = [torch.empty(0, dimension or feature_size)]
    for video in videos:
        frames = torch.from_numpy(np.array(video, np.float32))
        if frames.ndim != 2 or frames.shape[1] != feature_size or not len(frames):
            raise InvalidValueError(
                f"frame features of shape {tuple(frames.shape)}, expected (frames, {feature_size}) "
                "with at least one frame: extract them with the same model",
                parameter="videos",
            )
        mean = F.normalize(frames[:, :dimension].double(), dim=1).mean(dim=0, keepdim=True)
        embeddings.append(F.normalize(mean, dim=1).float())
        if advance:
            advance(1)
    return torch.cat(embeddings)
