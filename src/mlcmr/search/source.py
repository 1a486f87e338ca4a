"""What there is to index in a collection: its videos with their segments, and its captions."""

import hashlib
import json
import os
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlcmr.data.captions import parse_caption_id, read_captions
from mlcmr.data.collection import Collection
from mlcmr.data.features import Features, FrameFeatures
from mlcmr.data.ids import split_ending
from mlcmr.display import many
from mlcmr.errors import UserError
from mlcmr.extraction.find import find_files, roots_of
from mlcmr.extraction.videos import VIDEOS, Segment, VideoRecord, is_utf8, read_videos, videos_file

_ENDINGS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".jpg")


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption that a person wrote."""

    caption_id: str
    video: str
    language: str
    text: str


@dataclass(frozen=True)
class Source:
    """A collection with one kind of frame feature.

    Attributes:
        collection: The collection.
        features: The features.
        videos: Its videos, by id.
        captions: Its captions, by id; machine translations are left out.
        languages: The languages of the captions, in the order in which they first appear.
    """

    collection: Collection
    features: FrameFeatures
    videos: Mapping[str, VideoRecord]
    captions: Mapping[str, Caption]
    languages: tuple[str, ...]

    @property
    def first_captions(self) -> dict[str, dict[str, str]]:
        """The first caption in each language, in the order of `languages`, of each video that has one."""
        first: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for caption in sorted(self.captions.values(), key=lambda one: self.languages.index(one.language)):
            first[caption.video].setdefault(caption.language, caption.text)
        return dict(first)

    def frames(self, record: VideoRecord, segment: int) -> Features:
        """The frame features of a segment, (frames, d)."""
        rows = self.features.rows(record.video)[slice(*record.segments[segment].frames)]
        return self.features.matrix[rows]

    def stamps(self) -> dict[str, str]:
        """What changes when a video may have to be embedded or described anew, by video."""
        # Records speak of a file and how it was sampled. Without them, it is the features' files that change.
        files = [self.features.folder / name for name in ("feature.bin", "video2frames.txt")]
        state = [[path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        recorded = _is_recorded(self.collection, self.features)
        captions = self.first_captions
        return {
            video: _digest([asdict(record), captions.get(video, {}), [] if recorded else state])
            for video, record in self.videos.items()
        }


def open_source(collection: Collection, feature: str, *, captions: bool = True) -> Source:
    """Opens what there is to index.

    Args:
        collection: The collection.
        feature: The frame feature.
        captions: Whether its captions count.

    Raises:
        UserError: there is no such feature, or a file is damaged.
    """
    features = collection.open_features(feature)
    if _is_recorded(collection, features):
        records = read_videos(collection.folder, feature)
        _require_as_recorded(features, records)
    else:
        records = [_unrecorded(collection, features, video) for video in features.videos]
    videos = {record.video: record for record in records}
    found = _read_captions(collection, videos) if captions else {}
    languages = tuple(dict.fromkeys(caption.language for caption in found.values()))
    return Source(collection, features, videos, found, languages)


def without_features(source: Source, made: Mapping[str, Any]) -> str:
    """How many files beside a collection's videos have no features, and what makes them; nothing if all have.

    The folders that its videos were extracted from are looked through; `VideoData`, where no file is known.

    Args:
        source: The collection.
        made: What is known of how its features were made.
    """
    folder = source.collection.folder
    recorded = [record for record in source.videos.values() if made and record.path]
    known = {record.path for record in recorded}
    roots = roots_of(recorded) or {folder / "VideoData"}
    new = {
        path: root
        for root in sorted(roots)  # files are extracted from the innermost of the folders that they lie in
        for path in _files(root, folder)
        if str(path) not in known and (made or path.stem not in source.videos)
    }
    # To open them all might take long.
    first = next(filter(_is_readable, sorted(new)), None)
    if first is None:
        return ""
    said = f"{'up to ' if len(new) > 1 else ''}{many(len(new), 'file')} without features, as {first}"
    if not made:
        return said
    sampled = ["--rate", made["rate"]] if made.get("rate") else ["--count", made.get("count")]
    words = ["mlcmr", "extract", new[first], "--collection", folder]
    words += ["--encoder", made.get("encoder"), "--feature", source.features.folder.name, *sampled]
    return f"{said}; {shlex.join(map(str, [*words, '--segment', made.get('segment')]))}"


def with_properties(record: VideoRecord) -> VideoRecord:
    """A record with what its file says of duration and size, where it does not say them yet."""
    if record.width or not record.path:
        return record
    from mlcmr.extraction.decode import open_media  # noqa: PLC0415 – needs PyAV
    from mlcmr.extraction.pictures import UnreadableFileError  # noqa: PLC0415

    try:
        with open_media(record.path) as media:
            segments = tuple(replace(segment, end=media.duration) for segment in record.segments)
            return replace(
                record,
                kind=media.kind,
                duration=media.duration,
                width=media.width,
                height=media.height,
                segments=segments,
            )
    except UnreadableFileError:
        return record  # its features are good all the same


def _files(folder: Path, collection: Path) -> list[Path]:
    """The videos and images in a folder and those in it, by their names; none if it cannot be looked into."""
    with suppress(UserError):
        return [path for path, status in find_files(folder, collection).files.items() if status.st_size]
    return []


def _is_readable(path: Path) -> bool:
    """Whether a file has at least one frame."""
    try:
        from mlcmr.extraction.decode import Sampling, open_media  # noqa: PLC0415 – needs PyAV
        from mlcmr.extraction.pictures import UnreadableFileError  # noqa: PLC0415
    except UserError:
        return True  # extraction says what it needs
    with suppress(UnreadableFileError), open_media(path) as media:
        return is_utf8(path) and any(True for _ in media.sample(Sampling(rate=1)))
    return False


def _is_recorded(collection: Collection, features: FrameFeatures) -> bool:
    return os.path.isfile(videos_file(collection.folder, features.folder.name))


def _require_as_recorded(features: FrameFeatures, records: Iterable[VideoRecord]) -> None:
    for record in records:
        where = f"{features.folder}: video '{record.video}'"
        if record.video not in features:
            raise UserError(f"{where}: no features; extract it again")
        rows, last = len(features.rows(record.video)), max(one.frames[1] for one in record.segments)
        if last > rows:
            raise UserError(f"{where}: {many(rows, 'row')}, but {VIDEOS} says {last:,}; extract it again")
        if not split_ending(Path(record.path).name)[1]:  # whoever searches may see the file
            raise UserError(f"{where}: {record.path} is not called as a video or an image is")


def _unrecorded(collection: Collection, features: FrameFeatures, video: str) -> VideoRecord:
    """A video of which there are features and perhaps a file: one segment."""
    # Ids that others wrote may be paths to elsewhere, and whoever searches may see the file.
    below = not {"", ".", ".."}.intersection(video.split("/"))
    candidates = (collection.folder / "VideoData" / f"{video}{ending}" for ending in _ENDINGS if below)
    path = next((one.absolute() for one in candidates if os.path.isfile(one)), None)
    status = path.stat() if path else None
    return VideoRecord(
        video=video,
        path=str(path or ""),
        bytes=status.st_size if status else 0,
        modified_ns=status.st_mtime_ns if status else 0,
        kind="video",
        duration=0.0,
        width=0,
        height=0,
        times=(),
        segments=(Segment(0.0, 0.0, (0, len(features.rows(video))), ""),),
    )


def _read_captions(collection: Collection, videos: Mapping[str, VideoRecord]) -> dict[str, Caption]:
    found: dict[str, Caption] = {}
    for path in sorted((collection.folder / "TextData").glob("*.caption.txt")):
        captions = read_captions(path)
        columns = zip(captions.ids, captions.videos, captions.languages, captions.texts, strict=True)
        for caption_id, video, language, text in columns:
            # A tag `<a>2<b>` marks what a machine translated; the same caption may stand in several files.
            if video in videos and caption_id not in found and "2" not in parse_caption_id(caption_id).tag:
                found[caption_id] = Caption(caption_id, video, language, text)
    return found


def _digest(content: object) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=12).hexdigest()
