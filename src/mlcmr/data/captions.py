"""Read and write caption files: one caption a line, `<video id>#<tag>#<number> <text>`, UTF-8."""

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from mlcmr.arguments import check_arguments
from mlcmr.data.ids import normalize_name
from mlcmr.data.languages import language_of_tag
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError, unreadable
from mlcmr.files import replacing
from mlcmr.paths import user_path
from mlcmr.reading import open_regular
from mlcmr.text import plural

_VIDEO_ENDINGS = (".mp4", ".jpg")
_SAMPLE_BYTES = 1 << 16  # of a file, to guess its encoding
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what the error handler `surrogateescape` makes of such bytes

ReportFault = Callable[[int, str, str], None]
"""Takes a fault of a file: its line (from 1), its kind (`malformed ids`) and a message."""


class CaptionId(NamedTuple):
    """The id of a caption; a caption and its translations share video and number.

    Attributes:
        video: The video.
        tag: The tag, which gives the language (see `language_of_tag`).
        number: The number of the caption among those of the video.
    """

    video: str
    tag: str
    number: str


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions of one file, as columns of equal length.

    Attributes:
        path: The file.
        ids: The full ids, `<video>#<tag>#<number>`, in Unicode's form NFC.
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

    def select(self, rows: Sequence[int]) -> "Captions":
        """Return some of the captions, by row."""
        columns = (self.ids, self.videos, self.keys, self.languages, self.texts)
        return Captions(self.path, *([column[row] for row in rows] for column in columns))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {plural(len(self), 'caption')})"


def parse_caption_id(caption_id: str) -> CaptionId:
    """Split a caption's id into `<video>`, `<tag>` and `<number>`.

    Raises:
        InvalidValueError: If the id has not three parts, a part is empty, or the id contains white space.
    """
    if not caption_id:
        raise InvalidValueError("no caption id, expected '<video>#<tag>#<number> <text>'")
    if caption_id.split() != [caption_id]:
        raise InvalidValueError(
            f"caption id {caption_id!r} has white space in it; a space separates the id from the text"
        )
    parts = caption_id.split("#")
    if len(parts) != 3:
        raise InvalidValueError(
            f"caption id '{caption_id}' has {plural(len(parts), 'part')}, expected <video>#<tag>#<number>"
        )
    name, tag, number = parts
    video = normalize_name(_without_ending(name))
    if not (video and tag and number):
        raise InvalidValueError(
            f"caption id '{caption_id}' has an empty part, expected <video>#<tag>#<number>"
        )
    return CaptionId(video, tag, number)


