"""The result of `prepare`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mlcmr.data.collection import FEW
from mlcmr.data.text_table import TextTable
from mlcmr.text import plural, printable

_SHOWN = 20  # unknown names


@dataclass(slots=True)
class PrepareSummary:
    """The captions that `prepare` wrote, and those that it left out; its text is what `mlcmr prepare` prints.

    Attributes:
        folder: The folder of the collection.
        videos: The number of videos by split and language.
        captions: The number of captions by split and language.
        halves: The number of videos by language in the file of the unparallel scenario; empty if no such file
            was written.
        split_source: The source of the splits, for people.
        by_chance: Whether chance decided the splits.
        unpaired: The languages that make no pairs, as some videos have other numbers of captions in them.
        blank: The number of captions without text, which are left out.
        duplicates: The number of captions left out because their video has the same captions already.
        without_counterpart: The number of captions left out because another language has no counterpart.
        without_captions: The number of videos without captions.
        unlisted: The number of videos left out because they are in no list of videos.
        unknown: The number of captions left out because their language is unknown, by its name.
        replaced: The number of captions left out because the list of videos has other captions.
        unplaced: The number of videos left out because existing captions do not have them.
        unused_list: The name of a list of videos whose captions were not used.
        half_kept: Whether the file of the unparallel scenario existed already.
        clip_id: The first id that includes start and end; empty if none does.
        whole_id: The first id of a video with start and end that does not include them.
        similar_ids: Two ids that differ only in upper and lower case.
        unknown_splits: The number of videos whose row names no known split, by what the row has instead.
    """

    folder: Path
    videos: dict[tuple[str, str], int] = field(default_factory=dict)
    captions: dict[tuple[str, str], int] = field(default_factory=dict)
    halves: dict[str, int] = field(default_factory=dict)
    split_source: str = ""
    by_chance: bool = False
    unpaired: list[str] = field(default_factory=list)
    blank: int = 0
    duplicates: int = 0
    without_counterpart: int = 0
    without_captions: int = 0
    unlisted: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    replaced: int = 0
    unplaced: int = 0
    unused_list: str = ""
    half_kept: bool = False
    clip_id: str = ""
    whole_id: str = ""
    similar_ids: tuple[str, ...] = ()
    unknown_splits: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.tables()), *self.lines()])

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values, for JSON; keys are like `train.en`."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {
            "folder": str(self.folder),
            "videos": {".".join(key): count for key, count in self.videos.items()},
            "captions": {".".join(key): count for key, count in self.captions.items()},
            "unknown": dict(self.unknown),
            "unknown_splits": dict(self.unknown_splits),
            "similar_ids": list(self.similar_ids),
        }

    def tables(self) -> list[TextTable]:
        """Return the table of videos and captions by split and language."""
        rows = [
            (split, language, f"{self.videos[split, language]:,}", f"{count:,}")
            for (split, language), count in self.captions.items()
        ]
        return [TextTable(("split", "language"), ("videos", "captions"), rows)]

    def lines(self) -> Iterator[str]:
        """Yield the notes below the table, one line each."""
        yield f"splits: {self.split_source}"
        if self.unknown_splits:
            names = _list_counts(self.unknown_splits)
            yield f"splits: videos whose rows name no known split, as if without the column: {names}"
        yield from self._left_out()
        yield from self._id_notes()
        if self.halves:
            shares = ", ".join(f"{count:,} in {language}" for language, count in self.halves.items())
            yield f"unparallel: of the videos to train on, {shares}"
        if self.half_kept:
            yield "unparallel: its file stays as it was, without these; prepare all files at once for another"
        if self.unused_list:
            yield (
                f"{self.unused_list} has captions of its own: `list_captions` takes these alone, as the "
                "protocol of MSR-VTT 1k-A asks"
            )
        yield from self._small_splits()
        if self.unpaired:
            yield (
                f"not paired: {', '.join(self.unpaired)}, as some videos lack captions in one language that "
                "they have in another; `pair` leaves out captions without a counterpart, and pairs the others"
            )

    def _left_out(self) -> Iterator[str]:
        left_out = {
            "blank captions": self.blank,
            "captions that their video has already": self.duplicates,
            "captions without a counterpart in another language": self.without_counterpart,
            "videos without captions": self.without_captions,
            "videos in no list": self.unlisted,
            "captions that their list does not have": self.replaced,
            "videos that the collection has no captions of (`split` says where they belong)": self.unplaced,
        }
        for name, count in left_out.items():
            if count:
                yield f"left out: {name}: {count:,}"
        if self.unknown:
            yield f"left out: captions in unknown languages: {_list_counts(self.unknown)}"

    def _id_notes(self) -> Iterator[str]:
        if self.clip_id:
            yield f"ids: with start and end: {self.clip_id}"
        if self.whole_id:
            yield (
                f"ids: without start and end ({self.whole_id}), because no video has two clips, or because "
                "existing ids have none; `start_column` adds them"
            )
        if self.similar_ids:
            names = " and ".join(self.similar_ids)
            yield f"ids: {names} differ only in upper and lower case; they are two videos"

    def _small_splits(self) -> Iterator[str]:
        text = printable(self.folder / "TextData")
        for split in ("val", "test"):
            sizes = [count for (of_split, _), count in self.videos.items() if of_split == split]
            if sizes and min(sizes) < FEW:
                other = f"; for other shares, remove {text} and set `shares`" if self.by_chance else ""
                few = plural(min(sizes), "video")
                yield f"few: {few} in {split}: measurements on so few videos say little{other}"


def _list_counts(unknown: Counter[str]) -> str:
    """Return unknown names and how often each occurs, the most frequent first."""
    return ", ".join(f"'{printable(name)[:40]}' {count:,}" for name, count in unknown.most_common(_SHOWN))
