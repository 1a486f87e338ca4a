"""Make video ids from the names of files or rows; an id is one word."""

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

from mlcmr.errors import InvalidValueError

_UNSAFE = re.compile(r"[^\w.-]")
_SHORTENED = re.compile(r"-[0-9a-f]{16}")  # the end of a shortened id
_LONGEST = 200  # bytes of an id, which may be the name of a folder; file systems allow 255
# fmt: off
IMAGE_ENDINGS = frozenset([
    ".avif", ".bmp", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg",
    ".jpx", ".png", ".tif", ".tiff", ".webp",
])
VIDEO_ENDINGS = frozenset([
    ".3g2", ".3gp", ".3gpp", ".apng", ".asf", ".avi", ".divx", ".dv", ".evo", ".f4v", ".flv", ".gif", ".h264",
    ".h265", ".hevc", ".ismv", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg",
    ".mjpg", ".mk3d", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpeg4", ".mpg", ".mpv", ".mts",
    ".mxf", ".nut", ".ogg", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".ts", ".vob", ".webm", ".wmv",
    ".wtv", ".y4m",
])
# fmt: on
_ENDING = re.compile(rf"\.({'|'.join(e[1:] for e in sorted(IMAGE_ENDINGS | VIDEO_ENDINGS))})$", re.IGNORECASE)


def split_ending(name: str) -> tuple[str, str]:
    """Split a file name into its stem and its ending; only endings of videos and images count."""
    found = _ENDING.search(name, 1)
    return (name[: found.start()], found[0]) if found else (name, "")


def video_id(name: str) -> str:
    """Return the id of a video, given its name without its ending: letters, digits, `_`, `.` and `-`.

    Every character that cannot be in caption ids, frame ids or folder names becomes `_`. So does the dot of a
    remaining ending (`c.mp4` of `c.mp4.png`), as caption ids have no endings. So do the dots of `.` and `..`,
    which mean other folders. A long name is shortened and ends with a hash.
    """
    safe = _UNSAFE.sub("_", normalize_name(name))
    if safe in (".", ".."):
        return "_" * len(safe)
    short = len(encoded := safe.encode()) <= _LONGEST
    if short or (len(encoded) <= _LONGEST + 17 and _SHORTENED.fullmatch(safe[-17:])):
        return _ENDING.sub(r"_\1", safe)
    digest = hashlib.blake2b(encoded, digest_size=8).hexdigest()
    return f"{encoded[:_LONGEST].decode(errors='ignore')}-{digest}"


def normalize_name(name: str) -> str:
    """Return a name in Unicode's form NFC; macOS writes accents as characters of their own."""
    return unicodedata.normalize("NFC", name)


def spellings(name: str) -> list[str]:
    """Return the spellings of a name: as given, and in Unicode's forms NFC and NFD."""
    return list(dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))))


class VideoIds:
    """Give ids to videos by their names, and find two videos that would share an id."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], str] = {}
        self._first: dict[str, tuple[str, str, str]] = {}  # stem, ending and name, by id

    def of(self, name: str, where: object, span: str = "") -> str:
        """Return the id of a video.

        Args:
            name: The name, or the path below some folder; the ending of a video or image does not count.
            where: The place of the name, for messages.
            span: The start and end of a clip of the video: `33_46`; empty for a whole video.

        Raises:
            InvalidValueError: If another name has the same id.
        """
        if (name, span) not in self._ids:
            path = PurePosixPath(normalize_name(name).replace("\\", "/")).as_posix()
            stem, ending = split_ending(path)
            stem = f"{stem}_{span}" if span else stem
            video = video_id(stem)
            first_stem, first_ending, first_name = self._first.get(video, (stem, ending, name))
            other_ending = ending and first_ending and first_ending.lower() != ending.lower()
            if first_stem != stem or other_ending:
                raise InvalidValueError(
                    f"{where}: '{first_name}' and '{name}' both get the video id '{video}': rename one"
                )
            self._first[video] = (stem, ending or first_ending, name)
            self._ids[name, span] = video
        return self._ids[name, span]
