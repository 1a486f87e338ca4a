"""`mlcmr extract`: from a folder of videos and photographs to a collection with frame features."""

import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcmr.data.features import Features
from mlcmr.display import Display, many, printable
from mlcmr.errors import UserError
from mlcmr.extraction.decode import Sampling
from mlcmr.extraction.encoders import LIGHT, FrameEncoder, load_encoder
from mlcmr.extraction.find import assign_ids, find_files, gone, moved
from mlcmr.extraction.pictures import UnreadableFileError
from mlcmr.extraction.segments import Rule, checked_rule, write_rule
from mlcmr.extraction.store import FeatureStore, open_store
from mlcmr.extraction.videos import Segment, VideoRecord, is_utf8
from mlcmr.extraction.work import Extracted, Settings, default_workers, extract_file, extract_files

SEGMENT = 10.0
"""Seconds."""


@dataclass(frozen=True)
class ExtractSummary:
    """What an extraction did.

    Attributes:
        collection: The collection's folder.
        feature: The name of the feature folder.
        encoder: What made the features.
        sampling: Which frames were taken.
        videos: How many the collection has now.
        extracted: How many of these were extracted now.
        frames: How many frames these have.
        skipped: Files that could not be read, and why.
        closed: Folders, and files in them, that could not be looked into, and why; what was extracted from
            them before is kept.
        damaged: Files that were read as far as they go.
        moved: How many have another path than before, because a folder was moved or renamed.
        others: How many files were left out, by their endings.
        gone: Ids of videos whose files are gone; with `prune` they were removed.
        pruned: Whether they were removed.
        seconds: How long it took.
    """

    collection: Path
    feature: str
    encoder: str
    sampling: Sampling
    videos: int
    extracted: int
    frames: int
    skipped: Sequence[tuple[Path, str]]
    closed: Mapping[Path, str]
    damaged: Sequence[Path]
    moved: int
    others: Mapping[str, int]
    gone: Sequence[str]
    pruned: bool
    seconds: float

    def __str__(self) -> str:
        work = f"{self.extracted:,} extracted now ({self.frames:,} frames, {self.seconds:.1f} s)"
        lines = [
            f"{self.collection}: {many(self.videos, 'video')}, {work}",
            f"  feature:  {self.feature}, {self.sampling}",
        ]
        if self.skipped:
            lines.append(f"  skipped:  {many(len(self.skipped), 'file')} that cannot be read")
        if self.closed:
            lines.append(f"  closed:   {many(len(self.closed), 'path')} that cannot be looked into")
        if self.damaged:
            lines.append(f"  damaged:  {many(len(self.damaged), 'file')}, read as far as they go")
        if self.moved:
            lines.append(
                f"  moved:    {many(self.moved, 'video')} in a folder that was moved, not extracted again"
            )
        if self.others:
            most = sorted(self.others.items(), key=lambda one: (-one[1], one[0]))[:6]
            endings = ", ".join(f"{printable(ending) or 'no ending'} {count:,}" for ending, count in most)
            more = ", …" if len(self.others) > len(most) else ""
            total = many(sum(self.others.values()), "file")
            lines.append(f"  left out: {total}, by the endings of their names ({endings}{more})")
        if self.gone:
            what = "removed" if self.pruned else "kept; --prune removes them"
            lines.append(f"  gone:     {many(len(self.gone), 'video')} whose file is gone, {what}")
        return "\n".join(lines)


