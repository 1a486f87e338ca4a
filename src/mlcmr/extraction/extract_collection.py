"""`mlcmr extract`: read a folder of videos and images into a collection with frame features."""

import math
import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import filterfalse
from pathlib import Path
from typing import Any, Literal

from mlcmr.arguments import check_arguments
from mlcmr.data.features.frame_features import Features
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.extraction.discovery import block_digest, require_source
from mlcmr.extraction.encoders.base import FrameEncoder
from mlcmr.extraction.encoders.histogram import HISTOGRAM
from mlcmr.extraction.encoders.registry import open_encoder, require_encoder
from mlcmr.extraction.feature_writer import FeatureWriter, open_feature_writer
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.pipeline import (
    ExtractedFile,
    PipelineSettings,
    default_workers,
    extract_file,
    extract_files,
)
from mlcmr.extraction.plan import ExtractionPlan, plan_extraction, real_path
from mlcmr.extraction.records import Segment, VideoRecord
from mlcmr.extraction.segments import SegmentRule, checked_rule, format_rule
from mlcmr.extraction.summary import ExtractionSummary
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress, Task
from mlcmr.registry import is_code
from mlcmr.text import plural, printable
from mlcmr.trust import NotRecordedError, remember

SEGMENT = 10.0
"""The default length of segments, in seconds."""


@check_arguments
def extract(
    videos: str | os.PathLike[str],
    collection: str | os.PathLike[str],
    *,
    encoder: str | Path | FrameEncoder = HISTOGRAM,
    feature: str | None = None,
    rate: float | None = None,
    count: int | None = None,
    segment: float | Literal["shots", "none"] | None = SEGMENT,
    prune: bool = False,
    device: str = "auto",
    workers: int | None = None,
    batch_size: int | None = None,
    ray: str | None = None,
    progress: Progress = SILENT,
) -> ExtractionSummary:
    """Extract frame features, segments and thumbnails from videos and images.

    Only new and changed files are read. An interrupted extraction continues with the next call. The same
    files give the same bytes, however often the extraction was interrupted; with a `batch_size` above 16,
    features may be rounded differently.

    Args:
        videos: A folder of videos and images, searched with all its subfolders; or one file.
        collection: The collection's folder; it is created if it does not exist.
        encoder: A Hugging Face image or video model by hub id or folder, a class of your own as
            `package.module:Name`, or `hues228`, also called `color-histogram`. The default, `hues228`,
            describes colours and motion. It needs no download and suits the drawn sample, but says little
            about real footage.
        feature: The name of the feature; by default the encoder's.
        rate: Frames sampled per second; by default what suits the encoder, 2 to 8.
        count: The number of evenly spaced frames sampled from each video, instead of `rate`.
        segment: The length of segments in seconds, `shots`, or `none` for whole videos.
        prune: Remove videos from the collection whose files are gone; by default they are kept.
        device: `cpu`, `cuda` or `auto`.
        workers: The number of files decoded at a time; by default the number of processors.
        batch_size: The number of features computed at a time; by default what suits the encoder.
        ray: The address of a Ray cluster that does the work: `auto` for the cluster of this machine, `local`
            for a temporary one, to try it. Needs `pip install 'mlcmr[ray]'`.
        progress: Receives the progress, and a message for each file that cannot be read.

    Returns:
        The summary.

    Raises:
        InvalidValueError: If an option is out of range, or the feature exists with other settings.
        NotFoundError: If there is no such folder, file or encoder, or no videos or images in the folder.
        CorruptFileError: If no file can be read.
        InUseError: If another process extracts into the collection.
        OutOfResourcesError: If there is not enough memory.
    """
    _require_positive("workers", workers)
    _require_positive("batch_size", batch_size)
    source, folder = real_path(videos), real_path(collection)
    if not (prune and os.path.isdir(folder)):
        require_source(source)
    named = [str(encoder)] if isinstance(encoder, (str, Path)) and not os.path.isdir(encoder) else []
    if isinstance(encoder, (str, Path)):
        encoder = open_encoder(encoder, device=device, source=None)
    with open_extraction(
        folder,
        encoder,
        feature=feature,
        rate=rate,
        count=count,
        segment=segment,
        batch_size=batch_size,
    ) as extraction:
        plan = plan_extraction(source, folder, extraction.records, prune=prune)
        plan.require_files()
        return extraction.execute(
            plan, encoders=named, device=device, workers=workers, ray=ray, progress=progress
        )


