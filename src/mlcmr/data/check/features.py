"""What is wrong with the frame features of a collection."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mlcmr.data.arrays import rows_per_block
from mlcmr.data.check.captions import Place
from mlcmr.data.check.findings import Findings
from mlcmr.data.features import Progress, map_matrix, read_shape, read_text, video2frames_pairs
from mlcmr.errors import UserError

_T = TypeVar("_T")

Pairs = list[tuple[str, list[Any]]]  # videos with their frames, as they stand in `video2frames.txt`


class FeatureSummary(NamedTuple):
    """How much there is of one kind of frame feature.

    Attributes:
        name: The feature.
        shape: Frames and dimension; None where `shape.txt` is damaged.
        frames_of_video: The number of frames of each video; empty where `video2frames.txt` is damaged.
        size: Of the folder, in bytes.
    """

    name: str
    shape: tuple[int, int] | None
    frames_of_video: Sequence[int]
    size: int


@dataclass(frozen=True, slots=True)
class _Checked:
    """One feature folder while it is checked: its name in messages, and where they go."""

    folder: Path
    name: str
    found: Findings

    def file(self, name: str) -> str:
        return f"{self.name}/{name}"


def check_features(
    folder: Path,
    feature: str | None,
    captioned: Mapping[str, Place],
    found: Findings,
    progress: Progress | None,
) -> list[FeatureSummary]:
    """Checks the features of a collection, or one of them.

    Args:
        folder: The collection.
        feature: The feature; all by default.
        captioned: Where each video has its first caption.
        found: Takes what is wrong.
        progress: Told the bytes of `feature.bin` that were read.
    """
    data = folder / "FeatureData"
    if not os.path.isdir(data):
        found.problems.add("FeatureData", "no such folder; features belong into FeatureData/<feature>")
        return []
    folders = sorted(path for path in data.glob("*") if os.path.isdir(path))
    names = [path.name for path in folders if not path.name.startswith(".")]
    for path in folders:
        if path.name.startswith(".") and os.path.exists(path / "feature.bin"):
            what = "left by a command that was stopped; it can be removed"
            found.warnings.add(f"FeatureData/{path.name}", what)
    if feature is not None and feature not in names:
        found.problems.add(
            f"FeatureData/{feature}", f"no such feature; there is {', '.join(names) or 'none'}"
        )
        return []
    if not names:
        found.problems.add("FeatureData", "no features in it")
    return [
        _check_feature(_Checked(data / name, f"FeatureData/{name}", found), name, captioned, progress)
        for name in ([feature] if feature is not None else names)
    ]


def _check_feature(
    checked: _Checked, name: str, captioned: Mapping[str, Place], progress: Progress | None
) -> FeatureSummary:
    shape = _attempt(checked, lambda: read_shape(checked.folder))
    ids = _attempt(checked, lambda: read_text(checked.folder / "id.txt").split())
    path = checked.folder / "video2frames.txt"
    pairs = _attempt(checked, lambda: video2frames_pairs(path, read_text(path)))
    if ids is not None:
        _check_ids(checked, ids, shape)
    if pairs is not None:
        _check_videos(checked, pairs)
        _check_frames(checked, pairs, ids or [])
        _check_coverage(checked, pairs, captioned)
    if shape is not None:
        _check_numbers(checked, shape, ids or [], pairs or [], progress)
    elif not os.path.exists(checked.folder / "feature.bin"):
        checked.found.problems.add(checked.file("feature.bin"), "no such file")
    size = sum(file.stat().st_size for file in checked.folder.glob("*") if os.path.isfile(file))
    return FeatureSummary(name, shape, [len(frames) for _, frames in pairs or []], size)


def _attempt(checked: _Checked, read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except UserError as error:
        file, _, message = str(error).removeprefix(str(checked.folder)).lstrip("/\\").partition(": ")
        checked.found.problems.add(checked.file(file), message)
        return None


def _check_ids(checked: _Checked, ids: list[str], shape: tuple[int, int] | None) -> None:
    file = checked.file("id.txt")
    if shape is not None and len(ids) != shape[0]:
        what = f"{len(ids):,} frame ids, but shape.txt says {shape[0]:,} frames"
        checked.found.problems.add(file, what)
    for frame, rows in _repeated(ids).items():
        what = f"frame '{frame}' stands there {len(rows)} times: {_places('place', rows)}"
        checked.found.problems.add(file, what, kind="repeated frames")


def _check_videos(checked: _Checked, pairs: Pairs) -> None:
    problems, file = checked.found.problems, checked.file("video2frames.txt")
    if not pairs:
        problems.add(file, "no videos")
    for video, places in _repeated([video for video, _ in pairs]).items():
        what = f"video '{video}' stands there {len(places)} times: {_places('entry', places)}"
        problems.add(file, what, kind="repeated videos")
    for video, frames in pairs:
        if not frames:
            problems.add(file, f"video '{video}' has no frames", kind="videos without frames")


def _check_frames(checked: _Checked, pairs: Pairs, ids: list[str]) -> None:
    """Do the frames of videos have rows, and the rows videos?"""
    if not ids or ids == [frame for _, frames in pairs for frame in frames]:
        return  # nearly always: the frames in the order of their rows
    file = checked.file("video2frames.txt")
    known = set(ids)
    uses: Counter[str] = Counter()
    for video, frames in pairs:
        for frame in frames:
            if isinstance(frame, str) and frame in known:
                uses[frame] += 1
            else:
                what = f"frame {frame!r:.99} of video '{video}' is not in id.txt"
                checked.found.problems.add(file, what, kind="frames that are not in id.txt")
    several = [frame for frame, number in uses.items() if number > 1]
    if several:
        what = f"frames in several places: {len(several):,}; the first is '{several[0]}'"
        checked.found.warnings.add(file, what)
    unused = [frame for frame in ids if frame not in uses]
    if unused:
        what = f"{len(unused):,} of {len(ids):,} frames in no video; the first is '{unused[0]}'"
        checked.found.warnings.add(checked.file("id.txt"), what)


def _check_coverage(checked: _Checked, pairs: Pairs, captioned: Mapping[str, Place]) -> None:
    """Have the videos with captions features, and the other way round?"""
    file = checked.file("video2frames.txt")
    videos = {video: None for video, _ in pairs}
    for video, place in captioned.items():
        if video not in videos:
            what = f"no video '{video}', which has captions ({place})"
            checked.found.problems.add(file, what, kind="videos with captions but without frames")
    spare = [video for video in videos if video not in captioned]
    if spare and captioned:
        what = f"{len(spare):,} of {len(videos):,} videos without a caption; the first is '{spare[0]}'"
        checked.found.warnings.add(file, what)


def _check_numbers(
    checked: _Checked,
    shape: tuple[int, int],
    ids: list[str],
    pairs: Pairs,
    progress: Progress | None,
) -> None:
    """Is `feature.bin` as large as `shape.txt` says, and are its numbers numbers?"""
    file = checked.file("feature.bin")
    if _attempt(checked, lambda: map_matrix(checked.folder, *shape)) is None:
        return
    video_of: dict[str, str] = {}
    try:
        for row, wrong in _rows_with_nan(checked.folder / "feature.bin", shape, file, progress):
            if not video_of:
                video_of = {str(frame): video for video, frames in pairs for frame in frames}
            frame = f"frame '{ids[row]}'" if row < len(ids) else "a frame"
            if row < len(ids) and ids[row] in video_of:
                frame += f" of video '{video_of[ids[row]]}'"
            what = f"{frame} (row {row:,}) has {wrong:,} of {shape[1]:,} values that are NaN or infinite"
            checked.found.problems.add(file, what, kind="frames with NaN or infinite values")
    except OSError as error:
        checked.found.problems.add(file, f"cannot be read: {error.strerror}")


def _rows_with_nan(
    path: Path, shape: tuple[int, int], what: str, progress: Progress | None
) -> Iterator[tuple[int, int]]:
    """The rows, from 0, with values that are NaN or infinite, and how many; read once, block by block."""
    frames, dimension = shape
    buffer = np.empty((rows_per_block(dimension), dimension), "<f4")
    with path.open("rb") as file, np.errstate(all="ignore"):
        for start in range(0, frames, len(buffer)):
            block = buffer[: frames - start]
            file.readinto(block.data.cast("B"))
            # One such value makes the sum so too. (So may large ones: then each row is looked at in vain.)
            if not np.isfinite(block.sum()):
                wrong = np.count_nonzero(~np.isfinite(block), axis=1)
                yield from ((start + int(row), int(wrong[row])) for row in np.flatnonzero(wrong))
            if progress:
                progress(what, (start + len(block)) * dimension * 4, frames * dimension * 4)


def _repeated(names: Sequence[str]) -> dict[str, list[int]]:
    """Names that stand somewhere more than once, and where, from 1."""
    if len(set(names)) == len(names):
        return {}
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names, start=1):
        places.setdefault(name, []).append(place)
    return {name: where for name, where in places.items() if len(where) > 1}


def _places(noun: str, places: list[int]) -> str:
    return f"{noun} {', '.join(f'{place:,}' for place in places[:3])}{', …' if len(places) > 3 else ''}"
