"""Pictures: arrays of pixels, by Pillow from files, in other sizes, and to JPEG."""

import io
import math
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import UserError, reason

try:
    from PIL import Image, ImageOps
except ImportError as error:
    raise UserError("to read images needs Pillow: pip install 'mlcmr[video]'") from error

# Pillow only warns of what we refuse.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

Picture = NDArray[np.uint8]
"""RGB: height × width × 3."""

THUMBNAIL_SIDE = 320


class UnreadableFileError(UserError):
    """A file that cannot be decoded; other files can."""


def read_image(path: Path) -> Picture:
    """Reads an image file, turned as it is to be seen.

    Raises:
        UnreadableFileError: it is no image, damaged, or too large for memory.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError(f"{image.width} × {image.height} pixels")
            return np.asarray(_in_8_bits(ImageOps.exif_transpose(image)).convert("RGB"))
    except Image.DecompressionBombError as error:
        raise UnreadableFileError(f"{path}: too large an image: {error}") from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise UnreadableFileError(f"{path}: not an image that can be read: {reason(error)}") from error


def _in_8_bits(image: Image.Image) -> Image.Image:
    """The image; of 16 bits a pixel, their upper 8: Pillow would make white of all above 255."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def resize(picture: Picture, width: int, height: int) -> Picture:
    """The picture in another size."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX, reducing_gap=2)
    return np.asarray(image)


def shrink(picture: Picture) -> Picture:
    """The picture in the size of thumbnails."""
    if max(picture.shape[:2]) <= THUMBNAIL_SIDE:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR, reducing_gap=2)
    return np.asarray(image)


def jpeg(picture: Picture) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=85)
    return file.getvalue()
