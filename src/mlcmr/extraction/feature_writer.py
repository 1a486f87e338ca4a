"""Writing a feature of a collection: finished videos one by one, then all of them together.

Each finished video is a file in `FeatureData/.<feature>.parts/`. At the end these files and the existing
feature folder are merged into a new feature folder, which replaces the existing folder. A `kill -9` at any
moment loses no finished video: the parts and the old folder remain until the new folder is complete.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from typing_extensions import TypedDict

from mlcmr.data.features.frame_features import Features, open_features, write_features
from mlcmr.data.features.numpy_files import open_archive
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError
from mlcmr.extraction.records import VideoRecord, read_videos, videos_file, write_videos
from mlcmr.files import locked, remove_unfinished, replacing, write_text, writing
from mlcmr.reading import Name, Rate, Size, parse_json, read_json
from mlcmr.trust import is_below

ENCODER = "encoder.json"
_PART_HINT = "remove it, and it is extracted again"


class FeatureSettings(TypedDict, total=False):
    """The settings that all videos of a feature share: `encoder.json`. It may hold more names."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    encoder: Name
    rate: Rate
    count: Size
    segment: Name
    dimension: Size
    frames_per_feature: Size


@dataclass(frozen=True, slots=True)
class _PartDescription:
    """The description of a finished video, stored beside its features."""

    settings: FeatureSettings
    record: VideoRecord


