"""Find the faults of the frame features of a collection."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mlcmr.data.check.caption_file import FileLine
from mlcmr.data.check.findings import Findings
from mlcmr.data.check.report import FeatureSummary
from mlcmr.data.features.arrays import rows_per_block
from mlcmr.data.features.feature_files import map_matrix, read_shape, read_text
from mlcmr.data.features.row_cache import CACHE_NAME, cache_fault
from mlcmr.data.features.video2frames import video2frames_pairs
from mlcmr.errors import MlcmrError, unreadable
from mlcmr.progress import Progress
from mlcmr.text import plural

_T = TypeVar("_T")

FramesOfVideos = list[tuple[str, list[Any]]]
"""The videos of `video2frames.txt` with their frames, including repeated videos."""


@dataclass(frozen=True, slots=True)
class _FeatureCheck:
    """The check of one feature folder.

    Attributes:
        folder: The folder.
        name: The name of the folder in messages.
        findings: Collects the problems and warnings.
    """

    folder: Path
    name: str
    findings: Findings

    def file(self, name: str) -> str:
        """Return the name of a file in messages."""
        return f"{self.name}/{name}"


def check_features(
    folder: Path,
    feature: str | None,
    captioned: Mapping[str, FileLine],
    findings: Findings,
    progress: Progress,
) -> list[FeatureSummary]:
    """Check the features of a collection, or a single feature.

    Args:
        folder: The folder of the collection.
        feature: The feature to check; by default all features.
        captioned: The first caption of each video.
        findings: Collects the problems and warnings.
        progress: Shows the number of bytes of `feature.bin` that were read.
    """
    data = folder / "FeatureData"
    if not os.path.isdir(data):
        findings.problems.add("FeatureData", "no such folder; features belong in FeatureData/<feature>")
        return []
    folders = sorted(path for path in data.glob("*") if os.path.isdir(path))
    names = [path.name for path in folders if not path.name.startswith(".")]
    for path in folders:
        if path.name.startswith(".") and os.path.exists(path / "feature.bin"):
            message = "left by a command that was stopped; it can be removed"
            findings.warnings.add(f"FeatureData/{path.name}", message)
    if feature is not None and feature not in names:
        findings.problems.add(
            f"FeatureData/{feature}", f"no such feature; there is {', '.join(names) or 'none'}"
        )
        return []
    if not names:
        findings.problems.add("FeatureData", "no features in it")
    return [
        _check_feature(_FeatureCheck(data / name, f"FeatureData/{name}", findings), name, captioned, progress)
        for name in ([feature] if feature is not None else names)
    ]


def _check_feature(
    check: _FeatureCheck, name: str, captioned: Mapping[str, FileLine], progress: Progress
) -> FeatureSummary:
    shape = _attempt(check, lambda: read_shape(check.folder))
    ids = _attempt(check, lambda: read_text(check.folder / "id.txt").split())
    path = check.folder / "video2frames.txt"
    pairs = _attempt(check, lambda: video2frames_pairs(path, read_text(path)))
    if ids is not None:
        _check_ids(check, ids, shape)
    if pairs is not None:
        _check_videos(check, pairs)
        _check_frames(check, pairs, ids or [])
        _check_coverage(check, pairs, captioned)
    _check_cache(check)
    if shape is not None:
        _check_numbers(check, shape, ids or [], pairs or [], progress)
    elif not os.path.exists(check.folder / "feature.bin"):
        check.findings.problems.add(check.file("feature.bin"), "no such file")
    size = sum(file.stat().st_size for file in check.folder.glob("*") if os.path.isfile(file))
    return FeatureSummary(name, shape, [len(frames) for _, frames in pairs or []], size)


def _attempt(check: _FeatureCheck, read: Callable[[], _T]) -> _T | None:
    """Return the result of reading a file; None, and a problem, if it cannot be read."""
    try:
        return read()
    except MlcmrError as error:
        file, _, message = str(error).removeprefix(str(check.folder)).lstrip("/\\").partition(": ")
        check.findings.problems.add(check.file(file), message)
        return None


def _check_ids(check: _FeatureCheck, ids: list[str], shape: tuple[int, int] | None) -> None:
    """Check that each row has an id of its own."""
    file = check.file("id.txt")
    if shape is not None and len(ids) != shape[0]:
        message = f"{plural(len(ids), 'frame id')}, but shape.txt says {plural(shape[0], 'frame')}"
        check.findings.problems.add(file, message)
    for frame, rows in _repeated(ids).items():
        message = f"frame '{frame}' is listed {len(rows)} times: {_list_places('place', rows)}"
        check.findings.problems.add(file, message, kind="repeated frames")


def _check_videos(check: _FeatureCheck, pairs: FramesOfVideos) -> None:
    """Check that each video is listed once and has frames."""
    problems, file = check.findings.problems, check.file("video2frames.txt")
    if not pairs:
        problems.add(file, "no videos")
    for video, places in _repeated([video for video, _ in pairs]).items():
        message = f"video '{video}' is listed {len(places)} times: {_list_places('entry', places)}"
        problems.add(file, message, kind="repeated videos")
    for video, frames in pairs:
        if not frames:
            problems.add(file, f"video '{video}' has no frames", kind="videos without frames")


def _check_frames(check: _FeatureCheck, pairs: FramesOfVideos, ids: list[str]) -> None:
    """Check that each frame of a video has a row, and each row a video."""
    if not ids or ids == [frame for _, frames in pairs for frame in frames]:
        return  # nearly always: the frames in the order of their rows
    file = check.file("video2frames.txt")
    known = set(ids)
    uses: Counter[str] = Counter()
    for video, frames in pairs:
        for frame in frames:
            if isinstance(frame, str) and frame in known:
                uses[frame] += 1
            else:
                message = f"frame {frame!r:.99} of video '{video}' is not in id.txt"
                check.findings.problems.add(file, message, kind="frames that are not in id.txt")
    several = [frame for frame, number in uses.items() if number > 1]
    if several:
        message = f"frames in several places: {len(several):,}; the first is '{several[0]}'"
        check.findings.warnings.add(file, message)
    unused = [frame for frame in ids if frame not in uses]
    if unused:
        message = f"{len(unused):,} of {len(ids):,} frames in no video; the first is '{unused[0]}'"
        check.findings.warnings.add(check.file("id.txt"), message)


def _check_cache(check: _FeatureCheck) -> None:
    """Check that the cache agrees with its sources."""
    with suppress(MlcmrError):  # other checks report the faults of its sources
        if fault := cache_fault(check.folder):
            check.findings.problems.add(check.file(CACHE_NAME), fault)


def _check_coverage(check: _FeatureCheck, pairs: FramesOfVideos, captioned: Mapping[str, FileLine]) -> None:
    """Check that videos with captions have features, and videos with features captions."""
    file = check.file("video2frames.txt")
    videos = {video: None for video, _ in pairs}
    for video, place in captioned.items():
        if video not in videos:
            message = f"no video '{video}', which has captions ({place})"
            check.findings.problems.add(file, message, kind="videos with captions but without frames")
    bare = [video for video in videos if video not in captioned]
    if bare and captioned:
        message = f"{len(bare):,} of {len(videos):,} videos without a caption; the first is '{bare[0]}'"
        check.findings.warnings.add(file, message)


def _check_numbers(
    check: _FeatureCheck,
    shape: tuple[int, int],
    ids: list[str],
    pairs: FramesOfVideos,
    progress: Progress,
) -> None:
    """Check the size of `feature.bin`, and that its numbers are finite."""
    file = check.file("feature.bin")
    if _attempt(check, lambda: map_matrix(check.folder, *shape)) is None:
        return
    video_of: dict[str, str] = {}
    try:
        for row, wrong in _rows_with_nan(check.folder / "feature.bin", shape, file, progress):
            if not video_of:
                video_of = {str(frame): video for video, frames in pairs for frame in frames}
            frame = f"frame '{ids[row]}'" if row < len(ids) else "a frame"
            if row < len(ids) and ids[row] in video_of:
                frame += f" of video '{video_of[ids[row]]}'"
            faults = f"{wrong:,} of {shape[1]:,} values that are NaN or infinite"
            message = f"{frame} (row index {row:,}) has {faults}"
            check.findings.problems.add(file, message, kind="frames with NaN or infinite values")
    except OSError as error:
        check.findings.problems.add(file, unreadable(error))


def _rows_with_nan(
    path: Path, shape: tuple[int, int], name: str, progress: Progress
) -> Iterator[tuple[int, int]]:
    """Yield each row with NaN or infinity and the number of these values; one block is in memory."""
    frames, dimension = shape
    buffer = np.empty((rows_per_block(dimension), dimension), "<f4")
    with (
        path.open("rb") as file,
        np.errstate(all="ignore"),
        progress.task(name, frames * dimension * 4) as task,
    ):
        for start in range(0, frames, len(buffer)):
            block = buffer[: frames - start]
            file.readinto(block.data.cast("B"))
            # One such value makes the sum not finite. A sum of large values may overflow too: then the rows
            # are checked in vain.
            if not np.isfinite(block.sum()):
                wrong = np.count_nonzero(~np.isfinite(block), axis=1)
                yield from ((start + int(row), int(wrong[row])) for row in np.flatnonzero(wrong))
            task.advance(len(block) * dimension * 4)


def _repeated(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the names that are repeated, and their positions, counted from 1."""
    if len(set(names)) == len(names):
        return {}
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names, start=1):
        places.setdefault(name, []).append(place)
    return {name: where for name, where in places.items() if len(where) > 1}


def _list_places(noun: str, places: list[int]) -> str:
    return f"{noun} {', '.join(f'{place:,}' for place in places[:3])}{', …' if len(places) > 3 else ''}"