def extract(
    videos: str | os.PathLike[str],
    collection: str | os.PathLike[str],
    *,
    encoder: str | Path | FrameEncoder = LIGHT,
    feature: str | None = None,
    rate: float | None = None,
    count: int | None = None,
    segment: Rule = SEGMENT,
    prune: bool = False,
    device: str = "auto",
    workers: int | None = None,
    batch_size: int | None = None,
    cluster: str | None = None,
    display: Display | None = None,
) -> ExtractSummary:
    """Extracts frame features, segments and thumbnails of all videos and images in a folder.

    Only files that are new or have changed are extracted; what was interrupted goes on. Each video is
    finished, or not there. The same files give the same bytes, however often that was interrupted.

    Args:
        videos: A folder, searched with all folders in it, or one file.
        collection: The collection's folder, made if it is not there.
        encoder: By name (see `load_encoder`), or opened.
        feature: The name of the feature folder; by default the encoder's.
        rate: Frames a second; by default what suits the encoder.
        count: Or so many frames of each video, evenly spaced.
        segment: The length of segments in seconds, `"shots"`, or None for whole videos.
        prune: Whether videos whose files are gone from the folder `videos` are removed from the collection.
        device: `cpu`, `cuda` or `auto`.
        workers: How many files are decoded at a time; by default one for each processor.
        batch_size: How many features are made at a time; by default as many as suit the encoder. Another
            number may change how features are rounded.
        cluster: The address of a Ray cluster whose machines do the work; by default this one does.
        display: Shows progress, and files that cannot be read.

    Raises:
        UserError: an option is out of range, there are no videos, none can be read, another process extracts
            into the collection, the feature is there with other settings, or memory is short.
    """
    started = time.monotonic()
    display = display or Display(quiet=True)
    for option, number in (("workers", workers), ("batch-size", batch_size)):
        if number is not None and number < 1:
            raise UserError(f"--{option} {number}: expected 1 or more")
    source, folder = _absolute(videos), _absolute(collection)
    root = source.parent if os.path.isfile(source) else source
    files, others, closed = find_files(source, folder)
    if isinstance(encoder, (str, Path)):
        encoder = load_encoder(encoder, device=device)
    if rate is None and count is None:
        rate = encoder.rate
    sampling = Sampling(rate, count)
    settings = Settings(encoder, sampling, checked_rule(segment), batch_size=batch_size)
    with open_store(folder, feature or encoder.feature, _about(settings)) as store:
        found_again = moved(list(store.records.values()), root, files) if os.path.isdir(source) else {}
        for path, record in found_again.items():
            store.move(record, path)
        # One file says nothing of those beside it.
        missing = gone(store.records.values(), root, files, closed) if os.path.isdir(source) else set()
        if not files and not (missing and prune):
            raise UserError(f"{source}: no videos or images there, by the endings of their names")
        display.say(_introduction(encoder, sampling))
        _say_what_is_closed(closed, display)
        ids = assign_ids(files, root, {record.path: record.video for record in store.records.values()})
        new = {
            path: status
            for path, status in files.items()
            if _has_changed(status, store.records.get(str(path)))
        }
        progress = _Progress(display, len(new))
        extracted = _extracted(new, settings, progress, workers=workers, cluster=cluster, device=device)
        done = _keep(extracted, new, ids, store, progress)
        if os.path.isfile(source) and done.skipped:
            raise UserError(done.skipped[0][1])
        if not store.records:
            raise UserError(f"{source}: {many(len(files), 'file')}, none can be read: {done.skipped[0][1]}")
        if store.unfinished or found_again or (prune and missing):
            store.merge(without=missing if prune else ())
        return ExtractSummary(
            collection=folder,
            feature=store.feature,
            encoder=encoder.name,
            sampling=sampling,
            videos=len(store.records),
            extracted=done.extracted,
            frames=done.frames,
            skipped=done.skipped,
            closed=closed,
            damaged=done.damaged,
            moved=len(found_again),
            others=others,
            gone=sorted(missing),
            pruned=prune,
            seconds=time.monotonic() - started,
        )


def sample_file(
    path: str | os.PathLike[str],
    encoder: FrameEncoder,
    sampling: Sampling,
    *,
    segment: Rule = None,
    most_frames: float = math.inf,
    check: Callable[[], object] = lambda: None,
) -> tuple[VideoRecord, Features]:
    """Extracts one file without a collection, as to search by it.

    Args:
        path: The file.
        encoder: What makes the features.
        sampling: Which frames are taken.
        segment: The length of segments in seconds, `"shots"`, or None for the whole video.
        most_frames: A file with more sampled frames is refused, as one that strangers may send.
        check: Called again and again while the file is decoded; what it raises ends that.

    Returns:
        Its record, without id and thumbnails, and its features, (rows, dimension).

    Raises:
        UserError: it cannot be read, or has too many frames, or there is no such rule for segments.
    """
    absolute = Path(path).expanduser().absolute()
    status = absolute.stat() if os.path.exists(absolute) else None
    file = extract_file(absolute, Settings(encoder, sampling, segment, most_frames, check=check))
    assert status is not None
    return _record(file, "", status, ""), file.features


def _absolute(path: str | os.PathLike[str]) -> Path:
    """The one name of a folder, by whatever way it is named; a file itself may be a link."""
    named = Path(path).expanduser()
    if os.path.isfile(named):
        return Path(os.path.realpath(named.parent), named.name)
    return Path(os.path.realpath(named))


def _about(settings: Settings) -> dict[str, Any]:
    """What must be the same for all videos of a feature; `encoder.json`."""
    encoder, sampling = settings.encoder, settings.sampling
    chosen = {"rate": sampling.rate} if sampling.rate is not None else {"count": sampling.count}
    return {
        "encoder": encoder.name,
        **chosen,
        "segment": write_rule(settings.rule),
        "dimension": encoder.dimension,
        "frames_per_feature": encoder.frames_per_feature,
    }