def decode_lines(path: Path, report: ReportFault | None = None) -> list[str]:
    """Return the lines of a file in UTF-8 or UTF-16, as Excel writes both.

    The file may have line ends of Windows or of old Mac programs, or a byte order mark. Blank lines at its
    end do not count.

    Args:
        path: The file.
        report: Called for each line that is not UTF-8; the invalid bytes become lone surrogates. By default,
            the first such line raises an error.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If a line is not UTF-8.
        MlcmrError: If the file cannot be read.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{path}: {unreadable(error)}", path=path) from error
    except OSError as error:
        raise MlcmrError(f"{path}: {unreadable(error)}", path=path) from error
    try:
        lines = _split_lines(content.decode(_unicode_form(content)))
    except UnicodeDecodeError:
        report, guess = report or _raise_faults(path), _guess_encoding(content)
        lines = _split_lines(content.decode("utf-8-sig", "surrogateescape"))
        for number, line in enumerate(lines, start=1):
            if byte := _NOT_UTF8.search(line):
                message = f"not UTF-8: byte {ord(byte[0]) - 0xDC00:#04x}{guess}; save it as UTF-8"
                report(number, "lines that are not UTF-8", message)
    return lines


@check_arguments
def read_captions(path: str | os.PathLike[str]) -> Captions:
    """Read a caption file.

    Raises:
        NotFoundError: If the file does not exist.
        CorruptFileError: If the file is not UTF-8, or an id is malformed or repeated; with file and line.
        MlcmrError: If the file cannot be read.
    """
    path = user_path(path)
    return scan_captions(path, _raise_faults(path))[0]


def scan_captions(path: Path, report: ReportFault) -> tuple[Captions, Sequence[int]]:
    """Read the correct lines of a caption file, and report the other lines.

    Args:
        path: The file.
        report: Called for each line that is not UTF-8, and each malformed or repeated id.

    Returns:
        The captions whose ids have three parts, and the line of each.

    Raises:
        NotFoundError: If the file does not exist.
        MlcmrError: If the file cannot be read.
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
        caption_id = normalize_name(caption_id)
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
    """Write (id, text) pairs as a caption file.

    Raises:
        InvalidValueError: If an id is malformed or repeated, a text contains a line end, or an id or a text
            is not Unicode.
        MlcmrError: If the file cannot be written.
    """
    path = user_path(path)
    seen: set[str] = set()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for caption_id, text in captions:
            try:
                parse_caption_id(caption_id)
                file.write(f"{caption_id} {text}\n")
            except (MlcmrError, UnicodeEncodeError) as error:
                raise InvalidValueError(f"{path}: {error}", path=path) from error
            if "\n" in text or "\r" in text:
                raise InvalidValueError(
                    f"{path}: caption '{caption_id}' has a line end in its text", path=path
                )
            if caption_id in seen:
                raise InvalidValueError(f"{path}: caption id '{caption_id}' is given twice", path=path)
            seen.add(caption_id)


def _without_ending(video: str) -> str:
    return video[:-4] if video.endswith(_VIDEO_ENDINGS) else video


def _unicode_form(content: bytes) -> str:
    """Guess from the first bytes whether a file is UTF-8 or UTF-16; return the codec name."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    # UTF-16 without a byte order mark has a zero in every other byte of ASCII text.
    even, odd = content[:100:2], content[1:100:2]
    for zeros, others, form in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if len(zeros) > 4 and zeros.count(0) > len(zeros) // 2 and others.count(0) < len(others) // 4:
            return form
    return "utf-8-sig"


def _guess_encoding(content: bytes) -> str:
    """Return a remark on the likely encoding of a file; empty if no encoding is likely."""
    from charset_normalizer import from_bytes  # noqa: PLC0415

    sample = content[:_SAMPLE_BYTES]
    guess = from_bytes(sample.rpartition(b"\n")[0] or sample).best()
    if guess is None or guess.encoding.startswith(("utf", "ascii")):
        return ""
    names = guess.could_be_from_charset[:3]
    return f" (perhaps {' or '.join(name.replace('_', '-') for name in names)})"


def _split_lines(text: str) -> list[str]:
    # str.splitlines would also split at U+2028 and the like, which captions may contain.
    if "\n" not in text:
        text = text.replace("\r", "\n")  # the line ends of old Mac programs
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _raise_faults(path: Path) -> ReportFault:
    """Return a function that raises the first fault of a file."""

    def stop(line: int, kind: str, message: str) -> NoReturn:  # noqa: ARG001
        raise CorruptFileError(f"{path}:{line}: {message}", path=path, line=line)

    return stop


def _report_malformed(caption_id: str, line: int, report: ReportFault) -> None:
    try:
        parse_caption_id(caption_id)
    except MlcmrError as error:
        report(line, "malformed ids", str(error))


def _report_white_space(ids: list[str], line_of: Sequence[int], report: ReportFault) -> None:
    # A tab between id and text becomes part of the id. That is rare, so all ids are checked at once.
    if not "".join(ids).isprintable():
        for caption_id, line in zip(ids, line_of, strict=True):
            _report_malformed(caption_id, line, report)


def _report_repeated(ids: list[str], line_of: Sequence[int], report: ReportFault) -> None:
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for caption_id, line in zip(ids, line_of, strict=True):
        if first.setdefault(caption_id, line) != line:
            message = f"caption id '{caption_id}' stands in line {first[caption_id]} already"
            report(line, "repeated ids", message)
