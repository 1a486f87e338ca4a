"""The protocol of frame encoders, and the name of the feature that an encoder computes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import InvalidValueError
from mlcmr.extraction.media.images import Picture


class FrameEncoder(Protocol):
    """Anything that computes features of pictures.

    `mlcmr.testing.check_frame_encoder` checks an implementation.

    Attributes:
        name: The name that `load_encoder` opens again: `hues228`, a hub id, an absolute folder, or
            `package.module:Name`.
        feature: The name of the feature folder.
        dimension: The size of a feature.
        frames_per_feature: The number of pictures per feature: 1, or the window of a video model.
        fps: The frames per second that suit the encoder.
        batch_size: The number of features per batch that suits the encoder.
        needs_previous_frame: Whether a feature also depends on the picture before. Pictures are then encoded
            video by video; otherwise a batch may hold pictures of several videos.
    """

    name: str
    feature: str
    dimension: int
    frames_per_feature: int
    fps: float
    batch_size: int
    needs_previous_frame: bool

    def prepare(self, picture: Picture) -> NDArray[np.generic]:
        """Resize, crop and scale one picture. Several threads call this method at the same time.

        Args:
            picture: RGB, height × width × 3, of any size.

        Returns:
            An array of any shape.
        """
        ...

    def encode_prepared(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Compute the features of prepared pictures.

        Args:
            prepared: n × `frames_per_feature` prepared pictures of one shape.

        Returns:
            (n, dimension).
        """
        ...

    def encode(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Compute the features of pictures.

        Args:
            pictures: n × `frames_per_feature` pictures, RGB, height × width × 3.

        Returns:
            (n, dimension).
        """
        ...


def feature_name(name: str) -> str:
    """Return the name of the feature folder for an encoder: the last part of its hub id or folder.

    Characters that a folder name cannot hold become `_`.

    Raises:
        InvalidValueError: If no characters are left.
    """
    last = re.sub(r"[^\w.-]", "_", Path(name).name).lstrip(".")
    if not last:
        raise InvalidValueError(
            f"'{name}': cannot name a feature folder; give `feature`", parameter="feature"
        )
    return last
