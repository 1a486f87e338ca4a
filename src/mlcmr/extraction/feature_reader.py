"""The frame features of single files, as `encode_files` of a model needs them."""

import os
from collections.abc import Callable

from mlcmr.data.features.frame_features import Features
from mlcmr.errors import InvalidValueError
from mlcmr.extraction.encoders.registry import BUILT_IN, open_encoder
from mlcmr.extraction.encoders.trusted import load_named_encoder
from mlcmr.extraction.extract_collection import sample_file
from mlcmr.extraction.media.sampling import Sampling


def open_feature_reader(
    encoder: str | None,
    *,
    feature: str | None = None,
    fps: float | None = None,
    num_frames: int | None = None,
    device: str = "auto",
    named_by_user: bool = True,
) -> Callable[[str | os.PathLike[str]], Features]:
    """Return a function that extracts the frame features of a file, (frames, dimension).

    Args:
        encoder: The name of the frame encoder; see `open_encoder`.
        feature: The name of the feature to extract, which stands for a built-in encoder of the same name.
        fps: The frames per second to sample,
        num_frames: or the number of frames. By default the frames per second that suit the encoder.
        device: `cpu`, `cuda` or `auto`.
        named_by_user: Whether the user has named the encoder, and not only a file.

    Raises:
        InvalidValueError: If the encoder is unknown.
        MlcmrError: If the encoder cannot be opened, or the user has not named it.
    """
    if encoder is None and feature in BUILT_IN:
        encoder = feature
    if encoder is None:
        raise InvalidValueError(
            "the model does not say which frame encoder computed its features; name it in `encoder`",
            parameter="encoder",
        )
    if named_by_user:
        opened = open_encoder(encoder, device=device, source=None)
    else:
        opened = load_named_encoder(
            encoder, source="config.json of the model", parameter="encoder", device=device
        )
    sampling = Sampling(opened.fps if fps is None and num_frames is None else fps, num_frames)
    return lambda path: sample_file(path, opened, sampling)[1]
