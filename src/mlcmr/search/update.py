"""Bringing an index up to date with a source: only what is new or has changed is embedded."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mlcmr.data.features import Features
from mlcmr.display import Display
from mlcmr.errors import UserError
from mlcmr.extraction.videos import VideoRecord
from mlcmr.search.folder import COLLECTION, IndexWriter, Stores
from mlcmr.search.info import read_info, write_info
from mlcmr.search.models import OpenModel
from mlcmr.search.points import caption_point, caption_point_id, segment_id, segment_point
from mlcmr.search.source import Caption, Source, with_properties

BATCH = 256
"""Segments, or captions, that are embedded and stored together; then they are safe."""


@dataclass
class Changes:
    """How many videos were added, embedded or described anew, taken out, or there already."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


def remove_videos(writer: IndexWriter, videos: Sequence[str]) -> Changes:
    """Takes out videos by id.

    Raises:
        UserError: one is not there; none is taken out then.
    """
    stored = _stored(writer.stores)
    unknown = [video for video in videos if video not in stored]
    if unknown:
        raise UserError(f"--remove {unknown[0]}: no such video in the index; `mlcmr search` shows ids")
    _take_out(writer, {video: stored[video] for video in videos})
    return Changes(removed=len(set(videos)))


def update_index(
    writer: IndexWriter, source: Source, opened: OpenModel, *, prune: bool, captions: bool, display: Display
) -> Changes:
    """Embeds what is new or has changed in a source; takes out what is gone from it.

    A source that is gone and most of whose videos this one has is this one: it was moved or renamed.

    Args:
        writer: The index.
        source: Its videos and captions.
        opened: The model.
        prune: Whether videos that have left the source are taken out; else they stay, with their captions.
        captions: Whether captions are wanted; else all those of this source are taken out.
        display: Shows progress.

    Raises:
        UserError: the index holds one of the videos from another source.
    """
    key = _key(writer, source)
    stored = _stored(writer.stores)
    for before in {stored[v].source for v in source.videos if v in stored} - {key}:
        if _is_gone(writer.folder / before) and _has_most(writer, source, stored, before):
            _rename_source(writer.begin(), before, key, source)
            stored = _stored(writer.stores)
    foreign = next((v for v in source.videos if v in stored and stored[v].source != key), None)
    if foreign is not None:
        raise UserError(
            f"{writer.folder}: video '{foreign}' is in this index already, from {stored[foreign].source}; "
            f"index {source.collection.folder} into another folder (--to)"
        )
    left = {video: one for video, one in stored.items() if one.source == key and video not in source.videos}
    if prune:
        _take_out(writer, left)
    added, changed = _update_segments(writer, source, opened, stored, key, display=display)
    _update_captions(writer, source, opened, key, captions=captions, display=display)
    return Changes(
        added=added,
        changed=changed,
        removed=len(left) if prune else 0,
        unchanged=len(source.videos) - added - changed,
    )


class _Stored(NamedTuple):
    """What the index holds of one video."""

    segments: dict[int, str]  # stamps
    source: str


def _stored(stores: Stores) -> dict[str, _Stored]:
    found: dict[str, _Stored] = {}
    for _, payload in stores.segments.scan(["video", "segment", "stamp", "source"]):
        one = found.setdefault(payload["video"], _Stored({}, payload["source"]))
        one.segments[payload["segment"]] = payload["stamp"]
    return found


def _key(writer: IndexWriter, source: Source) -> str:
    """The collection, as the index notes it: its own by name, so that the index can be moved."""
    own = source.collection.folder.resolve() == (writer.folder / COLLECTION).resolve()
    return COLLECTION if own else str(source.collection.folder)


def _is_gone(folder: Path) -> bool:
    """Whether a folder is not there any more; one that cannot be looked at may be."""
    try:
        folder.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _has_most(writer: IndexWriter, source: Source, stored: Mapping[str, _Stored], before: str) -> bool:
    """Whether a source has most videos of the source `before`, with the same features as far as we look.

    A clip or two may be in both, as where all start with the same one.
    """
    videos = [video for video, one in stored.items() if one.source == before]
    same = [video for video in videos if video in source.videos]
    features = {segment_id(v, 0): _digest(source.frames(source.videos[v], 0)) for v in same[:BATCH]}
    points = writer.stores.segments.get(list(features))
    return len(same) * 2 > len(videos) and features == {one.id: one.payload.get("features") for one in points}