@contextmanager
def open_extraction(
    collection: Path,
    encoder: FrameEncoder,
    *,
    feature: str | None = None,
    rate: float | None = None,
    count: int | None = None,
    segment: float | Literal["shots", "none"] | None = SEGMENT,
    batch_size: int | None = None,
) -> Iterator["Extraction"]:
    """Lock a collection, so that an extraction into it can be planned and executed.

    Args:
        collection: The real path of the collection.
        encoder: The frame encoder.
        feature: The name of the feature; by default the encoder's.
        rate: The sampling; see `extract`.
        count: The sampling; see `extract`.
        segment: The length of segments; see `extract`.
        batch_size: The number of features computed at a time.

    Raises:
        InvalidValueError: If an option is out of range, or the feature exists with other settings.
        InUseError: If another process extracts into the collection.
    """
    require_encoder(encoder)
    sampling = _sampling(rate, count, encoder)
    settings = PipelineSettings(encoder, sampling, checked_rule(segment), batch_size=batch_size)
    with open_feature_writer(collection, feature or encoder.feature, _feature_settings(settings)) as writer:
        yield Extraction(writer, settings)


class Extraction:
    """An extraction into a locked collection; see `open_extraction`.

    Args:
        writer: The feature.
        settings: The settings that all its videos share.
    """

    def __init__(self, writer: FeatureWriter, settings: PipelineSettings) -> None:
        self._writer = writer
        self._settings = settings

    @property
    def records(self) -> Collection[VideoRecord]:
        """The videos extracted before, from which the extraction is planned."""
        return self._writer.records.values()

    def execute(
        self,
        plan: ExtractionPlan,
        *,
        encoders: Sequence[str] = (),
        device: str = "auto",
        workers: int | None = None,
        ray: str | None = None,
        progress: Progress = SILENT,
    ) -> ExtractionSummary:
        """Execute a plan that was made from `records`; videos are removed last.

        Args:
            plan: The plan.
            encoders: The encoders that the user has named.
            device: The device of a cluster's workers; see `extract`.
            workers: The number of files decoded at a time.
            ray: The address of a Ray cluster.
            progress: Receives the progress.

        Raises:
            CorruptFileError: If no file can be read.
            InvalidValueError: If no video would be left, and the user has named none to remove.
            OutOfResourcesError: If there is not enough memory, or the disk is full.
        """
        started = time.monotonic()
        writer, settings = self._writer, self._settings
        for path, record in plan.moves.items():
            writer.move(record, path)
        progress.message(_introduction(settings.encoder, settings.sampling))
        for path, why in plan.skipped.items():
            progress.message(f"skipped: {printable(path)}: {why}")
        with progress.task("extracting", len(plan.read)) as task:
            meter = _ProgressMeter(task)
            extracted = _extracted(plan.read, settings, meter, workers=workers, ray=ray, device=device)
            totals = _write(extracted, plan, writer, meter=meter, progress=progress)
        if os.path.isfile(plan.source) and totals.skipped:
            raise CorruptFileError(totals.skipped[0][1], path=plan.source)
        if totals.skipped and not writer.records:
            count = len(plan.files) + len(plan.unreadable)
            raise CorruptFileError(
                f"{plan.source}: {plural(count, 'file')}, none can be read: {totals.skipped[0][1]}",
                path=plan.source,
            )
        _remember(writer.collection, [str(plan.root), *_link_target(plan.source)], encoders, progress)
        if plan.named:
            writer.remove(plan.removed)
        elif writer.unfinished or plan.moves or plan.removed:
            writer.merge(without=plan.removed)
        return ExtractionSummary(
            collection=writer.collection,
            feature=writer.feature,
            encoder=settings.encoder.name,
            sampling=settings.sampling,
            videos=len(writer.records),
            extracted=totals.extracted,
            frames=totals.frames,
            skipped=totals.skipped,
            closed=plan.closed,
            damaged=totals.damaged,
            jumping=totals.jumping,
            moved=plan.moved,
            others=plan.others,
            gone=list(plan.gone),
            away=plan.away,
            pruned=plan.pruned,
            seconds=time.monotonic() - started,
        )


