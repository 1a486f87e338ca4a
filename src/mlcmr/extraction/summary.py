"""The summary of an extraction."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.plan import describe_unread
from mlcmr.text import plural


@dataclass(frozen=True)
class ExtractionSummary:
    """The summary of an extraction; its text is what `mlcmr extract` prints.

    Attributes:
        collection: The collection's folder.
        feature: The name of the feature folder.
        encoder: The name of the frame encoder.
        sampling: Which frames were sampled.
        videos: The number of videos in the collection after the extraction.
        extracted: The number of videos that this extraction read.
        frames: The number of frames sampled from these videos.
        skipped: Files that cannot be read, with the reason.
        closed: Folders that cannot be listed and files that cannot be examined, with the reason. Videos
            extracted from them before are kept.
        damaged: Files that were read only in part.
        jumping: Files whose clock jumps, such as joined recordings.
        moved: The number of videos with a new path, because their folder was moved or renamed.
        others: The number of files that are neither videos nor images, by file extension.
        gone: Ids of videos whose file has been deleted.
        away: The number of videos that are kept because their folder does not exist or is empty, by folder.
        pruned: Whether the videos in `gone` were removed from the collection.
        seconds: How long the extraction took.
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
    jumping: Sequence[Path]
    moved: int
    others: Mapping[str, int]
    gone: Sequence[str]
    away: Mapping[Path, int]
    pruned: bool
    seconds: float

    def __str__(self) -> str:
        work = f"{self.extracted:,} extracted now ({plural(self.frames, 'frame')}, {self.seconds:.1f} s)"
        lines = [
            f"{self.collection}: {plural(self.videos, 'video')}, {work}",
            f"  feature:  {self.feature}, {self.sampling}",
        ]
        if self.skipped:
            lines.append(f"  skipped:  {plural(len(self.skipped), 'file')} that cannot be read")
        if self.closed:
            lines.append(f"  closed:   {plural(len(self.closed), 'path')} that cannot be accessed")
        if self.damaged:
            lines.append(f"  damaged:  {plural(len(self.damaged), 'file')}, read as far as possible")
        if self.jumping:
            lines.append(
                f"  jumping:  {plural(len(self.jumping), 'file')} whose clock jumps, read as one recording"
            )
        if self.moved:
            lines.append(
                f"  moved:    {plural(self.moved, 'video')} in a folder that was moved, not extracted again"
            )
        lines += describe_unread(self.others, self.gone, self.away, pruned=self.pruned)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as a dictionary of plain values, for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "collection": str(self.collection),
            "sampling": asdict(self.sampling),
            "skipped": [[str(path), reason] for path, reason in self.skipped],
            "closed": {str(path): reason for path, reason in self.closed.items()},
            "damaged": [str(path) for path in self.damaged],
            "jumping": [str(path) for path in self.jumping],
            "others": dict(self.others),
            "gone": list(self.gone),
            "away": {str(folder): count for folder, count in self.away.items()},
        }
