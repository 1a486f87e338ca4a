"""Parse `video2frames.txt`, a Python dict literal with the frame ids of each video; nothing is executed."""

import ast
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlcmr.data.features.feature_files import Rows
from mlcmr.data.ids import VideoIds, normalize_name
from mlcmr.errors import CorruptFileError, InvalidValueError

_NUMBERED = re.compile(r"(.+)_([0-9]{1,18})")
# A text in Python's quotes, a quotation mark that begins no text, or a comma that JSON does not have.
_TOKEN = re.compile(r"""(?P<text>[uU]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))|['"]|,\s*(?=[\]}])""")


class VideoRows(NamedTuple):
    """The rows of `feature.bin` that hold the frames of each video.

    Attributes:
        videos: The video ids.
        counts: The number of frames of each video.
        rows: The rows of all frames, the videos one after the other.
    """

    videos: list[str]
    counts: NDArray[np.int64]
    rows: Rows


def parse_video2frames(path: Path, text: str) -> dict[str, list[str]]:
    """Parse a dict literal `{'video': ['frame', …], …}` without executing anything.

    Raises:
        CorruptFileError: If the text is something else, or names a video twice.
    """
    pairs = video2frames_pairs(path, text)
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        video = next(repeated(video for video, _ in pairs))
        raise CorruptFileError(f"{path}: video '{video}' is listed twice", path=path)
    return parsed


def video2frames_pairs(path: Path, text: str) -> list[tuple[str, list[Any]]]:
    """Return the videos of a dict literal `{'video': ['frame', …], …}` with their frames, also repeated ones.

    Raises:
        CorruptFileError: If the text is not such a dict.
    """
    pairs = _parse_literal(text)
    if not isinstance(pairs, list) or not all(isinstance(frames, list) for _, frames in pairs):
        raise CorruptFileError(f"{path}: not a dict of lists, {{'<video>': ['<frame>', …], …}}", path=path)
    return pairs


def videos_of_frames(frame_ids: Sequence[str]) -> dict[str, list[str]]:
    """Group frame ids of the form `<video>_<number>` by video, frames in the order of their numbers.

    The ids of the videos are those of captions: `cat.mp4_0` is a frame of `cat`.

    Raises:
        InvalidValueError: If an id has another form, or two names of videos get the same id.
    """
    videos = VideoIds()
    numbered: dict[str, list[tuple[int, str]]] = {}
    for frame in frame_ids:
        match = _NUMBERED.fullmatch(frame)
        if match is None:
            raise InvalidValueError(f"frame id '{frame}' is not <video>_<number>; give video2frames yourself")
        video = videos.of(match[1], f"frame '{frame}'")
        numbered.setdefault(video, []).append((int(match[2]), frame))
    return {video: [frame for _, frame in sorted(frames)] for video, frames in numbered.items()}


def resolve_rows(
    id_file: Path, video_file: Path, ids: list[str], video2frames: Mapping[str, list[str]]
) -> VideoRows:
    """Return the rows of each video.

    Args:
        id_file: The file of the frame ids, for messages.
        video_file: The file of the videos, for messages.
        ids: The frame id of each row.
        video2frames: The frame ids of each video, in order.

    Raises:
        CorruptFileError: If a frame id is repeated or unknown, or a video has no frames.
    """
    row_of = dict(zip(ids, range(len(ids)), strict=True))
    if len(row_of) != len(ids):
        frame = next(repeated(ids))
        raise CorruptFileError(f"{id_file}: frame id '{frame}' is listed twice", path=id_file)
    frames_in_order = [frame for frames in video2frames.values() for frame in frames]
    try:
        # Nearly always the file lists the frames in the order of the rows: then no look-ups are needed.
        rows = (
            np.arange(len(ids))
            if frames_in_order == ids
            else np.array([row_of[frame] for frame in frames_in_order], np.int64)
        )
    except (KeyError, TypeError):
        video, frame = next(
            (video, frame)
            for video, frames in video2frames.items()
            for frame in frames
            if not isinstance(frame, str) or frame not in row_of
        )
        raise CorruptFileError(
            f"{video_file}: frame '{frame}' of video '{video}' is not in {id_file.name}", path=video_file
        ) from None
    counts = np.array([len(frames) for frames in video2frames.values()], np.int64)
    if not counts.size or not counts.all():
        empty = next((video for video, frames in video2frames.items() if not frames), None)
        fault = "no videos" if empty is None else f"video '{empty}' has no frames"
        raise CorruptFileError(f"{video_file}: {fault}", path=video_file)
    return VideoRows(list(video2frames), counts, rows)


def repeated(names: Iterable[str]) -> Iterator[str]:
    """Yield each name that occurred before."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)


def _parse_literal(text: str) -> object:
    """Parse a Python literal of texts, lists and dicts, a dict as its pairs; None for another text."""
    if text.lstrip()[:1] != "{":
        return None
    with suppress(ValueError, RecursionError):
        # Ids without quotes or escapes, which are nearly all: as JSON, many times faster.
        if '"' not in text and "\\" not in text:
            return json.loads(text.replace("'", '"'), object_pairs_hook=list)
    with suppress(ValueError, RecursionError, SyntaxError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes without a meaning
        return json.loads(_TOKEN.sub(_token_as_json, text), object_pairs_hook=list)
    return None


def _token_as_json(token: re.Match[str]) -> str:
    text = token["text"]
    if text is None:
        if token[0] in "'\"":
            raise ValueError("a text without an end")
        return ""
    text = text.lstrip("uU")
    return json.dumps(normalize_name(ast.literal_eval(text)) if "\\" in text else text[1:-1])
