"""What turns pictures into frame features: a light description that needs nothing, or a pretrained model."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlcmr.data.sample.describe import DIMENSION, describe
from mlcmr.data.sample.draw import SIDE
from mlcmr.data.sample.make import FEATURE
from mlcmr.data.sample.video import FPS
from mlcmr.errors import UserError
from mlcmr.extraction.pictures import Picture, resize

LIGHT = FEATURE
"""The name of the encoder that is built in."""


class FrameEncoder(Protocol):
    """Anything that turns pictures into features.

    Attributes:
        name: What `load_encoder` opens again: `hues228`, a hub id, or an absolute folder.
        feature: The name of the feature folder.
        dimension: The size of a feature.
        frames_per_feature: How many pictures one feature is made from: 1, or a video model's window.
        rate: Frames a second that suit it.
        batch_size: Features at a time that suit it.
        looks_back: Whether a feature depends on the picture before it too; such pictures are encoded video by
            video, others together whatever video they are of.
    """

    name: str
    feature: str
    dimension: int
    frames_per_feature: int
    rate: float
    batch_size: int
    looks_back: bool

    def prepare(self, picture: Picture) -> NDArray[np.generic]:
        """Resizes, crops and scales one picture, an array of any shape; called from several threads."""
        ...

    def encode_prepared(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Features of prepared pictures of one shape, n × `frames_per_feature` of them: (n, dimension)."""
        ...

    def encode(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Features of pictures, RGB, height × width × 3, n × `frames_per_feature` of them: (n, dimension)."""
        ...


class LightEncoder:
    """Colours, their places, edges and motion: the description that the sample collection is made with.

    It needs no download and hardly any time, and is good for the drawn clips of the sample. Of real footage
    it tells little; take CLIP or SigLIP there.
    """

    name = feature = LIGHT
    dimension = DIMENSION
    frames_per_feature = 1
    rate = float(FPS)
    batch_size = 64
    looks_back = True  # motion is what has changed since the picture before

    def prepare(self, picture: Picture) -> NDArray[np.uint8]:
        """The picture in the number of pixels of the sample's, sides multiples of 4."""
        height, width = picture.shape[:2]
        scale = SIDE / math.sqrt(width * height)
        return resize(picture, _multiple_of_4(width * scale), _multiple_of_4(height * scale))

    def encode_prepared(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Describes consecutive frames of one video."""
        return describe(np.stack(prepared))

    def encode(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Describes consecutive frames of one video."""
        return self.encode_prepared([self.prepare(picture) for picture in pictures])


def _multiple_of_4(length: float) -> int:
    return max(round(length / 4), 1) * 4


def load_encoder(name: str | Path, *, device: str = "auto") -> FrameEncoder:
    """Opens an encoder.

    Args:
        name: `hues228`, which is built in; else a Hugging Face image or video model by hub id or folder.
        device: `cpu`, `cuda` or `auto`, for models.

    Raises:
        UserError: there is no such model, it does not take images or video, or the device is not there.
    """
    if str(name) == LIGHT:
        if device not in ("auto", "cpu"):  # it computes where it is, but a wrong word is one
            from mlcmr.model.device import find_device  # noqa: PLC0415 – torch waits until it is needed

            find_device(device)
        return LightEncoder()
    from mlcmr.extraction.pretrained import PretrainedEncoder  # noqa: PLC0415 – torch waits until it is needed

    folder = Path(name).expanduser()
    return PretrainedEncoder(str(folder.resolve()) if os.path.isdir(folder) else str(name), device=device)


def feature_name(name: str) -> str:
    """The feature folder's name for a hub id or folder: its last part, with what folders do not take as `_`.

    Raises:
        UserError: nothing is left of it.
    """
    last = re.sub(r"[^\w.-]", "_", Path(name).name).lstrip(".")
    if not last:
        raise UserError(f"'{name}': cannot name a feature folder; give --feature")
    return last
