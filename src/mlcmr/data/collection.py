"""A collection: one folder with frame features and captions, in the `VisualSearch` layout."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from mlcmr.data.features import FrameFeatures, open_features
from mlcmr.errors import UserError

SPLITS = ("train", "val", "test")
FEW = 20
"""Videos of a split, below which what is measured on them says little."""
# The published README, its code and its archives call the same two collections by these names.
_SAME_COLLECTION = (("vatex", "VATEX"), ("msrvtt10kyu", "msrvtt10k", "msrvtt"))


@dataclass(frozen=True, slots=True)
class Collection:
    """One data set on disk.

    Attributes:
        folder: `<rootpath>/<collection>`.
        name: What its caption files begin with; nearly always the folder's name.
    """

    folder: Path
    name: str

    def caption_file(self, split: str, suffix: str = "") -> Path:
        """The path of a caption file, whether it exists or not."""
        return self.folder / "TextData" / f"{self.name}{split}{suffix}.caption.txt"

    def feature_folder(self, feature: str) -> Path:
        """The folder of one kind of frame feature, whether it exists or not."""
        return self.folder / "FeatureData" / feature

    def open_features(self, feature: str) -> FrameFeatures:
        """Opens the frame features called `feature`.

        Raises:
            UserError: there is no such feature (the message lists those there are), or it is damaged.
        """
        folder = self.feature_folder(feature)
        if not os.path.isdir(folder):
            names = sorted(path.name for path in folder.parent.glob("*/") if not path.name.startswith("."))
            raise UserError(f"{folder}: no such feature; there is {', '.join(names) or 'none'}")
        return open_features(folder)


def require_open(folder: Path) -> None:
    """Refuses a folder that one may not look into.

    Raises:
        UserError: it is one.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be looked into: {os.strerror(errno.EACCES)}")


def same_collection(name: str, other: str) -> bool:
    """Whether two names mean one published collection."""
    return name == other or any(name in names and other in names for names in _SAME_COLLECTION)


def open_collection(rootpath: str | os.PathLike[str], name: str) -> Collection:
    """Finds a collection below `rootpath`.

    `vatex` and `VATEX` are one collection, and so are `msrvtt10k`, `msrvtt10kyu` and `msrvtt`: whichever
    folder is there is taken, and whichever of these names its caption files begin with.

    Raises:
        UserError: no such folder.
    """
    root = Path(rootpath).expanduser()
    others = next((names for names in _SAME_COLLECTION if name in names), ())
    names = [name, *(other for other in others if other != name)]
    folders = [root / candidate for candidate in names if os.path.isdir(root / candidate)]
    # One with captions, if there is one: runs may have made a folder under another of its names.
    folder = next((one for one in folders if os.path.isdir(one / "TextData")), next(iter(folders), None))
    if folder is None:
        beside = root.glob("*/") if os.path.isdir(root) else ()
        there = sorted(path.name for path in beside if os.path.isdir(path / "TextData"))
        raise UserError(f"{root / name}: no such collection; there is {', '.join(there) or 'none'} in {root}")
    require_open(folder)
    files = [path.name for path in (folder / "TextData").glob("*.caption.txt")]
    prefixes = [folder.name, *names]
    begun = (p for p in prefixes for split in SPLITS if any(file.startswith(p + split) for file in files))
    return Collection(folder, next(begun, folder.name))
