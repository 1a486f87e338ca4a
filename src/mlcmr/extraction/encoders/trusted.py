"""Frame encoders that a file names, and not the user."""

import os
from collections.abc import Collection

from mlcmr.extraction.encoders.base import FrameEncoder, feature_name
from mlcmr.extraction.encoders.registry import BUILT_IN, names_a_class, open_encoder
from mlcmr.model.hub import cached_model
from mlcmr.trust import is_named_model


def load_named_encoder(
    name: str, *, source: str, parameter: str, device: str = "auto", models: Collection[str] = ()
) -> FrameEncoder:
    """Open a frame encoder that a file names. Nothing that this user has not named is downloaded or imported.

    Args:
        name: The encoder; see `open_encoder`.
        source: The file that names the encoder, for messages.
        parameter: The parameter with which the user can name the encoder, for messages.
        device: `cpu`, `cuda` or `auto`.
        models: Models of the hub that may be downloaded, besides the models that this user has named before.

    Raises:
        NotFoundError: If the encoder is on the hub, and this user has not named it.
        InvalidValueError: If the encoder is code of another package that this user has not named.
        MlcmrError: If the encoder cannot be opened.
    """
    if name in models:
        return open_encoder(name, device=device, source=None)
    if name in BUILT_IN or os.path.isdir(name) or names_a_class(name) or is_named_model(name):
        return open_encoder(name, device=device, source=source)
    encoder = open_encoder(cached_model(name, parameter, "encoder"), device=device, source=source)
    encoder.name, encoder.feature = name, feature_name(name)
    return encoder