def sample_file(
    path: str | os.PathLike[str],
    encoder: FrameEncoder,
    sampling: Sampling,
    *,
    segment: SegmentRule = None,
    most_frames: float = math.inf,
    check_cancelled: Callable[[], object] = lambda: None,
) -> tuple[VideoRecord, Features]:
    """Extract the frame features of one file without a collection, such as for a search by video.

    Args:
        path: The file.
        encoder: The frame encoder.
        sampling: Which frames are sampled.
        segment: The length of segments in seconds, `"shots"`, or None for the whole video.
        most_frames: The largest number of sampled frames; a longer file is refused.
        check_cancelled: Called often while the file is decoded. Raises an exception to cancel.

    Returns:
        The record of the file, without id and thumbnails, and its features, (rows, dimension).

    Raises:
        InvalidValueError: If there is no such rule for segments.
        UnreadableFileError: If the file cannot be read, or has too many frames.
    """
    absolute = user_path(path).absolute()
    status = absolute.stat() if os.path.exists(absolute) else None
    settings = PipelineSettings(encoder, sampling, segment, most_frames, check_cancelled=check_cancelled)
    file = extract_file(absolute, settings)
    assert status is not None
    return _record(file, "", status, ""), file.features


def _require_positive(parameter: str, number: int | None) -> None:
    if number is not None and number < 1:
        raise InvalidValueError(f"`{parameter}` {number}: expected 1 or more", parameter=parameter)


def _sampling(rate: float | None, count: int | None, encoder: FrameEncoder) -> Sampling:
    """Return the sampling for the options `rate` and `count`; by default that of the encoder."""
    try:
        return Sampling(encoder.fps if rate is None and count is None else rate, count)
    except InvalidValueError as error:
        message = str(error).replace("`fps`", "`rate`").replace("`num_frames`", "`count`")
        parameter = "rate" if error.parameter == "fps" else "count"
        raise InvalidValueError(message, parameter=parameter) from error


def _link_target(source: Path) -> list[str]:
    """Return the folder of the file that `source` links to; nothing if `source` is not a link."""
    return [str(Path(os.path.realpath(source)).parent)] if source.is_symlink() else []


def _feature_settings(settings: PipelineSettings) -> dict[str, Any]:
    """Return the settings that all videos of a feature share; the content of `encoder.json`."""
    encoder, sampling = settings.encoder, settings.sampling
    frames = {"rate": sampling.fps} if sampling.fps is not None else {"count": sampling.num_frames}
    return {
        "encoder": encoder.name,
        **frames,
        "segment": format_rule(settings.rule),
        "dimension": encoder.dimension,
        "frames_per_feature": encoder.frames_per_feature,
    }


def _introduction(encoder: FrameEncoder, sampling: Sampling) -> str:
    if encoder.name == HISTOGRAM:
        description = (
            "light description of colours and motion, for the drawn sample; for real footage use CLIP or "
            "SigLIP, such as openai/clip-vit-base-patch16"
        )
    elif encoder.frames_per_feature > 1:
        description = (
            f"one feature of {encoder.dimension} numbers for each {encoder.frames_per_feature} frames"
        )
    else:
        description = f"a feature of {encoder.dimension} numbers for each frame"
    return f"encoder {encoder.name}: {description}; {sampling}"


def _remember(collection: Path, roots: Sequence[str], encoders: Sequence[str], progress: Progress) -> None:
    """Record which folders and encoders this user has named, or report that this failed.

    The server hands out files below these folders only. Files that name one of the encoders may open it.
    """
    try:
        remember(
            collection=collection,
            roots=roots,
            models=filterfalse(is_code, encoders),
            code=filter(is_code, encoders),
        )
    except NotRecordedError as error:
        progress.message(f"{error}; `mlcmr serve` will need `media_root` to hand out these videos")


