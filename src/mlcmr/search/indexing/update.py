"""The update of an index from a collection: plan the changes, then embed only new and changed videos."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlcmr.data.features.finite import require_finite, require_normalisable
from mlcmr.data.features.frame_features import BROKEN, Features
from mlcmr.data.ids import spellings
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError
from mlcmr.extraction.records import VideoRecord
from mlcmr.progress import SILENT, Progress
from mlcmr.search.indexing.index_source import IndexedCaption, IndexSource, SourceContent, with_properties
from mlcmr.search.indexing.manifest import read_info, write_info
from mlcmr.search.indexing.payload import caption_point, caption_point_id, segment_id, segment_point
from mlcmr.search.indexing.storage import COLLECTION, IndexWriter, Stores
from mlcmr.search.record import Record
from mlcmr.text import plural

if TYPE_CHECKING:
    from mlcmr.search.models import OpenModel

BATCH = 256
"""The number of segments, or of captions, that are embedded and stored together."""


class StoredVideo(NamedTuple):
    """A video in an index.

    Attributes:
        stamps: A digest of its description, by segment.
        source: The collection of the video.
    """

    stamps: dict[int, str]
    source: str


class StoredCaption(NamedTuple):
    """A caption in an index, and its collection."""

    caption: IndexedCaption
    source: str


@dataclass(frozen=True)
class StoredContent:
    """The videos and captions that an index holds, without their vectors.

    Attributes:
        videos: The videos, by id.
        captions: The captions, by id.
    """

    videos: Mapping[str, StoredVideo]
    captions: Mapping[str, StoredCaption]

    def without(self, videos: Collection[str]) -> "StoredContent":
        """Return the content without some videos and their captions."""
        return StoredContent(
            {video: stored for video, stored in self.videos.items() if video not in videos},
            {name: stored for name, stored in self.captions.items() if stored.caption.video not in videos},
        )

    def renamed(self, sources: Sequence[str], key: str) -> "StoredContent":
        """Return the content with some sources renamed to `key`."""
        videos = {
            video: stored._replace(source=key) if stored.source in sources else stored
            for video, stored in self.videos.items()
        }
        captions = {
            name: stored._replace(source=key) if stored.source in sources else stored
            for name, stored in self.captions.items()
        }
        return StoredContent(videos, captions)


EMPTY = StoredContent({}, {})


@dataclass(frozen=True)
class UpdatePlan:
    """The changes of an index.

    Attributes:
        source: The name of the collection in the index.
        moved: Former names of this collection, which was moved or renamed; its vectors are kept.
        removed: Ids of videos to remove because the user has named them.
        added: Ids of new videos.
        changed: Ids of videos to embed or describe again.
        unchanged: Ids of videos that stay as they are.
        left: Ids of videos that are no longer in the collection.
        pruned: Whether the videos in `left` are removed.
        new_captions: Captions to embed.
        old_captions: Ids of captions to remove.
        languages: The languages of captions in the index after the update.
        skipped: Why a video cannot be indexed, by id; only if the features were checked.
        stored: The content of the index when the plan was made.
    """

    source: str = ""
    moved: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    pruned: bool = False
    new_captions: tuple[IndexedCaption, ...] = ()
    old_captions: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    stored: StoredContent = field(default=EMPTY, repr=False)

    @property
    def all_removed(self) -> tuple[str, ...]:
        """Ids of all videos to remove: the named ones, and with `pruned` those in `left`."""
        return (*self.removed, *self.left) if self.pruned else self.removed


@dataclass
class Changes:
    """The changes that an update has made.

    Attributes:
        added: The number of new videos.
        changed: The number of videos that were embedded or described again.
        removed: The number of videos that were removed.
        unchanged: The number of videos that stayed as they were.
        left: The number of videos that are no longer in the source, and are kept.
        skipped: Why a video has no usable embedding, by id.
        skipped_captions: Why a caption has no usable embedding, by id.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    left: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    skipped_captions: dict[str, str] = field(default_factory=dict)


# ─── plan ────────────────────────────────────────────────────────────────────────────────────────────────


