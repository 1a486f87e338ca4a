"""The content of a collection that can be indexed: its videos with their segments, and its captions."""

import hashlib
import json
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlcmr.data.captions import parse_caption_id, read_captions
from mlcmr.data.collection import Collection
from mlcmr.data.features.frame_features import Features, FrameFeatures
from mlcmr.data.ids import split_ending
from mlcmr.errors import CorruptFileError, MissingDependencyError, MlcmrError
from mlcmr.extraction.discovery import find_files, roots_of
from mlcmr.extraction.plan import ExtractionPlan
from mlcmr.extraction.records import VIDEOS, Segment, VideoRecord, is_utf8, read_videos, videos_file
from mlcmr.text import plural
from mlcmr.trust import is_below, roots_of_collection

_EXTRACTION = (
    "`mlcmr extract {videos} --collection {collection} --feature {feature} --encoder {encoder} --rate {rate} "
    "--count {count} --segment {segment}`"
)
_ENDINGS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".jpg")


@dataclass(frozen=True, slots=True)
class IndexedCaption:
    """A caption that a person wrote."""

    caption_id: str
    video: str
    language: str
    text: str


@dataclass(frozen=True)
class SourceContent:
    """The content of a collection, as far as a plan compares it with an index.

    Attributes:
        folder: The folder of the collection.
        segments: By video, the number of its segments and a digest that changes if the video may have to be
            indexed again; None for a video that is extracted first.
        captions: The captions, by id, without machine translations.
        languages: The languages of the captions, in the order of their first appearance.
        source: The opened collection; None before its extraction.
    """

    folder: Path
    segments: Mapping[str, tuple[int, str] | None]
    captions: Mapping[str, IndexedCaption]
    languages: tuple[str, ...]
    source: "IndexSource | None" = None

    def without(self, videos: Container[str]) -> "SourceContent":
        """Return the content without some videos and their captions."""
        captions = {name: known for name, known in self.captions.items() if known.video not in videos}
        segments = {video: known for video, known in self.segments.items() if video not in videos}
        return replace(self, segments=segments, captions=captions, languages=_languages_of(captions))


