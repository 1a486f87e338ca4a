"""Caption files: one caption a line, `<video id>#<tag>#<number> <text>`, UTF-8."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

from mlcmr.errors import UserError
from mlcmr.files import replacing

_NOT_ENGLISH = re.compile(r"[^A-Za-z0-9]")
_VIDEO_ENDINGS = (".mp4", ".jpg")


class CaptionId(NamedTuple):
    """The three parts of a caption's id; `(video, number)` is what translations of it share."""

    video: str
    tag: str
    number: str


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions of one file, as columns of equal length.

    Attributes:
        path: The file that they came from.
        ids: The full ids, `<video>#<tag>#<number>`.
        videos: The video of each caption, without `.mp4` or `.jpg`.
        keys: `<video>#<number>`: equal for a caption and its translations.
        languages: The language of each caption (see `language_of_tag`).
        texts: The captions as written, without line ends.
    """

    path: Path
    ids: list[str]
    videos: list[str]
    keys: list[str]
    languages: list[str]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def of_videos(self, videos: Iterable[str]) -> "Captions":
        """The captions that belong to `videos`, in this file's order."""
        wanted = set(videos)
        rows = [row for row, video in enumerate(self.videos) if video in wanted]
        columns = (self.ids, self.videos, self.keys, self.languages, self.texts)
        return Captions(self.path, *([column[row] for row in rows] for column in columns))


def language_of_tag(tag: str) -> str:
    """The language of a caption's tag.

    `enc` is English (`en`); `<a>2<b>` is a machine translation from a to b, hence in b (`enc2zh` → `zh`,
    `zhc2en` → `en`); every other tag is itself a language code, a trailing `c` (`zhc`) being the published
    mark of a human caption.
    """
    language = tag.rpartition("2")[2]
    return language[:-1] if len(language) == 3 and language.endswith("c") else language


def clean_english(text: str) -> str:
    """An English caption as the published system reads it.

    Everything but letters and digits becomes a space, lower case, one space between words, a final full
    stop, a capital first letter. A caption that becomes empty stays empty.
    """
    words = " ".join(_NOT_ENGLISH.sub(" ", text).lower().split())
    return f"{words[0].upper()}{words[1:]}." if words else ""


def parse_caption_id(caption_id: str) -> CaptionId:
    """Splits `<video>#<tag>#<number>`.

    Raises:
        UserError: there are not three parts, or one is empty.
    """
    parts = caption_id.split("#")
    if len(parts) != 3 or not all(parts):
        raise UserError(
            f"caption id '{caption_id}' has {len(parts)} parts, expected <video>#<tag>#<number>"
            if len(parts) != 3
            else f"caption id '{caption_id}' has an empty part, expected <video>#<tag>#<number>"
        )
    video, tag, number = parts
    return CaptionId(video.removesuffix(".mp4").removesuffix(".jpg"), tag, number)


def decode_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file; Windows line ends, a byte order mark and a missing last newline are fine.

    Raises:
        UserError: the file cannot be read, or a line is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8: byte {content[error.start]:#04x}") from error
    # str.splitlines would also split at U+2028 and the like, which captions may contain.
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def read_captions(path: str | os.PathLike[str]) -> Captions:
    """Reads a caption file.

    Raises:
        UserError: no such file, not UTF-8, a malformed or repeated id; with file and line.
    """
    path = Path(path)
    ids: list[str] = []
    videos: list[str] = []
    keys: list[str] = []
    tags: list[str] = []
    texts: list[str] = []
    for line in decode_lines(path):
        caption_id, _, text = line.partition(" ")
        try:
            video, tag, number = caption_id.split("#")
        except ValueError:
            tag = ""
            video = number = ""
        if not (video and tag and number):
            raise _line_error(path, len(ids) + 1, caption_id)
        if video.endswith(_VIDEO_ENDINGS):
            video = video[:-4]
        ids.append(caption_id)
        videos.append(video)
        keys.append(f"{video}#{number}")
        tags.append(tag)
        texts.append(text)
    if len(set(ids)) != len(ids):
        raise _repeated(path, ids)
    language = {tag: language_of_tag(tag) for tag in set(tags)}
    return Captions(path, ids, videos, keys, [language[tag] for tag in tags], texts)


def write_captions(path: str | os.PathLike[str], captions: Iterable[tuple[str, str]]) -> None:
    """Writes (id, text) pairs as a caption file.

    Raises:
        UserError: an id is malformed, or a text has a line end in it.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for caption_id, text in captions:
            parse_caption_id(caption_id)
            if "\n" in text or "\r" in text or any(character.isspace() for character in caption_id):
                raise UserError(f"{path}: caption '{caption_id}' has a line end or a space where none can be")
            file.write(f"{caption_id} {text}\n")


def _line_error(path: Path, line: int, caption_id: str) -> UserError:
    if not caption_id:
        return UserError(f"{path}:{line}: no caption id; expected '<video>#<tag>#<number> <text>'")
    try:
        parse_caption_id(caption_id)
    except UserError as error:
        return UserError(f"{path}:{line}: {error}")
    raise AssertionError(caption_id)


def _repeated(path: Path, ids: list[str]) -> UserError:
    first: dict[str, int] = {}
    for line, caption_id in zip(count(1), ids, strict=False):
        if caption_id in first:
            return UserError(
                f"{path}:{line}: caption id '{caption_id}' stands in line {first[caption_id]} already"
            )
        first[caption_id] = line
    raise AssertionError(path)