def read_content(folder: Path, stores: Stores) -> StoredContent:
    """Read which videos and captions an index holds.

    Args:
        folder: The index.
        stores: The stores of the index.

    Raises:
        CorruptFileError: If a record of the index is damaged.
    """
    videos: dict[str, StoredVideo] = {}
    for _, payload in stores.segments.scan(["video", "segment", "stamp", "source"]):
        record = Record(folder, payload)
        stored = videos.setdefault(record.text("video"), StoredVideo({}, record.path("source")))
        stored.stamps[int(record.number("segment"))] = record.text("stamp")
    captions = {}
    for _, payload in stores.captions.scan(["caption_id", "video", "language", "text", "source"]):
        record = Record(folder, payload)
        caption = IndexedCaption(*map(record.text, ("caption_id", "video", "language", "text")))
        captions[caption.caption_id] = StoredCaption(caption, record.path("source"))
    return StoredContent(videos, captions)


def plan_removal(content: StoredContent, videos: Sequence[str]) -> UpdatePlan:
    """Plan to remove videos by id.

    Raises:
        NotFoundError: If one of the videos is not in the index.
    """
    removed: dict[str, None] = {}
    for video in videos:
        name = next((name for name in spellings(video) if name in content.videos), None)
        if name is None:
            raise NotFoundError(
                f"`remove` {video}: no such video in the index; `mlcmr search` shows ids", parameter="remove"
            )
        removed[name] = None
    unchanged = tuple(video for video in content.videos if video not in removed)
    return UpdatePlan(removed=tuple(removed), unchanged=unchanged, stored=content)


def plan_update(
    folder: Path,
    stored: StoredContent,
    content: SourceContent,
    *,
    stores: Stores | None = None,
    remove: Sequence[str] = (),
    prune: bool = False,
    captions: bool = True,
) -> UpdatePlan:
    """Compare an index with a collection.

    If most videos of a source that no longer exists are in this collection, the source was moved: its vectors
    are kept.

    Args:
        folder: The index.
        stored: The content of the index.
        content: The content of the collection.
        stores: The stores of the index, to recognise a collection that was moved; None if there are none yet.
        remove: Ids of videos to remove; they count as absent from the collection too.
        prune: Whether videos that are no longer in the collection are removed, with their captions.
        captions: Whether the index holds the captions of the collection.

    Raises:
        InvalidValueError: If the index holds a video of the collection from another source.
        NotFoundError: If a video in `remove` is not in the index.
    """
    removed = plan_removal(stored, remove).removed
    held, content = stored.without(set(removed)), content.without(set(removed))
    key = _source_name(folder, content)
    others = {held.videos[video].source for video in content.segments if video in held.videos} - {key}
    moved = [
        before
        for before in sorted(others)
        if _is_gone(folder / before) and stores is not None and _has_most(stores, content, held, before)
    ]
    held = held.renamed(moved, key)
    _require_same_source(folder, content, held, key)
    added = tuple(video for video in content.segments if video not in held.videos)
    changed = tuple(
        video
        for video, segments in content.segments.items()
        if video in held.videos
        and (segments is None or held.videos[video].stamps != dict.fromkeys(range(segments[0]), segments[1]))
    )
    touched = {*added, *changed}
    left = tuple(
        video for video, known in held.videos.items() if known.source == key and video not in content.segments
    )
    if prune:
        held = held.without(set(left))
    own = {name: known.caption for name, known in held.captions.items() if known.source == key}
    old_captions = tuple(
        name
        for name, caption in own.items()
        if name not in content.captions and (not captions or caption.video in content.segments)
    )
    gone = set(old_captions)
    kept = {known.caption.language for name, known in held.captions.items() if name not in gone}
    return UpdatePlan(
        source=key,
        moved=tuple(moved),
        removed=removed,
        added=added,
        changed=changed,
        unchanged=tuple(video for video in content.segments if video not in touched),
        left=left,
        pruned=prune,
        new_captions=tuple(caption for name, caption in content.captions.items() if own.get(name) != caption),
        old_captions=old_captions,
        languages=tuple(dict.fromkeys([*content.languages, *sorted(kept)])),
        stored=stored,
    )


def find_skipped(source: IndexSource, videos: Sequence[str]) -> dict[str, str]:
    """Return why features cannot be compared, by video; each feature of the videos is read."""
    skipped: dict[str, str] = {}
    for video in videos:
        with _noting(skipped, video):
            _require_finite(source, video)
    return skipped


def require_usable_features(source: IndexSource) -> None:
    """Check that the features of at least one video can be compared; only features up to that are read.

    Raises:
        CorruptFileError: If no video can be indexed.
    """
    first = ""
    for video in source.videos:
        fault = find_skipped(source, [video]).get(video)
        if fault is None:
            return
        first = first or fault
    if first:
        folder, count = source.collection.folder, plural(len(source.videos), "video")
        raise CorruptFileError(
            f"{folder}: {count}, none can be indexed: {first}", path=source.features.folder
        )


