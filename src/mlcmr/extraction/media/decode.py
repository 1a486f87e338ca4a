"""Opening of videos, animations and images for sampling, by their content."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from mlcmr.errors import MissingDependencyError, reason, unreadable
from mlcmr.extraction.media.animations import is_animation
from mlcmr.extraction.media.ffmpeg import open_container
from mlcmr.extraction.media.images import (
    Canvas,
    ImageFile,
    Picture,
    UnknownFormatError,
    UnreadableFileError,
    open_image,
)
from mlcmr.extraction.media.mp4 import require_real_samples
from mlcmr.extraction.media.sampling import SampledFrame, Sampling
from mlcmr.extraction.media.video import Animation, Video
from mlcmr.extraction.records import Kind, is_image
from mlcmr.paths import user_path

try:
    import av
except ImportError as error:
    raise MissingDependencyError("videos need PyAV: pip install 'mlcmr[video]'") from error

_MOTION_JPEG_EXTENSIONS = (".mjpeg", ".mjpg")
"""The names of files of successive JPEG pictures. In a photograph, a second picture is its preview."""


class OpenedMedia(Protocol):
    """An opened file.

    Attributes:
        kind: `video` or `image`.
        format: The decoder's name of the format: Pillow's for an image (`WEBP`), FFmpeg's for a video
            (`matroska,webm`).
        width: Of a displayed frame, in pixels.
        height: Of a displayed frame, in pixels.
        duration: Seconds from the first picture to the end of the last. Before sampling or `measure`, what
            the file claims.
        end: The end of the last picture, in seconds from the beginning of the file. Before sampling or
            `measure`, what the file claims.
        damaged: The number of pieces that could not be decoded so far.
        jumps: How often the clock has jumped so far.
    """

    kind: Kind
    format: str
    width: int
    height: int
    duration: float
    end: float
    damaged: int
    jumps: int

    def measure(self) -> None:
        """Find `duration` and `end` without decoding.

        Raises:
            UnreadableFileError: If the file cannot be read.
        """
        ...

    def sample(self, sampling: Sampling) -> Iterator[SampledFrame]:
        """Decode the frames chosen by `sampling`, in order and at least one. Call it once.

        Raises:
            UnreadableFileError: If no frame can be decoded.
        """
        ...


@contextmanager
def open_media(
    path: str | Path, check_cancelled: Callable[[], object] = lambda: None
) -> Iterator[OpenedMedia]:
    """Open a video or an image for sampling; its content decides which, not its name.

    Args:
        path: The file.
        check_cancelled: Called for each piece that is read or decoded, and for each sampled frame. Raises an
            exception to cancel.

    Raises:
        UnknownFormatError: If the file is empty, or neither a video nor an image.
        UnreadableFileError: If the file cannot be read.
    """
    path = user_path(path)
    try:
        if path.stat().st_size == 0:
            raise UnknownFormatError(f"{path}: empty", path=path)
    except OSError as error:
        raise UnreadableFileError(f"{path}: {unreadable(error)}", path=path) from error
    if not _is_motion_jpeg(path):
        with open_image(path, check_cancelled) as image:
            if image is not None:
                yield _image_media(image, check_cancelled)
                return
    with _open_video(path, check_cancelled) as video:
        yield video


@dataclass
class _Still:
    """An image with one frame; see `OpenedMedia`."""

    picture: Picture
    format: str
    kind: Kind = "image"
    duration: float = 0.0
    end: float = 0.0
    damaged: int = 0
    jumps: int = 0

    def __post_init__(self) -> None:
        self.height, self.width = self.picture.shape[:2]

    def measure(self) -> None:
        """Do nothing: the duration of an image is 0."""

    def sample(self, sampling: Sampling) -> Iterator[SampledFrame]:  # noqa: ARG002
        yield SampledFrame(0.0, self.picture)


def _image_media(image: ImageFile, check_cancelled: Callable[[], object]) -> OpenedMedia:
    with image.decoding():
        if is_animation(image.image):
            return Animation(image, check_cancelled)
        return _Still(Canvas().draw(image.image), image.format)


def _is_motion_jpeg(path: Path) -> bool:
    """Return whether a file consists of several JPEG pictures, and is named as such a video."""
    if path.suffix.lower() not in _MOTION_JPEG_EXTENSIONS:
        return False
    with suppress(av.FFmpegError, OSError), open_container(path) as container:
        pictures = (packet for packet in container.demux() if packet.size)
        return container.format.name == "mjpeg" and len(list(islice(pictures, 2))) > 1
    return False


@contextmanager
def _open_video(path: Path, check_cancelled: Callable[[], object]) -> Iterator[OpenedMedia]:
    require_real_samples(path)
    try:
        video = Video(path, check_cancelled)
    except (av.FFmpegError, OSError, ValueError) as error:
        kind = "an image" if is_image(path) else "a video"
        is_unknown = isinstance(error, av.error.ArgumentError)  # no demuxer of the list accepts the file
        why = "in a supported format" if is_unknown else f"that can be read: {reason(error)}"
        raise UnknownFormatError(f"{path}: not {kind} {why}", path=path) from error
    try:
        yield video
    finally:
        video.close()