class FeatureWriter:
    """Writes a feature during an extraction; see `open_feature_writer`.

    Attributes:
        folder: `FeatureData/<feature>`; it may not exist yet.
        records: The records of all finished videos, by file.
    """

    def __init__(self, collection: Path, feature: str, settings: Mapping[str, Any]) -> None:
        self.collection = collection
        self.feature = feature
        self.folder = collection / "FeatureData" / feature
        self._settings = dict(settings)
        self._parts = self._beside("parts")
        self._recover()
        self.records: dict[str, VideoRecord] = {}
        if self.folder.exists():
            self._require_same(read_encoder_settings(self.folder), self.folder)
            self.records = {record.path: record for record in read_videos(collection, feature)}
        self._merged = set(self.records)
        merged = list(self.records.values())
        by_video = {record.video: record for record in self.records.values()}
        for part in sorted(self._parts.glob("*.npz")):
            settings, record = _read_part(part)
            self._require_same(settings, self._parts)
            by_video[record.video] = record  # the id decides: the older record may hold an older path
        self.records = {record.path: record for record in by_video.values()}
        if self._beside("old").exists():  # the process was killed after the new folder took its place
            self._finish_merge(merged)
        if self._beside("removed").exists():
            self._finish_removal()

    def add(self, record: VideoRecord, features: Features, thumbnails: Sequence[bytes]) -> None:
        """Write a finished video: first its thumbnails, then its features and record in one step."""
        for segment, thumbnail in zip(record.segments, thumbnails, strict=True):
            path = self.collection / segment.thumbnail
            if not self._is_inside(path):
                raise MlcmrError(
                    f"{path}: lies behind a link out of the collection; remove the link", path=path
                )
            _write_quickly(path, thumbnail)
        description = {"settings": self._settings, "record": asdict(record)}
        with replacing(self._part(record.video)) as temporary, temporary.open("wb") as file:
            np.savez(file, about=_as_bytes(description), features=features)
        self.records[record.path] = record

    def thumbnails(self, video: str) -> str:
        """Return the folder of a video's thumbnails, relative to the collection's folder."""
        return f"thumbnails/{self.feature}/{video}"

    def move(self, record: VideoRecord, path: Path) -> None:
        """Change the path of a video's file; `merge` writes the new path."""
        del self.records[record.path]
        self.records[str(path)] = replace(record, path=str(path))

    @property
    def unfinished(self) -> bool:
        """Return whether finished videos wait to be merged into the feature folder."""
        return self._parts.is_dir()

    def merge(self, without: Iterable[str] = ()) -> None:
        """Write the feature folder and `videos.jsonl` from all finished videos.

        Args:
            without: Ids of videos to remove.

        Raises:
            InvalidValueError: If no video would be left.
            OutOfResourcesError: If the disk is full.
        """
        removed = set(without)
        records = sorted(
            (record for record in self.records.values() if record.video not in removed),
            key=lambda record: record.path,
        )
        if not records:
            raise InvalidValueError(
                f"{self.folder}: no video would be left; remove this folder itself", path=self.folder
            )
        new, old = self._beside("new"), self._beside("old")
        write_features(new, self._blocks(records))
        write_text(new / ENCODER, json.dumps(self._settings, indent=1) + "\n")
        write_videos(self.collection, records, new.name)
        for video in removed:  # a part that outlives the renaming would be merged again
            self._part(video).unlink(missing_ok=True)
        # After a kill between the two renamings, the next process restores the old folder. After a kill
        # behind both, it finishes this merge.
        if self.folder.exists():
            self.folder.rename(old)
        new.rename(self.folder)
        self.records = {record.path: record for record in records}
        self._merged = set(self.records)
        self._finish_merge(records)
        shutil.rmtree(self._parts, ignore_errors=True)

    def remove(self, videos: Iterable[str]) -> None:
        """Remove videos with their features and thumbnails; the feature itself if no video is left."""
        removed = {record.video for record in self.records.values()}.intersection(videos)
        if len(removed) < len(self.records):
            if removed:
                self.merge(without=removed)
            return
        self.records = {}
        shutil.rmtree(self._parts, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(self._beside("removed"))  # after a kill, the next process finishes the removal
        self._finish_removal()

    def _finish_merge(self, merged: Iterable[VideoRecord]) -> None:
        """Write what depends on the new feature folder; remove the old folder last."""
        write_videos(self.collection, merged)
        self._remove_surplus_thumbnails(self.records.values())
        shutil.rmtree(self._beside("old"), ignore_errors=True)

    def _finish_removal(self) -> None:
        """Remove what belongs to a removed feature; the renamed feature folder last."""
        videos_file(self.collection).unlink(missing_ok=True)
        self._remove_surplus_thumbnails(self.records.values())
        shutil.rmtree(self._beside("removed"), ignore_errors=True)

    def _blocks(self, records: Sequence[VideoRecord]) -> Iterator[tuple[list[str], Features]]:
        """Yield the frame ids and features of each video, from its part or the existing feature folder."""
        merged = open_features(self.folder) if self._merged else None
        for record in records:
            part = self._part(record.video)
            if part.exists():
                with open_archive(part, _PART_HINT) as archive:
                    features = archive.read("features")
                if features.dtype.kind != "f" or len(features) != len(record.times):
                    raise CorruptFileError(f"{part}: not the features of its video; {_PART_HINT}", path=part)
            else:
                assert merged is not None
                features = merged[record.video]
            yield [f"{record.video}_{row}" for row in range(len(features))], features

    def _remove_surplus_thumbnails(self, records: Iterable[VideoRecord]) -> None:
        """Remove the thumbnails of removed videos, and of segments that a new version of a video lacks."""
        needed = {self.collection / segment.thumbnail for record in records for segment in record.segments}
        folder = self.collection / self.thumbnails("")
        for file in folder.glob("*/*"):
            if file not in needed and self._is_inside(file):
                with suppress(OSError):
                    file.unlink()
        for empty in folder.glob("*/"):
            with suppress(OSError):  # the folder is not empty
                empty.rmdir()

    def _is_inside(self, path: Path) -> bool:
        """Return whether a file lies in the collection, links followed: a stranger may have made it."""
        return is_below(path.parent, [os.path.realpath(self.collection)])

    def _part(self, video: str) -> Path:
        return self._parts / f"{video}.npz"

    def _beside(self, purpose: str) -> Path:
        return _beside(self.folder, purpose)

    def _recover(self) -> None:
        """Remove half-written files of a killed process; restore the old feature folder if need be."""
        new, old = self._beside("new"), self._beside("old")
        remove_unfinished(new)
        remove_unfinished(videos_file(self.collection))
        shutil.rmtree(new, ignore_errors=True)
        if old.exists() and not self.folder.exists():
            old.rename(self.folder)

    def _require_same(self, before: Mapping[str, Any], folder: Path) -> None:
        """Refuse to mix videos that were extracted with different settings.

        Raises:
            InvalidValueError: If the settings differ.
        """
        for name in sorted({*before, *self._settings}):
            if before.get(name) != self._settings.get(name):
                raise InvalidValueError(
                    f"{folder}: was extracted with other settings ({name}: {before.get(name)}, now "
                    f"{self._settings.get(name)}); choose another `feature`, or remove this folder",
                    path=folder,
                    parameter="feature",
                )


@contextmanager
def open_feature_writer(
    collection: Path, feature: str, settings: Mapping[str, Any]
) -> Iterator[FeatureWriter]:
    """Open a feature of a collection for an extraction, and lock the collection for other extractions.

    Args:
        collection: The collection's folder; it is created if it does not exist.
        feature: The feature's name.
        settings: The settings that all its videos share: encoder, sampling, segments.

    Raises:
        InvalidValueError: If the name cannot be that of a folder, or the feature exists with other settings.
        InUseError: If another process extracts into the collection.
    """
    if not re.fullmatch(r"[\w-][\w.-]*", feature):
        raise InvalidValueError(
            f"`feature` {feature!r}: expected letters, digits, '_', '-' and '.', not '.' first",
            parameter="feature",
        )
    refusal = f"{collection}: another process extracts into it; wait until it is done"
    with locked(collection / ".extract.lock", refusal):
        yield FeatureWriter(collection, feature, settings)


def remove_extracted(collection: Path, feature: str, videos: Iterable[str]) -> None:
    """Remove videos from a feature of a collection; nothing happens if there is no such feature or video.

    A removal that was interrupted is finished.

    Args:
        collection: The collection's folder.
        feature: The feature's name.
        videos: Ids of videos.

    Raises:
        MlcmrError: If a file is damaged.
        InUseError: If another process extracts into the collection.
    """
    folder = collection / "FeatureData" / feature
    old, removed = _beside(folder, "old"), _beside(folder, "removed")  # of a killed process
    kept = next(filter(os.path.isdir, (folder, old)), None)
    if kept is not None or os.path.isdir(removed):
        settings = {} if kept is None else read_encoder_settings(kept)
        with open_feature_writer(collection, feature, settings) as writer:
            writer.remove(videos)


def read_encoder_settings(folder: Path) -> dict[str, Any]:
    """Read with which encoder and sampling a feature was extracted, from its `encoder.json`.

    Args:
        folder: The feature folder.

    Raises:
        MlcmrError: If there is no such file, or it is damaged.
    """
    hint = "if `mlcmr extract` did not make this feature, choose another `feature`"
    return cast("dict[str, Any]", read_json(folder / ENCODER, FeatureSettings, hint))


def _beside(folder: Path, purpose: str) -> Path:
    """Return the path of a temporary folder beside a feature folder."""
    return folder.with_name(f".{folder.name}.{purpose}")


def _read_part(path: Path) -> tuple[Mapping[str, Any], VideoRecord]:
    with open_archive(path, _PART_HINT) as archive:
        content = archive.read("about").tobytes()
        description = parse_json(content, _PartDescription, str(path), _PART_HINT)
    return description.settings, description.record


def _as_bytes(content: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(content).encode(), np.uint8)


def _write_quickly(path: Path, content: bytes) -> None:
    """Write a file in one step, without waiting for the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
