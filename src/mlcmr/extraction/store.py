"""One feature of a collection on disk while it is extracted: finished videos one by one, then all together.

Each finished video is a file in `FeatureData/.<feature>.parts/`. In the end they and the feature folder that
is there are joined to a new feature folder, which takes its place. Nothing that is finished is lost by a
`kill -9` at any moment: until the new folder stands, parts and old folder do.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcmr.data.features import Features, open_features, write_features
from mlcmr.errors import UserError
from mlcmr.extraction.videos import VideoRecord, read_videos, write_videos
from mlcmr.files import locked, replacing, write_text, writing

ENCODER = "encoder.json"


class FeatureStore:
    """A feature while it is extracted; see `open_store`.

    Attributes:
        folder: `FeatureData/<feature>`, whether it exists or not.
        records: All videos that are extracted, by file.
    """

    def __init__(self, collection: Path, feature: str, settings: Mapping[str, Any]) -> None:
        self.collection = collection
        self.feature = feature
        self.folder = collection / "FeatureData" / feature
        self._settings = dict(settings)
        self._parts = self._beside("parts")
        self._tidy()
        self.records: dict[str, VideoRecord] = {}
        if self.folder.exists():
            self._require_same(_read_settings(self.folder / ENCODER), self.folder)
            self.records = {record.path: record for record in read_videos(collection, feature)}
        self._merged = set(self.records)
        merged = list(self.records.values())
        by_video = {record.video: record for record in self.records.values()}
        for part in sorted(self._parts.glob("*.npz")):
            settings, record = _read_part(part)
            self._require_same(settings, self._parts)
            by_video[record.video] = record  # also where one of the two knows its file by an older path
        self.records = {record.path: record for record in by_video.values()}
        if self._beside("old").exists():  # killed while it took its place
            self._end(merged)

    def keep(self, record: VideoRecord, features: Features, thumbnails: Sequence[bytes]) -> None:
        """Keeps a finished video: first its thumbnails, then, all at once, that it is finished."""
        for segment, thumbnail in zip(record.segments, thumbnails, strict=True):
            _write_quickly(self.collection / segment.thumbnail, thumbnail)
        about = {"settings": self._settings, "record": asdict(record)}
        with replacing(self._part(record.video)) as temporary, temporary.open("wb") as file:
            np.savez(file, about=_as_bytes(about), features=features)
        self.records[record.path] = record

    def thumbnails(self, video: str) -> str:
        """The folder of a video's thumbnails, relative to the collection's."""
        return f"thumbnails/{self.feature}/{video}"

    def move(self, record: VideoRecord, path: Path) -> None:
        """Notes that a video's file has another path; `merge` writes it down."""
        del self.records[record.path]
        self.records[str(path)] = replace(record, path=str(path))

    @property
    def unfinished(self) -> bool:
        """Whether there are parts that are not in the feature folder yet."""
        return self._parts.is_dir()

    def merge(self, without: Iterable[str] = ()) -> None:
        """Makes the feature folder and `videos.jsonl` of all that is finished.

        Args:
            without: Ids of videos to leave out and forget.

        Raises:
            UserError: nothing is left, or the disk is full.
        """
        left_out = set(without)
        records = sorted(
            (record for record in self.records.values() if record.video not in left_out),
            key=lambda record: record.path,
        )
        if not records:
            raise UserError(f"{self.folder}: no video would be left; remove this folder itself")
        new, old = self._beside("new"), self._beside("old")
        write_features(new, self._blocks(records))
        write_text(new / ENCODER, json.dumps(self._settings, indent=1) + "\n")
        write_videos(self.collection, records, new.name)
        for video in left_out:  # a part that outlives the folders' change would be merged again
            self._part(video).unlink(missing_ok=True)
        # Killed between these two, the next run puts the old one back; after them, it ends what is begun.
        if self.folder.exists():
            self.folder.rename(old)
        new.rename(self.folder)
        self.records = {record.path: record for record in records}
        self._merged = set(self.records)
        self._end(records)
        shutil.rmtree(self._parts, ignore_errors=True)

    def _end(self, merged: Iterable[VideoRecord]) -> None:
        """Does what is left to do once the new feature folder stands; the old one goes last."""
        write_videos(self.collection, merged)
        self._remove_surplus_thumbnails(self.records.values())
        shutil.rmtree(self._beside("old"), ignore_errors=True)

    def _blocks(self, records: Sequence[VideoRecord]) -> Iterator[tuple[list[str], Features]]:
        merged = open_features(self.folder) if self._merged else None
        for record in records:
            part = self._part(record.video)
            if part.exists():
                with np.load(part, allow_pickle=False) as content:
                    features = content["features"]
            else:
                assert merged is not None
                features = merged[record.video]
            yield [f"{record.video}_{row}" for row in range(len(features))], features

    def _remove_surplus_thumbnails(self, records: Iterable[VideoRecord]) -> None:
        """Removes thumbnails of videos that are no longer there, and of segments that a new version lacks."""
        needed = {self.collection / segment.thumbnail for record in records for segment in record.segments}
        folder = self.collection / self.thumbnails("")
        for file in folder.glob("*/*"):
            if file not in needed:
                with suppress(OSError):
                    file.unlink()
        for empty in folder.glob("*/"):
            with suppress(OSError):  # it is not
                empty.rmdir()

    def _part(self, video: str) -> Path:
        return self._parts / f"{video}.npz"

    def _beside(self, what: str) -> Path:
        return self.folder.with_name(f".{self.feature}.{what}")

    def _tidy(self) -> None:
        """Removes what a killed process was writing, and ends what it was doing."""
        new, old = self._beside("new"), self._beside("old")
        for path in [new, *new.parent.glob(f".{new.name}.*")]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self._parts.glob(".*.tmp"):
            path.unlink(missing_ok=True)
        if old.exists() and not self.folder.exists():
            old.rename(self.folder)

    def _require_same(self, before: Mapping[str, Any], where: Path) -> None:
        for name in sorted({*before, *self._settings}):
            if before.get(name) != self._settings.get(name):
                raise UserError(
                    f"{where}: was extracted with other settings ({name}: {before.get(name)}, now "
                    f"{self._settings.get(name)}); name another --feature, or remove this folder"
                )