def _rename_source(stores: Stores, before: str, key: str, source: Source) -> None:
    """Notes that what is from the source `before` is from another, which it has become."""
    # The segments of videos that the source has tell the next run that there is something to rename. So they
    # come last: whoever is interrupted goes on.
    for store in (stores.captions, stores.segments):
        found = [
            (p["video"] in source.videos, one)
            for one, p in store.scan(["video", "source"])
            if p["source"] == before
        ]
        ids = [one for _, one in sorted(found)]
        for start in range(0, len(ids), BATCH):
            points = store.get(ids[start : start + BATCH])
            store.upsert([replace(one, payload=one.payload | {"source": key}) for one in points])


def _take_out(writer: IndexWriter, videos: Mapping[str, _Stored]) -> None:
    if not videos:
        return
    stores = writer.begin()
    of_captions = [point for point, payload in stores.captions.scan(["video"]) if payload["video"] in videos]
    stores.captions.delete(of_captions)
    of_segments = [segment_id(video, number) for video, one in videos.items() for number in one.segments]
    stores.segments.delete(of_segments)


def _update_segments(
    writer: IndexWriter,
    source: Source,
    opened: OpenModel,
    stored: Mapping[str, _Stored],
    key: str,
    *,
    display: Display,
) -> tuple[int, int]:
    """Embeds videos that are new, brings up to date those that have changed; returns how many they are."""
    stamps, captions = source.stamps(), source.first_captions
    new = [
        video
        for video, record in source.videos.items()
        if video not in stored
        or stored[video].segments != dict.fromkeys(range(len(record.segments)), stamps[video])
    ]
    with display.work("segments", sum(len(source.videos[video].segments) for video in new)) as advance:
        for batch in _batches(source, new):
            stores = writer.begin()
            places = {segment_id(one.video, n): (one, n) for one in batch for n in range(len(one.segments))}
            features = {one: _digest(source.frames(*place)) for one, place in places.items()}
            # Where a file was only moved, or captions have come, the vector stays.
            vectors = {
                point.id: point.vector
                for point in stores.segments.get(list(places))
                if point.payload.get("features") == features[point.id]
            }
            anew = [one for one in places if one not in vectors]
            embedded = opened.model.encode_videos(source.frames(*places[one]) for one in anew).numpy()
            vectors |= zip(anew, embedded, strict=True)
            points = [
                segment_point(
                    record,
                    number,
                    vectors[one],
                    captions=captions.get(record.video, {}),
                    source=key,
                    stamp=stamps[record.video],
                    features=features[one],
                )
                for one, (record, number) in places.items()
            ]
            surplus = [
                segment_id(record.video, number)
                for record in batch
                if record.video in stored
                for number in stored[record.video].segments
                if number >= len(record.segments)
            ]
            stores.segments.upsert(points)
            stores.segments.delete(surplus)
            advance(len(points))
    changed = sum(video in stored for video in new)
    return len(new) - changed, changed


def _digest(frames: Features) -> str:
    return hashlib.blake2b(frames.tobytes(), digest_size=12).hexdigest()


def _batches(source: Source, videos: Sequence[str]) -> Iterator[list[VideoRecord]]:
    """Whole videos, about `BATCH` segments at a time."""
    batch: list[VideoRecord] = []
    for video in videos:
        batch.append(with_properties(source.videos[video]))
        if sum(len(record.segments) for record in batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _update_captions(
    writer: IndexWriter, source: Source, opened: OpenModel, key: str, *, captions: bool, display: Display
) -> None:
    there: dict[str, Caption] = {}
    languages = set(source.languages)
    for _, payload in writer.stores.captions.scan(["caption_id", "video", "language", "text", "source"]):
        if payload.pop("source") == key:
            there[payload["caption_id"]] = Caption(**payload)
        else:
            languages.add(payload["language"])
    gone = {
        one
        for one, caption in there.items()
        if one not in source.captions and (not captions or caption.video in source.videos)
    }
    if gone:
        writer.begin().captions.delete(list(map(caption_point_id, gone)))
    by_language: defaultdict[str, list[Caption]] = defaultdict(list)
    for one, caption in source.captions.items():
        if there.get(one) != caption:
            by_language[caption.language].append(caption)
    for language, new in by_language.items():
        with display.work(f"captions ({language})", len(new)) as advance:
            for start in range(0, len(new), BATCH):
                batch = new[start : start + BATCH]
                vectors = opened.model.encode_texts([one.text for one in batch], language).numpy()
                points = [
                    caption_point(one, vector, source=key) for one, vector in zip(batch, vectors, strict=True)
                ]
                writer.begin().captions.upsert(points)
                advance(len(batch))
    languages |= {caption.language for one, caption in there.items() if one not in gone}
    info = read_info(writer.folder)
    ordered = tuple(one for one in dict.fromkeys([*info.languages, *source.languages]) if one in languages)
    if ordered != info.languages:
        write_info(writer.folder, replace(info, languages=ordered))