def _introduction(encoder: FrameEncoder, sampling: Sampling) -> str:
    if encoder.name == LIGHT:
        about = (
            "light description of colours and motion, for the drawn sample; for real footage take CLIP or "
            "SigLIP (--encoder openai/clip-vit-base-patch16)"
        )
    elif encoder.frames_per_feature > 1:
        about = f"one feature of {encoder.dimension} numbers for each {encoder.frames_per_feature} frames"
    else:
        about = f"a feature of {encoder.dimension} numbers for each frame"
    return f"encoder {encoder.name}: {about}; {sampling}"


def _say_what_is_closed(closed: Mapping[Path, str], display: Display) -> None:
    for path, why in closed.items():
        display.say(f"skipped: {printable(path)}: {why}")


class _Progress:
    """The bar: files that are done, and how much of those that are read; frames a second.

    Args:
        display: Shows it.
        total: How many files there are.
    """

    def __init__(self, display: Display, total: int) -> None:
        self.say = display.say
        self._bars = display.bars
        self._task = display.begin("extracting", total)
        self._began = time.monotonic()
        self._files = self._frames = 0
        self._open: dict[Path, tuple[int, float]] = {}

    def reads(self, file: Extracted) -> None:
        """Shows how far a file is."""
        self._open[file.path] = file.frames, file.share
        self._show()

    def ended(self, file: Extracted) -> None:
        """Counts a file."""
        self._open.pop(file.path, None)
        self._files += 1
        self._frames += file.frames
        self._show()

    def close(self) -> None:
        """Takes the bar away."""
        self._bars.remove_task(self._task)

    def _show(self) -> None:
        frames = self._frames + sum(frames for frames, _ in self._open.values())
        speed = frames / max(time.monotonic() - self._began, 1e-9)
        done = self._files + sum(share for _, share in self._open.values())
        self._bars.update(self._task, completed=done, note=f"{speed:.0f} frames/s")


@dataclass
class _Done:
    extracted: int
    frames: int
    skipped: list[tuple[Path, str]]
    damaged: list[Path]


def _extracted(
    paths: Iterable[Path],
    settings: Settings,
    progress: _Progress,
    *,
    workers: int | None,
    cluster: str | None,
    device: str,
) -> Generator[Extracted, None, None]:
    """Extracts files, here or on a cluster; they come as they get ready."""
    named = []
    for path in paths:
        if is_utf8(path):
            named.append(path)
        else:  # no other file could tell of it
            error = UnreadableFileError(f"{printable(path)}: its name is not UTF-8; rename it")
            yield Extracted(path, error=error)
    if cluster is None:
        yield from extract_files(named, settings, workers or default_workers(), progress.reads)
    elif named:
        from mlcmr.extraction.cluster import extract_on_cluster  # noqa: PLC0415 – Ray is an extra

        yield from extract_on_cluster(named, settings, cluster, workers=workers, device=device)


def _keep(
    extracted: Generator[Extracted, None, None],
    before: Mapping[Path, os.stat_result],
    ids: Mapping[Path, str],
    store: FeatureStore,
    progress: _Progress,
) -> _Done:
    """Stores files as they were `before`: what changes meanwhile is extracted anew the next time."""
    done = _Done(0, 0, [], [])
    with closing(progress), closing(extracted) as files:
        for file in files:
            if file.error is not None:
                done.skipped.append((file.path, str(file.error)))
                progress.say(f"skipped: {file.error}")
            else:
                record = _record(file, ids[file.path], before[file.path], store.thumbnails(ids[file.path]))
                store.keep(record, file.features, [cut.thumbnail for cut in file.cuts])
                done.extracted += 1
                done.frames += file.frames
                if file.damaged:
                    done.damaged.append(file.path)
                    progress.say(
                        f"damaged: {file.path}: {many(file.damaged, 'piece')} cannot be decoded; the rest is"
                    )
            progress.ended(file)
    return done


def _record(file: Extracted, video: str, status: os.stat_result, thumbnails: str) -> VideoRecord:
    segments = tuple(
        Segment(
            round(cut.start, 6), round(cut.end, 6), cut.frames, f"{thumbnails}/{n}.jpg" if thumbnails else ""
        )
        for n, cut in enumerate(file.cuts)
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
    )


def _has_changed(status: os.stat_result, record: VideoRecord | None) -> bool:
    return record is None or (record.bytes, record.modified_ns) != (status.st_size, status.st_mtime_ns)
