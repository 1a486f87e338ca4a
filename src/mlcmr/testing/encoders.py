"""The contract of a frame encoder."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mlcmr.extraction.encoders.base import FrameEncoder
from mlcmr.extraction.encoders.registry import require_encoder
from mlcmr.extraction.media.images import Picture

_SIZES = ((64, 64), (48, 96), (120, 40), (1, 1), (3, 300))
"""Heights and widths of pictures."""
_ROUNDING = 1e-4
"""The largest difference between features from batches of different sizes."""


def check_frame_encoder(encoder: FrameEncoder) -> None:
    """Check that a frame encoder can extract features.

    Args:
        encoder: The frame encoder.

    Raises:
        AssertionError: If a property of a frame encoder does not hold.
        InvalidValueError: If an attribute or a method is missing.
    """
    require_encoder(encoder)
    for attribute in ("name", "feature"):
        value = getattr(encoder, attribute)
        assert isinstance(value, str), f"{attribute!r} is a text"
        assert value, f"{attribute!r} is not empty"
    for attribute in ("dimension", "frames_per_feature", "batch_size"):
        value = getattr(encoder, attribute)
        assert isinstance(value, int), f"{attribute!r} is a whole number"
        assert value >= 1, f"{attribute!r} is 1 or more"
    assert isinstance(encoder.fps, (int, float)), "'fps' is a number"
    assert encoder.fps > 0, "'fps' is positive"
    for size in _SIZES:
        _check_size(encoder, size)
    _check_rows(encoder)
    _check_threads(encoder)


def _check_size(encoder: FrameEncoder, size: tuple[int, int]) -> None:
    """Check that pictures of a size give finite features, which depend on the pictures alone."""
    where = f"for pictures of {size[1]} × {size[0]} pixels"
    pictures = _pictures(2 * encoder.frames_per_feature, size)
    before = [picture.copy() for picture in pictures]
    features = encoder.encode(pictures)
    assert isinstance(features, np.ndarray), f"features are a NumPy array, not {type(features).__name__}"
    assert features.shape == (2, encoder.dimension), f"features are (n, dimension) {where}"
    assert features.dtype == np.float32, f"features are float32 {where}"
    assert np.isfinite(features).all(), f"features are finite numbers {where}"
    for picture, original in zip(pictures, before, strict=True):
        assert np.array_equal(picture, original), f"an encoder does not change pictures {where}"
    assert np.array_equal(features, encoder.encode(pictures)), f"equal pictures give equal features {where}"
    prepared = [encoder.prepare(picture) for picture in pictures]
    for array in prepared:
        assert isinstance(array, np.ndarray), f"'prepare' returns a NumPy array, not {type(array).__name__}"
    assert len({(array.shape, array.dtype) for array in prepared}) == 1, f"prepared shapes are equal {where}"
    np.testing.assert_array_equal(
        encoder.encode_prepared(prepared), features, f"'encode' is 'prepare', then 'encode_prepared' {where}"
    )


def _check_rows(encoder: FrameEncoder) -> None:
    """Check that a feature depends on its own pictures, and on the picture before if the encoder says so."""
    window = encoder.frames_per_feature
    pictures = _pictures(6 * window, _SIZES[0])
    together = encoder.encode(pictures)
    assert not np.allclose(together[0], together[1]), "different pictures give different features"
    for row in range(1, 6):
        if encoder.needs_previous_frame:
            alone = encoder.encode(pictures[(row - 1) * window : (row + 1) * window])[1]
            message = "a feature depends on its own pictures and the picture before, not on others"
        else:
            alone = encoder.encode(pictures[row * window : (row + 1) * window])[0]
            message = "a feature does not depend on other pictures, unless 'needs_previous_frame' is True"
        np.testing.assert_allclose(alone, together[row], rtol=0, atol=_ROUNDING, err_msg=message)


def _check_threads(encoder: FrameEncoder) -> None:
    pictures = _pictures(16, _SIZES[1])
    expected = [encoder.prepare(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(encoder.prepare, pictures), expected, strict=True):
            np.testing.assert_array_equal(one, other, "several threads can call 'prepare' at the same time")


def _pictures(count: int, size: tuple[int, int]) -> list[Picture]:
    """Return different pictures, each with a colour of its own and noise."""
    random = np.random.default_rng(0)
    colours = random.integers(40, 216, (count, 1, 1, 3))
    noise = random.integers(-40, 40, (count, *size, 3))
    return [np.asarray(picture, np.uint8) for picture in colours + noise]
