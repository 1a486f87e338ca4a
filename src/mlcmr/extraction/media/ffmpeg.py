"""Opening of video files by FFmpeg inside PyAV: local files in known formats, and no other files."""

import math
from pathlib import Path
from typing import Any

from PIL import Image

from mlcmr.errors import MissingDependencyError

try:
    import av
except ImportError as error:
    raise MissingDependencyError("videos need PyAV: pip install 'mlcmr[video]'") from error

DEMUXERS = (
    "apng", "asf", "avi", "av1", "dhav", "dv", "flv", "gif", "gxf", "h264", "hevc", "ivf", "live_flv", "m4v",
    "matroska", "mjpeg", "mov", "mpeg", "mpegts", "mpegvideo", "mxf", "nut", "obu", "ogg", "rm", "vc1",
    "webm", "wtv", "yuv4mpegpipe",
)  # fmt: skip
"""FFmpeg's demuxers of single files; none of them opens other files, addresses or devices."""

_JPEG = b"\xff\xd8\xff"
"""The first bytes of a JPEG picture, with which no other format of `DEMUXERS` begins."""

# Users get one line of ours for a damaged file; FFmpeg's own messages add nothing.
av.logging.set_level(None)


def open_container(path: str | Path) -> Any:
    """Open a video file for reading.

    Raises:
        av.FFmpegError: If the file is in none of the formats `DEMUXERS`, or damaged.
        OSError: If the file cannot be read.
    """
    path = Path(path).absolute()  # FFmpeg may take a relative name for an address
    with path.open("rb") as file:
        is_jpeg = file.read(len(_JPEG)) == _JPEG
    safe = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "file"}
    return av.open(
        str(path),
        # FFmpeg would choose `jpeg_pipe` for JFIF pictures, a demuxer that can read a sequence of files.
        format="mjpeg" if is_jpeg else None,
        metadata_errors="replace",
        options=pixel_limit(),
        container_options={**safe, **pixel_limit()},
    )


def pixel_limit() -> dict[str, str]:
    """Return the options that make FFmpeg refuse too large pictures, also when it opens a file."""
    return {"max_pixels": str(Image.MAX_IMAGE_PIXELS)} if Image.MAX_IMAGE_PIXELS else {}


def too_many_pixels(width: int, height: int) -> bool:
    """Return whether a picture has more pixels than `Image.MAX_IMAGE_PIXELS`."""
    return width * height > (Image.MAX_IMAGE_PIXELS or math.inf)
