"""Collections: folders with frame features and captions, in the `VisualSearch` layout."""

import errno
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mlcmr.arguments import check_arguments
from mlcmr.data.features.frame_features import FrameFeatures, open_features
from mlcmr.data.languages import language_of_suffix
from mlcmr.errors import MlcmrError, NotFoundError
from mlcmr.paths import user_path

SPLITS = ("train", "val", "test")
FEW = 20
"""The number of videos below which measurements on a split say little."""
HALF = "_half"
"""The suffix of the training file of the unparallel scenario: each video has captions in one language."""
ADDED_FOLDER = ".TextData.added"
"""The folder of the caption files that `prepare` adds to a collection, until all of them are complete."""
# The published README, code and archives use all of these names for the same two collections.
_SAME_COLLECTION = (("vatex", "VATEX"), ("msrvtt10kyu", "msrvtt10k", "msrvtt"))
_CAPTION_FILE = re.compile(rf"(?!\.)(.+)(?:{'|'.join(SPLITS)})(?:_.+)?\.caption\.txt")


@dataclass(frozen=True, slots=True)
class Collection:
    """One data set on disk.

    Attributes:
        folder: The folder, `<rootpath>/<collection>`.
        name: The beginning of the names of its caption files; nearly always the name of the folder.
    """

    folder: Path
    name: str

    def caption_file(self, split: str, suffix: str = "") -> Path:
        """Return the path of a caption file, whether it exists or not."""
        return self.folder / "TextData" / f"{self.name}{split}{suffix}.caption.txt"

    @property
    def name_in_files(self) -> str:
        """The name with which most caption files begin, if none begins with `name`; else `name`."""
        files = [path.name for path in (self.folder / "TextData").glob("*.caption.txt")]
        names = Counter(match[1] for match in map(_CAPTION_FILE.fullmatch, sorted(files)) if match)
        own = tuple(self.name + split for split in SPLITS)
        if not names or any(file.startswith(own) for file in files):
            return self.name
        return names.most_common(1)[0][0]

    @property
    def renaming(self) -> str:
        """Describe caption files that begin with another name than the collection's; empty if none do."""
        if self.name_in_files == self.name:
            return ""
        return (
            f"the caption files begin with '{self.name_in_files}', but a folder called '{self.folder.name}' "
            f"should have {self.name}<split>.caption.txt; rename the folder or the files"
        )

    def feature_folder(self, feature: str) -> Path:
        """Return the folder of one kind of frame feature, whether it exists or not."""
        return self.folder / "FeatureData" / feature

    def require_feature(self, feature: str) -> Path:
        """Return the folder of the frame features called `feature`.

        Raises:
            NotFoundError: If the feature does not exist; the message lists the existing features.
        """
        folder = self.feature_folder(feature)
        if not os.path.isdir(folder):
            names = sorted(path.name for path in folder.parent.glob("*/") if not path.name.startswith("."))
            raise NotFoundError(
                f"{folder}: no such feature; there is {', '.join(names) or 'none'}",
                path=folder,
                parameter="feature",
            )
        return folder

    def open_features(self, feature: str) -> FrameFeatures:
        """Open the frame features called `feature`.

        Raises:
            NotFoundError: If the feature or a file of the feature does not exist.
            CorruptFileError: If the feature is damaged.
        """
        return open_features(self.require_feature(feature))

    def languages(self, split: str) -> list[str]:
        """Return the languages in which people wrote captions of a split, by the names of the files."""
        named = re.compile(rf"{re.escape(self.name + split)}((?:_[a-z]{{2,3}})?)\.caption\.txt")
        files = map(named.fullmatch, sorted(path.name for path in self.caption_file(split).parent.glob("*")))
        return [language_of_suffix(match[1]) for match in files if match]


def require_open(folder: Path) -> None:
    """Refuse a folder that the user may not list.

    Raises:
        MlcmrError: If the user may not list it.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise MlcmrError(f"{folder}: cannot be looked into: {os.strerror(errno.EACCES)}", path=folder)


def same_collection(name: str, other: str) -> bool:
    """Return whether two names stand for the same published collection."""
    return name == other or any(name in names and other in names for names in _SAME_COLLECTION)


@check_arguments
def open_collection(rootpath: str | os.PathLike[str], name: str) -> Collection:
    """Find a collection below `rootpath`.

    `vatex` and `VATEX` are one collection, and so are `msrvtt10k`, `msrvtt10kyu` and `msrvtt`: the folder may
    have any of these names, and the names of its caption files may begin with any of them.

    Raises:
        NotFoundError: If the collection does not exist.
        MlcmrError: If the user may not list its folder.
    """
    root = user_path(rootpath)
    others = next((names for names in _SAME_COLLECTION if name in names), ())
    names = [name, *(other for other in others if other != name)]
    folders = [root / candidate for candidate in names if os.path.isdir(root / candidate)]
    # A folder with captions comes first: a run may have made a folder under another name of the collection.
    with_captions = [path for path in folders if os.path.isdir(path / "TextData")]
    folder = next(iter(with_captions + folders), None)
    if folder is None:
        beside = root.glob("*/") if os.path.isdir(root) else ()
        existing = sorted(path.name for path in beside if os.path.isdir(path / "TextData"))
        raise NotFoundError(
            f"{root / name}: no such collection; there is {', '.join(existing) or 'none'} in {root}",
            path=root / name,
            parameter="collection",
        )
    require_open(folder)
    files = [path.name for path in (folder / "TextData").glob("*.caption.txt")]
    prefixes = [folder.name, *names]
    used = (
        prefix
        for prefix in prefixes
        for split in SPLITS
        if any(file.startswith(prefix + split) for file in files)
    )
    return Collection(folder, next(used, folder.name))