@dataclass(frozen=True)
class IndexSource:
    """A collection with one kind of frame feature.

    Attributes:
        collection: The collection.
        features: The features.
        videos: The videos, by id.
        captions: The captions, by id, without machine translations.
        languages: The languages of the captions, in the order of their first appearance.
        roots: Folders whose files may be opened; a stranger's collection may name any file.
    """

    collection: Collection
    features: FrameFeatures
    videos: Mapping[str, VideoRecord]
    captions: Mapping[str, IndexedCaption]
    languages: tuple[str, ...]
    roots: tuple[str, ...]

    @property
    def first_captions(self) -> dict[str, dict[str, str]]:
        """The first caption of each video in each language, in the order of `languages`."""
        return _first_captions(self.captions, self.languages)

    @property
    def content(self) -> SourceContent:
        """The content that a plan compares with an index."""
        stamps = self.stamps()
        segments = {video: (len(record.segments), stamps[video]) for video, record in self.videos.items()}
        return SourceContent(self.collection.folder, segments, self.captions, self.languages, self)

    def frames(self, record: VideoRecord, segment: int) -> Features:
        """Return the frame features of a segment, (frames, d)."""
        rows = self.features.rows(record.video)[slice(*record.segments[segment].frames)]
        return self.features.matrix[rows]

    def stamps(self) -> dict[str, str]:
        """Return, by video, a digest that changes if the video may have to be indexed again."""
        # A record describes a file and its sampling. Without records, the files of features are compared.
        files = [self.features.folder / name for name in ("feature.bin", "video2frames.txt")]
        state = [[path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        recorded = _is_recorded(self.collection, self.features)
        captions = self.first_captions
        return {
            video: _stamp(record, captions.get(video, {}), [] if recorded else state)
            for video, record in self.videos.items()
        }


def open_source(
    collection: Collection, feature: str, *, captions: bool = True, roots: Sequence[str] = ()
) -> IndexSource:
    """Open the videos and captions of a collection.

    Args:
        collection: The collection.
        feature: The frame feature.
        captions: Whether the captions are read.
        roots: Folders whose files may be opened, besides the collection and the folders from which this user
            has extracted videos into the collection.

    Raises:
        MlcmrError: If there is no such feature, or a file is damaged.
    """
    features = collection.open_features(feature)
    if _is_recorded(collection, features):
        records = read_videos(collection.folder, feature)
        _require_as_recorded(features, records)
    else:
        records = [_unrecorded(collection, features, video) for video in features.videos]
    videos = {record.video: record for record in records}
    found = _read_captions(collection, videos) if captions else {}
    languages = _languages_of(found)
    own = os.path.realpath(collection.folder)
    return IndexSource(
        collection, features, videos, found, languages, (own, *roots_of_collection(collection.folder), *roots)
    )


def planned_content(collection: Collection, plan: ExtractionPlan, *, captions: bool) -> SourceContent:
    """Return the content that a collection will have after an extraction in which every file can be read.

    Args:
        collection: The collection.
        plan: The plan of the extraction.
        captions: Whether the captions are read.
    """
    removed = set(plan.gone) if plan.pruned else set()
    kept = {record.path: record for record in plan.records if record.video not in removed}
    extracted = {str(path): plan.ids[path] for path in plan.read}
    places = {path: record.video for path, record in kept.items()} | extracted
    videos = dict.fromkeys(places[path] for path in sorted(places))
    found = _read_captions(collection, videos) if captions else {}
    languages = _languages_of(found)
    first = _first_captions(found, languages)
    segments: dict[str, tuple[int, str] | None] = dict.fromkeys(videos)
    for path, record in kept.items():
        if path not in extracted:
            segments[record.video] = len(record.segments), _stamp(record, first.get(record.video, {}), [])
    return SourceContent(collection.folder, segments, found, languages)


def without_features(source: IndexSource, encoding: Mapping[str, Any]) -> str:
    """Return a line about files without features in the folders of a collection's videos; empty if none.

    The folders are those from which videos were extracted, or `VideoData` if no file is known.

    Args:
        source: The collection.
        encoding: The encoder and the sampling of the features, as far as they are known.
    """
    folder = source.collection.folder
    recorded = [record for record in source.videos.values() if encoding and record.path]
    known = {record.path for record in recorded}
    roots = {root for root in roots_of(recorded) or {folder / "VideoData"} if is_below(root, source.roots)}
    new = {
        path: root
        for root in sorted(roots)  # a file in several folders is extracted from the innermost
        for path in _find_media_files(root, folder)
        if str(path) not in known and (encoding or path.stem not in source.videos)
    }
    # Opening all files could take long.
    first = next(filter(_is_readable, sorted(new)), None)
    if first is None:
        return ""
    count = f"{'up to ' if len(new) > 1 else ''}{plural(len(new), 'file')} without features, as {first}"
    if not encoding:
        return count
    options = {name: encoding.get(name) for name in ("encoder", "rate", "count", "segment")}
    command = extract_command(new[first], folder, feature=source.features.folder.name, **options)
    return f"{count}; {command}"


def extract_command(videos: Path, collection: Path, **values: object) -> str:
    """Return the command line that extracts features.

    Args:
        videos: The folder of videos, or a video.
        collection: The collection.
        **values: The values of other options of `_EXTRACTION`; None leaves the option out.
    """
    given: dict[str, object] = {"videos": videos, "collection": collection}
    given |= {name: value for name, value in values.items() if value is not None}
    command = re.sub(r" -\S+ \{(\w+)\}", lambda found: found[0] if found[1] in given else "", _EXTRACTION)
    return command.strip("`").format(**{name: shlex.quote(str(value)) for name, value in given.items()})


def files_outside(source: IndexSource) -> list[str]:
    """Return the files of videos whose real paths lie outside `IndexSource.roots`."""
    inside: dict[str, bool] = {}
    outside = []
    for path in (record.path for record in source.videos.values() if record.path):
        folder = str(Path(path).parent)
        if folder not in inside:
            inside[folder] = is_below(folder, source.roots)
        if not (is_below(path, source.roots) if _is_link(path) else inside[folder]):
            outside.append(path)
    return outside


def _is_link(path: str) -> bool:
    """Return whether a path is a link; False if it cannot be one, such as a name that is too long."""
    with suppress(OSError):
        return Path(path).is_symlink()
    return False


def with_properties(record: VideoRecord, roots: Sequence[str]) -> VideoRecord:
    """Return a record with the duration and the size of its file filled in.

    Args:
        record: The video.
        roots: Folders whose files may be opened.
    """
    if record.width or not record.path or not is_below(record.path, roots):
        return record
    from mlcmr.extraction.media.decode import open_media  # noqa: PLC0415 – needs PyAV
    from mlcmr.extraction.media.images import UnreadableFileError  # noqa: PLC0415

    try:
        with open_media(record.path) as media:
            media.measure()
            segments = tuple(replace(segment, end=media.end) for segment in record.segments)
            return replace(
                record,
                kind=media.kind,
                duration=media.duration,
                width=media.width,
                height=media.height,
                segments=segments,
            )
    except UnreadableFileError:
        return record  # the features are usable all the same


def _find_media_files(folder: Path, collection: Path) -> list[Path]:
    """Return the non-empty videos and images in a folder; an empty list if the folder cannot be read."""
    with suppress(MlcmrError):
        return [path for path, status in find_files(folder, collection).files.items() if status.st_size]
    return []


def _is_readable(path: Path) -> bool:
    """Return whether a file has at least one frame."""
    try:
        from mlcmr.extraction.media.decode import open_media  # noqa: PLC0415 – needs PyAV
        from mlcmr.extraction.media.images import UnreadableFileError  # noqa: PLC0415
        from mlcmr.extraction.media.sampling import Sampling  # noqa: PLC0415
    except MissingDependencyError:
        return True  # extraction names the missing package
    with suppress(UnreadableFileError), open_media(path) as media:
        return is_utf8(path) and any(True for _ in media.sample(Sampling(fps=1)))
    return False


def _is_recorded(collection: Collection, features: FrameFeatures) -> bool:
    return os.path.isfile(videos_file(collection.folder, features.folder.name))


def _require_as_recorded(features: FrameFeatures, records: Iterable[VideoRecord]) -> None:
    for record in records:
        where = f"{features.folder}: video '{record.video}'"
        if record.video not in features:
            raise CorruptFileError(f"{where}: has no features; extract the video again")
        rows, last = len(features.rows(record.video)), max(segment.frames[1] for segment in record.segments)
        if last > rows:
            raise CorruptFileError(
                f"{where}: {plural(rows, 'row')}, but {VIDEOS} says {last:,}; extract the video again"
            )
        if not split_ending(Path(record.path).name)[1]:  # users see the file
            raise CorruptFileError(f"{where}: the file {record.path} has no extension of a video or an image")


def _unrecorded(collection: Collection, features: FrameFeatures, video: str) -> VideoRecord:
    """Return a record with one segment for a video that has features, and may have a file."""
    # An id in a stranger's collection may be a path to any file.
    below = not {"", ".", ".."}.intersection(video.split("/"))
    candidates = (collection.folder / "VideoData" / f"{video}{ending}" for ending in _ENDINGS if below)
    path = next((file.absolute() for file in candidates if os.path.isfile(file)), None)
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


def _read_captions(collection: Collection, videos: Container[str]) -> dict[str, IndexedCaption]:
    found: dict[str, IndexedCaption] = {}
    for path in sorted((collection.folder / "TextData").glob("*.caption.txt")):
        captions = read_captions(path)
        columns = zip(captions.ids, captions.videos, captions.languages, captions.texts, strict=True)
        for caption_id, video, language, text in columns:
            # A tag `<a>2<b>` marks a machine translation. Several files may hold the same caption.
            if video in videos and caption_id not in found and "2" not in parse_caption_id(caption_id).tag:
                found[caption_id] = IndexedCaption(caption_id, video, language, text)
    return found


def _languages_of(captions: Mapping[str, IndexedCaption]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(caption.language for caption in captions.values()))


def _first_captions(
    captions: Mapping[str, IndexedCaption], languages: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return the first caption of each video in each language, in the order of `languages`."""
    first: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for caption in sorted(captions.values(), key=lambda caption: languages.index(caption.language)):
        first[caption.video].setdefault(caption.language, caption.text)
    return dict(first)


def _stamp(record: VideoRecord, captions: Mapping[str, str], state: Sequence[object]) -> str:
    # The digest of a file is left out: records of older versions have none, and would count as changed.
    return _hash_json([_described(record), captions, state])


def _described(record: VideoRecord) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != "digest"}


def _hash_json(content: object) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=12).hexdigest()
