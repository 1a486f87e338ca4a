"""The captions of a collection to which `prepare` adds others."""

import filecmp
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from mlcmr.data.captions import read_captions
from mlcmr.data.check.caption_file import ENDING, CaptionFile
from mlcmr.data.collection import ADDED_FOLDER, SPLITS, Collection, open_collection
from mlcmr.data.languages import sorted_languages
from mlcmr.errors import InvalidValueError
from mlcmr.files import new_folder, remove_unfinished, replacing

CaptionsOfVideo = dict[str, dict[int, str]]
"""The captions of one video by language and number."""


def languages_of(videos: Iterable[CaptionsOfVideo]) -> list[str]:
    """Return the languages of the captions of videos, English first."""
    return sorted_languages(chain.from_iterable(videos))


_MOST_DIGITS = 18  # of the number of a caption; Python refuses numbers of thousands of digits


@dataclass(slots=True)
class ExistingCaptions:
    """The captions of a collection that people wrote; none of a new collection.

    Attributes:
        collection: The collection.
        split_of: The split of each video.
        videos: The captions of each video.
        languages: The languages of the captions.
    """

    collection: Collection
    split_of: dict[str, str] = field(default_factory=dict)
    videos: dict[str, CaptionsOfVideo] = field(default_factory=dict)
    languages: set[str] = field(default_factory=set)

    def assign_splits(self, split_of: Mapping[str, str | None], videos: Iterable[str]) -> dict[str, str]:
        """Return the splits of videos whose captions are added; videos without a split are left out.

        Args:
            split_of: The split of each video in the new files and lists.
            videos: The videos.

        Raises:
            InvalidValueError: If a video is in another split than the new files say, or no video has a split.
        """
        assigned = {}
        for video in videos:
            here, new = self.split_of.get(video), split_of.get(video)
            if here and new and here != new:
                raise InvalidValueError(
                    f"{self.text}: video '{video}' is in {here} there, but in {new} in the new files",
                    path=self.text,
                )
            if split := here or new:
                assigned[video] = split
        if not assigned:
            raise InvalidValueError(
                f"{self.text}: has captions of other videos; say with `split` where the new videos belong, "
                "or name another `collection`",
                path=self.text,
                parameter="split",
            )
        return assigned

    @property
    def text(self) -> Path:
        """Return the folder of the caption files."""
        return self.collection.folder / "TextData"

    @contextmanager
    def adding(self) -> Iterator[Path]:
        """Open a folder for new caption files; on success, all appear in the collection, else none.

        If the process is killed while it copies, the next call of `read_existing` removes the copies.
        """
        if not self.text.exists():
            with new_folder(self.text) as temporary:
                yield temporary
            return
        added = self.collection.folder / ADDED_FOLDER
        with new_folder(added) as temporary:
            yield temporary
        try:
            for path in sorted(added.iterdir()):
                with replacing(self.text / path.name) as copy:
                    shutil.copyfile(path, copy)
        except BaseException:
            _remove_copies(added, self.text)
            raise
        _remove_folder(added)


def read_existing(folder: Path) -> ExistingCaptions:
    """Read the captions of a collection that people wrote.

    Raises:
        CorruptFileError: If a file is malformed.
    """
    text = folder / "TextData"
    if (folder / ADDED_FOLDER).is_dir():
        _remove_copies(folder / ADDED_FOLDER, text)
    if text.is_dir() and not any(text.iterdir()):
        text.rmdir()
    if not text.exists():
        return ExistingCaptions(Collection(folder, folder.name))
    collection = open_collection(folder.parent, folder.name)
    existing = ExistingCaptions(collection)
    for split in SPLITS:
        for path in sorted(text.glob(f"{collection.name}{split}*{ENDING}")):
            suffix = path.name.removesuffix(ENDING).removeprefix(f"{collection.name}{split}")
            file = CaptionFile(path, split, suffix)
            if file.language and file.source is None:
                _read_file(existing, file)
    return existing


def _read_file(existing: ExistingCaptions, file: CaptionFile) -> None:
    captions = read_captions(file.path)
    existing.languages.add(file.language)
    for video, key, text in zip(captions.videos, captions.keys, captions.texts, strict=True):
        number = key.rpartition("#")[2]
        existing.split_of.setdefault(video, file.split)
        numbered = existing.videos.setdefault(video, {}).setdefault(file.language, {})
        # Other programs may use other words as numbers; such captions make no pairs with new captions.
        is_number = number.isdecimal() and len(number) <= _MOST_DIGITS
        numbered[int(number) if is_number else -1 - len(numbered)] = text


def _remove_copies(added: Path, text: Path) -> None:
    """Remove the copies of the caption files in `added`, complete or not, and `added` itself."""
    for path in added.iterdir():
        copy = text / path.name
        remove_unfinished(copy)
        if copy.is_file() and filecmp.cmp(path, copy, shallow=False):
            copy.unlink()
    _remove_folder(added)


def _remove_folder(added: Path) -> None:
    """Rename a folder, then remove it, so that a killed process leaves no incomplete folder of this name."""
    removed = added.with_name(f"{added.name}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    added.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)
