"""The plan of an extraction: which files are read, and what becomes of the videos extracted before.

Files are compared by size and time, not decoded. `extract` acts on this plan, and a dry run of `mlcmr.index`
shows it.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlcmr.errors import NotFoundError
from mlcmr.extraction.discovery import (
    assign_ids,
    count_away,
    find_files,
    find_gone,
    find_left_behind,
    find_moved,
    is_unchanged,
    was_in,
)
from mlcmr.extraction.records import VideoRecord, is_utf8
from mlcmr.paths import user_path
from mlcmr.text import plural, printable

_MOST_EXTENSIONS = 6


@dataclass(frozen=True)
class ExtractionPlan:
    """The files of a folder whose features must be extracted.

    Attributes:
        source: The folder or the file.
        new: New files.
        changed: Files that have changed since they were extracted.
        unchanged: The number of files whose features exist already.
        moved: The number of those files that were found under a new path.
        gone: Ids of videos whose files no longer exist, in order.
        pruned: Whether the videos in `gone` are removed.
        named: Ids of videos that are removed because the user has named them; their files are not read.
        closed: Why a file or folder cannot be accessed, by path; videos extracted from it before are kept.
        unreadable: Why a video or image cannot be read, by path.
        others: The number of files that are neither videos nor images, by file extension.
        files: The videos and images that can be read, with their status.
        ids: The video ids of these files.
        moves: The records of videos with a new path, by this path.
        records: The records of the videos extracted before, with their new paths, without those in `named`.
    """

    source: Path
    new: tuple[Path, ...] = ()
    changed: tuple[Path, ...] = ()
    unchanged: int = 0
    moved: int = 0
    gone: tuple[str, ...] = ()
    pruned: bool = False
    named: tuple[str, ...] = ()
    closed: Mapping[Path, str] = field(default_factory=dict)
    unreadable: Mapping[Path, str] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[Path, os.stat_result] = field(default_factory=dict, repr=False)
    ids: Mapping[Path, str] = field(default_factory=dict, repr=False)
    moves: Mapping[Path, VideoRecord] = field(default_factory=dict, repr=False)
    records: tuple[VideoRecord, ...] = field(default=(), repr=False)

    @property
    def is_folder(self) -> bool:
        """True for a folder; a single file says nothing about the files beside it."""
        return not os.path.isfile(self.source)

    @property
    def root(self) -> Path:
        """The folder from which the ids of videos start."""
        return self.source if self.is_folder else self.source.parent

    @property
    def skipped(self) -> dict[Path, str]:
        """The reason for each file or folder that is skipped, by path."""
        return {**self.closed, **self.unreadable}

    @property
    def read(self) -> dict[Path, os.stat_result]:
        """The new and the changed files, with their status."""
        touched = {*self.new, *self.changed}
        return {path: status for path, status in self.files.items() if path in touched}

    @property
    def removed(self) -> tuple[str, ...]:
        """Ids of all videos to remove: the named ones, and with `pruned` those in `gone`."""
        return (*self.named, *self.gone) if self.pruned else self.named

    @property
    def away(self) -> Mapping[Path, int]:
        """The number of videos that are kept because their folder does not exist or is empty, by folder."""
        return count_away(self.records, self.root) if self.is_folder else {}

    @property
    def removes_all(self) -> bool:
        """Return whether the last videos are removed because their files are gone."""
        return self.pruned and not self.files and 0 < len(self.gone) == len(self.records)

    def require_files(self) -> None:
        """Check that there is something to do.

        Raises:
            NotFoundError: If the source holds no video or image, and no video is removed.
        """
        if not (self.files or self.unreadable or (self.gone and self.pruned)):
            raise NotFoundError(f"{self.source}: no video or image, by file extension", path=self.source)


def plan_extraction(
    source: Path,
    collection: Path,
    records: Iterable[VideoRecord],
    *,
    remove: Collection[str] = (),
    prune: bool = False,
) -> ExtractionPlan:
    """Plan an extraction.

    Args:
        source: The real path of a folder of videos and images, or of one file.
        collection: The real path of the collection.
        records: The videos extracted before.
        remove: Ids of videos to remove; their files are not read.
        prune: Whether videos whose files are gone are removed. Then the folder itself may be gone.

    Raises:
        NotFoundError: If there is no such folder or file.
        InvalidValueError: If the extension of the file is not that of a video or an image.
        MlcmrError: If the folder cannot be accessed.
    """
    known = list(records)
    named = tuple(sorted(record.video for record in known if record.video in remove))
    plan = ExtractionPlan(source, pruned=prune, named=named)
    root = plan.root
    if prune and not os.path.lexists(source) and any(was_in(record, root) for record in known):
        kept = tuple(record for record in known if record.video not in remove)
        return replace(plan, gone=tuple(sorted(find_gone(kept, root, {}, {}))), records=kept)
    found = find_files(source, collection)
    moved = find_moved(known, root, found.files) if plan.is_folder else {}
    moves = find_left_behind(known, root, moved) | moved
    places = {record.video: str(path) for path, record in moves.items()}
    known = [replace(record, path=places.get(record.video, record.path)) for record in known]
    by_path = {record.path: record for record in known}
    kept = tuple(record for record in known if record.video not in remove)
    unreadable = {path: "its name is not UTF-8; rename it" for path in found.files if not is_utf8(path)}
    readable = {path: status for path, status in found.files.items() if path not in unreadable}
    # A video to remove takes its id with it: its file must not be read as another video.
    ids = assign_ids(readable, root, {record.path: record.video for record in known})
    wanted = {path: status for path, status in readable.items() if ids[path] not in remove}
    new = tuple(path for path in wanted if str(path) not in by_path)
    changed = tuple(
        path
        for path, status in wanted.items()
        if str(path) in by_path and not is_unchanged(by_path[str(path)], path, status)
    )
    return replace(
        plan,
        new=new,
        changed=changed,
        unchanged=len(wanted) - len(new) - len(changed),
        moved=sum(record.video not in remove for record in moved.values()),
        gone=tuple(sorted(find_gone(kept, root, found.files, found.closed))) if plan.is_folder else (),
        closed=found.closed,
        unreadable=unreadable,
        others=found.others,
        files=readable,
        ids=ids,
        moves={path: record for path, record in moves.items() if record.video not in remove},
        records=kept,
    )


def describe_unread(
    others: Mapping[str, int], gone: Sequence[str], away: Mapping[Path, int], *, pruned: bool
) -> list[str]:
    """Return lines about files that are not read and videos without files, which `ExtractionPlan` counts."""
    lines = []
    if others:
        by_frequency = sorted(others.items(), key=lambda item: (-item[1], item[0]))
        extensions = ", ".join(
            f"{printable(extension) or 'no extension'} {count:,}"
            for extension, count in by_frequency[:_MOST_EXTENSIONS]
        )
        more = ", …" if len(others) > _MOST_EXTENSIONS else ""
        total = plural(sum(others.values()), "file")
        lines.append(f"  left out: {total}, by file extension ({extensions}{more})")
    if gone:
        action = "removed" if pruned else "kept; `prune` removes them"
        lines.append(f"  gone:     {plural(len(gone), 'video')} whose file is gone, {action}")
    for folder, count in sorted(away.items()):
        lines.append(
            f"  away:     {plural(count, 'video')} of {printable(folder)}, kept: that folder does not "
            "exist or is empty (is a disk not mounted?); `prune` with that folder removes them"
        )
    return lines


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return the real path of a folder; of a file, that of its folder and the file's own name.

    A folder has one name, whether it is reached through a link or not. A linked file is a video of its own.
    """
    named = user_path(path)
    if os.path.isfile(named):
        return Path(os.path.realpath(named.parent), named.name)
    return Path(os.path.realpath(named))
