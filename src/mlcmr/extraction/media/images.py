"""Images: read by Pillow into arrays of pixels, resized, and encoded as JPEG."""

import ctypes
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import CorruptFileError, MissingDependencyError, MlcmrError, reason, unreadable

try:
    from pi_heif import register_heif_opener
    from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError
except ImportError as error:
    raise MissingDependencyError(f"images need {error.name}: pip install 'mlcmr[video]'") from error

# Without this list Pillow would start Ghostscript for PostScript, and read formats that are not photographs.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "JPEG2000")
"""The image formats that are read. AVIF stands before HEIF: files of both may begin with `mif1`."""

ANIMATED_FORMATS = frozenset(["PNG", "GIF", "WEBP", "AVIF"])
"""The formats whose further images are frames. In other formats they are pages, or views of one scene."""

register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)

# A damaged file raises an error, which becomes one line of ours. The warnings add nothing for users.
warnings.filterwarnings("ignore", module=r"(PIL|pi_heif)\b")
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
logging.getLogger("PIL").addHandler(logging.NullHandler())
logging.getLogger("PIL").propagate = False
with suppress(OSError, AttributeError):  # if Pillow contains no libtiff
    _libtiff = ctypes.CDLL(Image.core.__file__)  # type: ignore[attr-defined]
    # libtiff prints its errors to the terminal, besides passing them to Pillow.
    _libtiff.TIFFSetErrorHandler(None)
    _libtiff.TIFFSetWarningHandler(None)

Picture = NDArray[np.uint8]
"""RGB: height × width × 3."""

THUMBNAIL_SIDE = 320
"""The longer side of a thumbnail, in pixels."""

_MOST_BYTES = 1 << 30  # of a file that its decoder loads into memory whole
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE, _BLACK = 255, 0
_VISIBLE = 24
"""The mean difference of a drawing from its background, of 255 levels, from which it counts as visible."""


class UnreadableFileError(CorruptFileError):
    """A file cannot be decoded; the work can continue with other files."""


class UnknownFormatError(UnreadableFileError):
    """A file is neither an image nor a video in a known format, or too damaged to recognise."""


