"""The media types of videos and images by the extension of their files."""

import os
from pathlib import Path

from mlcmr.data.ids import split_ending

# The table of Python depends on the machine, and has other types for `.ts` and `.3gp`.
TYPES = {
    f".{ending}": media_type
    for media_type, endings in {
        "image/apng": "apng",
        "image/avif": "avif",
        "image/bmp": "bmp",
        "image/gif": "gif",
        "image/heic": "heic hif",
        "image/heif": "heif",
        "image/jp2": "j2k jp2",
        "image/jpeg": "jfif jpe jpeg jpg",
        "image/jpx": "jpf jpx",
        "image/png": "png",
        "image/tiff": "tif tiff",
        "image/webp": "webp",
        "video/3gpp": "3gp 3gpp",
        "video/3gpp2": "3g2",
        "video/mj2": "mj2",
        "video/mp2t": "m2t m2ts mts ts",
        "video/mp4": "f4v ismv m4v mp4 mpeg4",
        "video/mpeg": "evo m1v m2p m2v mod mpe mpeg mpg mpv tod vob",
        "video/ogg": "ogg ogm ogv",
        "video/quicktime": "mov qt",
        "video/webm": "webm",
        "video/x-dv": "dv",
        "video/x-flv": "flv",
        "video/x-matroska": "mk3d mkv",
        "video/x-ms-asf": "asf",
        "video/x-ms-wmv": "wmv",
        "video/x-msvideo": "avi divx",
    }.items()
    for ending in endings.split()
}
"""The media type of each file extension, in lower case. Formats without a registered type are missing."""


def is_named_as_media(path: str | os.PathLike[str]) -> bool:
    """Return whether a file, links followed, has the extension of a video or an image; it is not opened."""
    return split_ending(Path(os.path.realpath(path)).name)[1] != ""