def _source_name(folder: Path, content: SourceContent) -> str:
    """Return the name of a collection in an index.

    The name is relative if the collection lies in the index, so that the index can be moved.
    """
    is_own = content.folder.resolve() == (folder / COLLECTION).resolve()
    return COLLECTION if is_own else str(content.folder)


def _is_gone(folder: Path) -> bool:
    """Return whether a folder does not exist; a folder that cannot be read may exist."""
    try:
        folder.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _has_most(stores: Stores, content: SourceContent, held: StoredContent, before: str) -> bool:
    """Return whether most videos of the source `before` are in a collection, with the same features.

    Two collections may share a few clips, such as the same opening.
    """
    source = content.source
    if source is None:  # there are no features yet
        return False
    videos = [video for video, stored in held.videos.items() if stored.source == before]
    same = [video for video in videos if video in source.videos]
    features = {
        segment_id(video, 0): _hash_frames(source.frames(source.videos[video], 0)) for video in same[:BATCH]
    }
    points = stores.segments.get(list(features))
    return len(same) * 2 > len(videos) and features == {
        point.id: point.payload.get("features") for point in points
    }


def _require_same_source(folder: Path, content: SourceContent, held: StoredContent, key: str) -> None:
    for video in content.segments:
        if video in held.videos and held.videos[video].source != key:
            raise InvalidValueError(
                f"{folder}: video '{video}' is in this index already, from {held.videos[video].source}; "
                f"index {content.folder} into another folder (`to`)",
                parameter="to",
            )


# ─── execution ───────────────────────────────────────────────────────────────────────────────────────────


def remove_videos(writer: IndexWriter, content: StoredContent, videos: Collection[str]) -> None:
    """Remove videos with their captions.

    Args:
        writer: The index.
        content: The content of the index.
        videos: Ids of videos in the index.
    """
    if not videos:
        return
    stores = writer.open_for_writing()
    gone = set(videos)
    captions = [name for name, stored in content.captions.items() if stored.caption.video in gone]
    stores.captions.delete(list(map(caption_point_id, captions)))
    stores.segments.delete(
        [segment_id(video, number) for video in videos for number in content.videos[video].stamps]
    )


def update_index(
    writer: IndexWriter,
    plan: UpdatePlan,
    source: IndexSource,
    opened: "OpenModel",
    *,
    progress: Progress = SILENT,
) -> Changes:
    """Make the planned changes; if this is interrupted, the next plan holds the rest.

    Args:
        writer: The index, locked since the plan was made.
        plan: The changes.
        source: The collection.
        opened: The model.
        progress: Shows the progress and the skipped videos.
    """
    for before in plan.moved:
        _rename_source(writer.open_for_writing(), before, plan.source, source)
    skipped = _update_segments(writer, plan, source, opened, progress)
    skipped_captions = _update_captions(writer, plan, opened, skipped, progress)
    # Last: the same call refuses a video that the index no longer holds, and could not be made again.
    remove_videos(writer, plan.stored, plan.all_removed)
    for fault in (skipped | skipped_captions).values():
        progress.message(f"skipped: {fault}")
    return Changes(
        added=sum(video not in skipped for video in plan.added),
        changed=sum(video not in skipped for video in plan.changed),
        removed=len(plan.all_removed),
        unchanged=len(plan.unchanged),
        left=0 if plan.pruned else len(plan.left),
        skipped=skipped,
        skipped_captions=skipped_captions,
    )


def _rename_source(stores: Stores, before: str, key: str, source: IndexSource) -> None:
    """Rename a source in the payloads."""
    # The segments of videos that the collection has show the next plan that the source was moved. So they are
    # renamed last: then an interrupted update continues.
    for store in (stores.captions, stores.segments):
        found = sorted(
            (payload["video"] in source.videos, point)
            for point, payload in store.scan(["video", "source"])
            if payload["source"] == before
        )
        ids = [point for _, point in found]
        for start in range(0, len(ids), BATCH):
            points = store.get(ids[start : start + BATCH])
            store.upsert([replace(point, payload=point.payload | {"source": key}) for point in points])