class _CancellableFile(io.BufferedReader):
    """A file that calls `check_cancelled` at every read, so that its decoding can be cancelled.

    Attributes:
        cancellation: The exception that `check_cancelled` raised; decoders may swallow it.
    """

    def __init__(self, path: Path, check_cancelled: Callable[[], object]) -> None:
        super().__init__(io.FileIO(path), 1 << 16)
        self._path = path
        self._check_cancelled = check_cancelled
        self.cancellation: BaseException | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes, or the whole file.

        Raises:
            UnreadableFileError: If the whole file is requested and too large for memory.
        """
        if self.cancellation is not None:
            raise self.cancellation
        try:
            self._check_cancelled()
        except BaseException as error:
            self.cancellation = error
            raise
        if (size is None or size < 0) and self._path.stat().st_size > _MOST_BYTES:
            raise UnreadableFileError(f"{self._path}: larger than {_MOST_BYTES:,} bytes", path=self._path)
        return super().read(size)


class ImageFile(NamedTuple):
    """An opened image.

    Attributes:
        image: Pillow's image; its pixels are decoded when it is loaded.
        path: The path of the file.
        file: The opened file.
    """

    image: Image.Image
    path: Path
    file: _CancellableFile

    @property
    def format(self) -> str:
        """The name of the image's format, one of `FORMATS`."""
        # The further images of an MPO file are thumbnails, or views of the same scene.
        return "JPEG" if self.image.format == "MPO" else str(self.image.format)

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Turn the decoder's errors into `UnreadableFileError`.

        Raises:
            UnreadableFileError: If the image is damaged.
        """
        with _decoding(self.path, self.file):
            yield


@contextmanager
def open_image(
    path: Path, check_cancelled: Callable[[], object] = lambda: None
) -> Iterator[ImageFile | None]:
    """Open an image by its content, whatever its name; yield None if the file is not an image.

    Args:
        path: The file.
        check_cancelled: Called at every read. Raises an exception to cancel.

    Raises:
        UnreadableFileError: If the image is damaged, or too large for memory.
    """
    try:
        file = _CancellableFile(path, check_cancelled)
    except OSError as error:
        raise UnreadableFileError(f"{path}: {unreadable(error)}", path=path) from error
    with file:
        with _decoding(path, file):
            image = _recognise(file)
        yield None if image is None else ImageFile(image, path, file)


def _recognise(file: _CancellableFile) -> Image.Image | None:
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        return None
    require_moderate(image)
    return image


@contextmanager
def _decoding(path: Path, file: _CancellableFile) -> Iterator[None]:
    try:
        yield
        if file.cancellation is not None:
            raise file.cancellation
    except Exception as error:  # a damaged file makes Pillow raise nearly any exception
        if file.cancellation is not None:
            raise file.cancellation from None
        if isinstance(error, MlcmrError):
            raise
        if isinstance(error, Image.DecompressionBombError):
            raise UnreadableFileError(f"{path}: too large an image: {error}", path=path) from error
        raise UnreadableFileError(
            f"{path}: not an image that can be read: {reason(error)}", path=path
        ) from error


def require_moderate(image: Image.Image) -> None:
    """Refuse an image with too many pixels, in the whole or in a tile that is decoded at once.

    Raises:
        Image.DecompressionBombError: If there are more than `Image.MAX_IMAGE_PIXELS`.
    """
    sizes = [image.size]
    if tags := getattr(image, "tag_v2", None):
        sizes.append((int(tags.get(322, 1)), int(tags.get(323, 1))))
    for width, height in sizes:
        if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise Image.DecompressionBombError(f"{width:,} × {height:,} pixels")


class Canvas:
    """Turns images into pixels as they are displayed. The frames of an animation share a canvas.

    A transparent image is shown on white. A drawing that would be hardly visible there is shown on black.

    Args:
        animated: Whether the images are the frames of an animation, some of which may be blank.
    """

    def __init__(self, *, animated: bool = False) -> None:
        self._animated = animated
        self._background: int | None = None  # kept as long as the frames are visible on it

    def draw(self, image: Image.Image) -> Picture:
        """Return the pixels of an image."""
        image.load()
        upright = _upright(image)
        if not upright.has_transparency_data:
            return _pixels(_in_8_bits(upright))
        # Pillow blends colours with far less memory and time than NumPy, whose sums need wider numbers.
        drawing = upright if upright.mode == "RGBA" else upright.convert("RGBA")
        alpha = drawing.getchannel("A")
        if alpha.getextrema() == (0, 0) and not self._animated:
            return _pixels(drawing)  # fully transparent: the alpha channel is meaningless
        self._background = self._choose_background(drawing)
        mixed = drawing.convert("RGB")
        mixed.paste((self._background,) * 3, mask=ImageChops.invert(alpha))
        return np.asarray(mixed)

    def _choose_background(self, drawing: Image.Image) -> int:
        """Return the first background on which the drawing is visible: the previous one, white, or black.

        If the drawing is visible on none of them, the background with the largest contrast is returned.
        """
        backgrounds = [_WHITE, _BLACK] if self._background is None else [self._background, _WHITE, _BLACK]
        contrasts = _contrasts(drawing, backgrounds)
        visible = (
            background
            for background, contrast in zip(backgrounds, contrasts, strict=True)
            if contrast >= _VISIBLE
        )
        return next(visible, backgrounds[contrasts.index(max(contrasts))])


def _pixels(image: Image.Image) -> Picture:
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _contrasts(drawing: Image.Image, backgrounds: list[int]) -> list[float]:
    """Return the mean difference between the visible pixels of an RGBA drawing and each background."""
    # For a large drawing, a sample of the pixels is enough.
    step = max(1, math.isqrt(drawing.width * drawing.height // 250_000))
    size = max(1, drawing.width // step), max(1, drawing.height // step)
    part = np.asarray(drawing.resize(size, Image.Resampling.NEAREST), np.float32)
    colours, weights = part[..., :3], part[..., 3]
    total = max(float(weights.sum()), 1.0)
    return [
        float((np.abs(colours - background).mean(axis=-1) * weights).sum()) / total
        for background in backgrounds
    ]


def _upright(image: Image.Image) -> Image.Image:
    """Return the image rotated upright, as its Exif data say."""
    orientation = None
    with suppress(Exception):  # an image with damaged Exif data is still readable
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    turn = _ORIENTATIONS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Return the image with 8 bits per channel: Pillow would turn all levels above 255 into white."""
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        return Image.fromarray(_levels(np.asarray(image)))
    return image


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 8-bit grey levels for values of any range.

    If the values reach an eighth of the range of 8, 12 or 16 bits (of 0 to 1 for floating-point numbers),
    that range is scaled. Other values are stretched: the lowest becomes black, the highest white.
    """
    values = values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.int64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = values[finite].min(), values[finite].max()
    if not finite.all():
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    tops = (1, 255, 65535) if values.dtype.kind == "f" else (255, 4095, 65535)
    top = next((top for top in tops if high <= top), 0)
    if top and low >= 0 and high > top / 8:
        # Integers keep their upper 8 bits.
        scaled = values * 255 / top if values.dtype.kind == "f" else values * 256 // (top + 1)
    elif high > low:
        scaled = (values.astype(np.float64) - low) * (255 / (float(high) - float(low)))
    else:
        scaled = np.clip(values, 0, 255) if top else np.full(values.shape, 128)
    return scaled.astype(np.uint8)


def resize(picture: Picture, width: int, height: int) -> Picture:
    """Return a picture resized to a width and a height in pixels."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX, reducing_gap=2)
    return np.asarray(image)


def shrink(picture: Picture) -> Picture:
    """Return a picture in the size of a thumbnail, or unchanged if it is smaller."""
    if max(picture.shape[:2]) <= THUMBNAIL_SIDE:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR, reducing_gap=2)
    return np.asarray(image)


def jpeg(picture: Picture) -> bytes:
    """Encode a picture as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=85)
    return file.getvalue()
