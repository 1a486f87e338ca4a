"""Video ids: one word, from the name of a file or of a row."""

import hashlib
import re
import unicodedata

_UNSAFE = re.compile(r"[^\w.-]")
_LONGEST = 200  # bytes of an id, which may name a folder; file systems allow 255
# fmt: off
IMAGE_ENDINGS = frozenset([
    ".avif", ".bmp", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".png", ".tif",
    ".tiff", ".webp",
])
VIDEO_ENDINGS = frozenset([
    ".3g2", ".3gp", ".3gpp", ".apng", ".asf", ".avi", ".divx", ".dv", ".evo", ".f4v", ".flv", ".gif", ".ismv",
    ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mk3d", ".mkv", ".mod", ".mov", ".mp4",
    ".mpe", ".mpeg", ".mpeg4", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".ogg", ".ogm", ".ogv", ".qt", ".rm",
    ".rmvb", ".tod", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
])
# fmt: on
_ENDING = re.compile(rf"\.({'|'.join(e[1:] for e in sorted(IMAGE_ENDINGS | VIDEO_ENDINGS))})$", re.IGNORECASE)


def split_ending(name: str) -> tuple[str, str]:
    """A file's name without and with only the ending of a video or an image; other endings belong to it."""
    found = _ENDING.search(name, 1)
    return (name[: found.start()], found[0]) if found else (name, "")


def video_id(name: str) -> str:
    """`name`, without its ending, as an id: one word of letters, digits, `_`, `.` and `-`.

    Whatever cannot stand in caption ids, frame ids or names of folders becomes `_`; so does the dot of an
    ending that is left (`c.mp4` of `c.mp4.png`), as caption ids do without endings; and so do the dots of `.`
    and `..`, which lead to other folders.
    """
    safe = _UNSAFE.sub("_", unicodedata.normalize("NFC", name))
    if safe in (".", ".."):
        return "_" * len(safe)
    if len(encoded := safe.encode()) <= _LONGEST:
        return _ENDING.sub(r"_\1", safe)
    digest = hashlib.blake2b(encoded, digest_size=8).hexdigest()
    return f"{encoded[:_LONGEST].decode(errors='ignore')}-{digest}"