@contextmanager
def open_store(collection: Path, feature: str, settings: Mapping[str, Any]) -> Iterator[FeatureStore]:
    """Opens a feature of a collection for extraction, and keeps other processes out of it meanwhile.

    Args:
        collection: The collection's folder, made if it is not there.
        feature: The feature's name.
        settings: What must be the same for all its videos: encoder, sampling, segments.

    Raises:
        UserError: the name cannot be a folder's, another process extracts into the collection, or the feature
            is there with other settings.
    """
    if not re.fullmatch(r"[\w-][\w.-]*", feature):
        raise UserError(f"--feature {feature!r}: expected letters, digits, '_', '-' and '.', not '.' first")
    refusal = f"{collection}: another process extracts into it; wait until it is done"
    with locked(collection / ".extract.lock", refusal):
        yield FeatureStore(collection, feature, settings)


def read_encoder(folder: Path) -> dict[str, Any]:
    """Which encoder and sampling a feature folder was made with, from its `encoder.json`.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    return _read_settings(folder / ENCODER)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read; where `mlcmr extract` did not make the feature, name another --feature"
        ) from error


def _read_part(path: Path) -> tuple[dict[str, Any], VideoRecord]:
    try:
        with np.load(path, allow_pickle=False) as content:
            about = json.loads(content["about"].tobytes())
        return dict(about["settings"]), VideoRecord.from_dict(about["record"])
    except Exception as error:  # zip files that are damaged raise nearly anything
        raise UserError(f"{path}: damaged; remove it, and it is extracted again") from error


def _as_bytes(content: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(content).encode(), np.uint8)


def _write_quickly(path: Path, content: bytes) -> None:
    """Writes a file under its name at once, without waiting for the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
