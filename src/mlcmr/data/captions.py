"""Caption files: one caption a line, `<video id>#<tag>#<number> <text>`, UTF-8."""

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from mlcmr.errors import UserError
from mlcmr.files import replacing

_NOT_ENGLISH = re.compile(r"[^A-Za-z0-9]")
_VIDEO_ENDINGS = (".mp4", ".jpg")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what the error handler `surrogateescape` makes of such bytes

Report = Callable[[int, str, str], None]
"""Takes a fault of a file: its line (from 1), its kind (`malformed ids`) and a message."""


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
        UserError: there are not three parts, one is empty, or there is white space in it.
    """
    if not caption_id:
        raise UserError("no caption id, expected '<video>#<tag>#<number> <text>'")
    if caption_id.split() != [caption_id]:
        raise UserError(f"caption id {caption_id!r} has white space in it; a space parts it from the text")
    parts = caption_id.split("#")
    if len(parts) != 3:
        raise UserError(
            f"caption id '{caption_id}' has {len(parts)} part{'s'[: len(parts) > 1]}, "
            "expected <video>#<tag>#<number>"
        )
    name, tag, number = parts
    video = _without_ending(name)
    if not (video and tag and number):
        raise UserError(f"caption id '{caption_id}' has an empty part, expected <video>#<tag>#<number>")
    return CaptionId(video, tag, number)


def decode_lines(path: Path, report: Report | None = None) -> list[str]:
    """The lines of a UTF-8 file, or of a UTF-16 one that begins with a byte order mark, as Excel writes.

    Windows line ends, a byte order mark, a missing last newline and blank lines at the end are fine.

    Args:
        path: The file.
        report: Called for each line that is not UTF-8; such bytes become lone surrogates. Without it, the
            first such line is an error.

    Raises:
        UserError: the file cannot be read, or a line is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    try:
        lines = _split_lines(content.decode(encoding))
    except UnicodeDecodeError:
        report = report or _raising(path)
        lines = _split_lines(content.decode("utf-8-sig", "surrogateescape"))
        for number, line in enumerate(lines, start=1):
            if byte := _NOT_UTF8.search(line):
                what = f"not UTF-8: byte {ord(byte[0]) - 0xDC00:#04x}; save it as UTF-8"
                report(number, "lines that are not UTF-8", what)
    return lines


def read_captions(path: str | os.PathLike[str]) -> Captions:
    """Reads a caption file.

    Raises:
        UserError: no such file, not UTF-8, a malformed or repeated id; with file and line.
    """
    return scan_captions(Path(path), _raising(Path(path)))[0]


def scan_captions(path: Path, report: Report) -> tuple[Captions, Sequence[int]]:
    """Reads what can be read of a caption file, and reports what is wrong with the rest.

    Args:
        path: The file.
        report: Called for each line that is not UTF-8, and each malformed or repeated id.

    Returns:
        The captions whose ids have three parts, and the line that each stands in.

    Raises:
        UserError: the file cannot be read.
    """
    ids: list[str] = []
    videos: list[str] = []
    keys: list[str] = []
    tags: list[str] = []
    texts: list[str] = []
    left_out: set[int] = set()
    lines = decode_lines(path, report)
    for line_number, line in enumerate(lines, start=1):
        caption_id, _, text = line.partition(" ")
        try:
            video, tag, number = caption_id.split("#")
        except ValueError:
            video = tag = number = ""
        if video.endswith(_VIDEO_ENDINGS):
            video = _without_ending(video)
        if not (video and tag and number):
            _report_malformed(caption_id, line_number, report)
            left_out.add(line_number)
            continue
        ids.append(caption_id)
        videos.append(video)
        keys.append(f"{video}#{number}")
        tags.append(tag)
        texts.append(text)
    numbers = range(1, len(lines) + 1)
    line_of = [number for number in numbers if number not in left_out] if left_out else numbers
    _report_white_space(ids, line_of, report)
    _report_repeated(ids, line_of, report)
    language = {tag: language_of_tag(tag) for tag in set(tags)}
    return Captions(path, ids, videos, keys, [language[tag] for tag in tags], texts), line_of


def write_captions(path: str | os.PathLike[str], captions: Iterable[tuple[str, str]]) -> None:
    """Writes (id, text) pairs as a caption file.

    Raises:
        UserError: an id is malformed or repeated, a text has a line end in it, something is not Unicode, or
            the file cannot be written.
    """
    path = Path(path)
    seen: set[str] = set()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for caption_id, text in captions:
            try:
                parse_caption_id(caption_id)
                file.write(f"{caption_id} {text}\n")
            except (UserError, UnicodeEncodeError) as error:
                raise UserError(f"{path}: {error}") from error
            if "\n" in text or "\r" in text:
                raise UserError(f"{path}: caption '{caption_id}' has a line end in its text")
            if caption_id in seen:
                raise UserError(f"{path}: caption id '{caption_id}' is given twice")
            seen.add(caption_id)


def _without_ending(video: str) -> str:
    return video[:-4] if video.endswith(_VIDEO_ENDINGS) else video


def _split_lines(text: str) -> list[str]:
    # str.splitlines would also split at U+2028 and the like, which captions may contain.
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _raising(path: Path) -> Report:
    def stop(line: int, kind: str, message: str) -> NoReturn:  # noqa: ARG001
        raise UserError(f"{path}:{line}: {message}")

    return stop


def _report_malformed(caption_id: str, line: int, report: Report) -> None:
    try:
        parse_caption_id(caption_id)
    except UserError as error:
        report(line, "malformed ids", str(error))


def _report_white_space(ids: list[str], line_of: Sequence[int], report: Report) -> None:
    # A tab between id and text hides in the id; one look at all of them, as it hardly ever happens.
    if not "".join(ids).isprintable():
        for caption_id, line in zip(ids, line_of, strict=True):
            _report_malformed(caption_id, line, report)


def _report_repeated(ids: list[str], line_of: Sequence[int], report: Report) -> None:
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for caption_id, line in zip(ids, line_of, strict=True):
        if first.setdefault(caption_id, line) != line:
            report(
                line, "repeated ids", f"caption id '{caption_id}' stands in line {first[caption_id]} already"
            )