class _ProgressMeter:
    """Report finished files, the share of files that are being read, and frames per second.

    Args:
        task: Shows the progress.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._started = time.monotonic()
        self._files = self._frames = 0
        self._open: dict[Path, tuple[int, float]] = {}

    def update(self, file: ExtractedFile) -> None:
        """Report how much of a file has been read."""
        self._open[file.path] = file.frames, file.share
        self._show()

    def finish(self, file: ExtractedFile) -> None:
        """Count a finished file."""
        self._open.pop(file.path, None)
        self._files += 1
        self._frames += file.frames
        self._show()

    def _show(self) -> None:
        frames = self._frames + sum(frames for frames, _ in self._open.values())
        speed = frames / max(time.monotonic() - self._started, 1e-9)
        done = self._files + sum(share for _, share in self._open.values())
        self._task.update(done, note=f"{speed:.0f} frames/s")


@dataclass
class _Totals:
    """The counts of an extraction; see `ExtractionSummary`."""

    extracted: int = 0
    frames: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    jumping: list[Path] = field(default_factory=list)


def _extracted(
    paths: Collection[Path],
    settings: PipelineSettings,
    meter: _ProgressMeter,
    *,
    workers: int | None,
    ray: str | None,
    device: str,
) -> Generator[ExtractedFile, None, None]:
    """Extract files on this machine or on a cluster; yield each file when it is finished."""
    if ray is None:
        yield from extract_files(paths, settings, workers or default_workers(), meter.update)
    elif paths:
        from mlcmr.extraction.ray_cluster import extract_on_cluster  # noqa: PLC0415 – Ray is an extra

        yield from extract_on_cluster(paths, settings, ray, workers=workers, device=device)


def _write(
    extracted: Generator[ExtractedFile, None, None],
    plan: ExtractionPlan,
    writer: FeatureWriter,
    *,
    meter: _ProgressMeter,
    progress: Progress,
) -> _Totals:
    """Write finished files with the status that they had when the plan was made.

    A file that changes during the extraction then counts as changed, and the next extraction reads it again.
    """
    unreadable = [(path, f"{printable(path)}: {why}") for path, why in plan.unreadable.items()]
    totals = _Totals(skipped=unreadable)
    with closing(extracted) as files:
        for file in files:
            if file.error is not None:
                totals.skipped.append((file.path, str(file.error)))
                progress.message(f"skipped: {file.error}")
            else:
                video = plan.ids[file.path]
                record = _record(file, video, plan.files[file.path], writer.thumbnails(video))
                writer.add(record, file.features, [segment.thumbnail for segment in file.segments])
                totals.extracted += 1
                totals.frames += file.frames
                if file.damaged:
                    totals.damaged.append(file.path)
                    pieces = plural(file.damaged, "piece")
                    progress.message(f"damaged: {file.path}: {pieces} cannot be decoded; the rest is read")
                if file.jumps:
                    totals.jumping.append(file.path)
                    jumps = plural(file.jumps, "jump")
                    progress.message(f"jumping: {file.path}: {jumps} of its clock, evened out")
            meter.finish(file)
    return totals


def _record(file: ExtractedFile, video: str, status: os.stat_result, thumbnails: str) -> VideoRecord:
    """Return the record of an extracted file.

    Args:
        file: The extracted file.
        video: The video's id.
        status: The status of the file when it was found.
        thumbnails: The folder of the thumbnails; empty if there are none.
    """
    segments = tuple(
        Segment(
            round(draft.start, 6),
            round(draft.end, 6),
            draft.frames,
            f"{thumbnails}/{number}.jpg" if thumbnails else "",
        )
        for number, draft in enumerate(file.segments)
    )
    return VideoRecord(
        video=video,
        path=str(file.path),
        bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        kind=file.kind,
        duration=file.duration,
        width=file.width,
        height=file.height,
        times=tuple(file.times),
        segments=segments,
        digest=block_digest(file.path),
    )