def _update_segments(
    writer: IndexWriter, plan: UpdatePlan, source: IndexSource, opened: "OpenModel", progress: Progress
) -> dict[str, str]:
    """Embed new videos and update changed videos; return why others were skipped, by video."""
    touched = {*plan.added, *plan.changed}
    videos = [video for video in source.videos if video in touched]
    stamps, captions = source.stamps(), source.first_captions
    skipped: dict[str, str] = {}
    total = sum(len(source.videos[video].segments) for video in videos)
    with progress.task("segments", total) as task:
        for records in _batches(source, videos):
            stores = writer.open_for_writing()
            for record in records:
                with _noting(skipped, record.video):
                    _require_finite(source, record.video)
            batch = [record for record in records if record.video not in skipped]
            segments = {segment_id(r.video, n): (r, n) for r in batch for n in range(len(r.segments))}
            features = {point: _hash_frames(source.frames(*segment)) for point, segment in segments.items()}
            # If only the file was moved or captions were added, the vector is kept.
            vectors = {
                point.id: point.vector
                for point in stores.segments.get(list(segments))
                if point.payload.get("features") == features[point.id]
            }
            missing = [point for point in segments if point not in vectors]
            embedded = opened.model.encode_videos(
                source.frames(*segments[point]) for point in missing
            ).numpy()
            vectors |= zip(missing, embedded, strict=True)
            for point, (record, number) in segments.items():
                with _noting(skipped, record.video):
                    require_normalisable(vectors[point][None], partial(_name_segment, record, number))
            points = [
                segment_point(
                    record,
                    number,
                    vectors[point],
                    captions=captions.get(record.video, {}),
                    source=plan.source,
                    stamp=stamps[record.video],
                    features=features[point],
                )
                for point, (record, number) in segments.items()
                if record.video not in skipped
            ]
            stores.segments.upsert(points)
            stores.segments.delete(_surplus(plan.stored, [r for r in batch if r.video not in skipped]))
            task.advance(sum(len(record.segments) for record in records))
    return skipped


def _surplus(content: StoredContent, records: Sequence[VideoRecord]) -> list[str]:
    """Return the ids of stored segments that their videos no longer have."""
    return [
        segment_id(record.video, number)
        for record in records
        if record.video in content.videos
        for number in content.videos[record.video].stamps
        if number >= len(record.segments)
    ]


def _require_finite(source: IndexSource, video: str) -> None:
    require_finite(source.features[video], partial(source.features.name_frame, video), BROKEN)


@contextmanager
def _noting(faults: dict[str, str], name: str) -> Iterator[None]:
    """Note the first fault of a video or caption, and continue."""
    try:
        yield
    except MlcmrError as error:
        faults.setdefault(name, str(error))


def _hash_frames(frames: Features) -> str:
    return hashlib.blake2b(frames.tobytes(), digest_size=12).hexdigest()


def _batches(source: IndexSource, videos: Sequence[str]) -> Iterator[list[VideoRecord]]:
    """Yield complete videos, about `BATCH` segments at a time."""
    batch: list[VideoRecord] = []
    for video in videos:
        batch.append(with_properties(source.videos[video], source.roots))
        if sum(len(record.segments) for record in batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _update_captions(
    writer: IndexWriter,
    plan: UpdatePlan,
    opened: "OpenModel",
    skipped_videos: Mapping[str, str],
    progress: Progress,
) -> dict[str, str]:
    """Update the captions; return why some were skipped, by id."""
    skipped: dict[str, str] = {}
    if plan.old_captions:
        writer.open_for_writing().captions.delete(list(map(caption_point_id, plan.old_captions)))
    by_language: defaultdict[str, list[IndexedCaption]] = defaultdict(list)
    for caption in plan.new_captions:
        if caption.video not in skipped_videos:
            by_language[caption.language].append(caption)
    for language, new in by_language.items():
        with progress.task(f"captions ({language})", len(new)) as task:
            for start in range(0, len(new), BATCH):
                batch = new[start : start + BATCH]
                vectors = opened.model.encode_texts([caption.text for caption in batch], language).numpy()
                points = []
                for caption, vector in zip(batch, vectors, strict=True):
                    with _noting(skipped, caption.caption_id):
                        require_normalisable(vector[None], partial(_name_caption, caption))
                        points.append(caption_point(caption, vector, source=plan.source))
                writer.open_for_writing().captions.upsert(points)
                task.advance(len(batch))
    info = read_info(writer.folder)
    known = dict.fromkeys([*info.languages, *plan.languages])
    languages = tuple(language for language in known if language in plan.languages)
    if languages != info.languages:
        write_info(writer.folder, replace(info, languages=languages))
    return skipped


def _name_segment(record: VideoRecord, number: int, _: int) -> str:
    return f"video '{record.video}', segment {number}: its embedding"


def _name_caption(caption: IndexedCaption, _: int) -> str:
    return f"caption '{caption.caption_id}': its embedding"
