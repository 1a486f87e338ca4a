"""Make a collection from frame features and captions of your own, and check it.

    pip install mlcmr
    python own_features.py VisualSearch
    mlcmr train --rootpath VisualSearch --collection mine --feature brightness --run runs/mine

Features may come from any program. Here they are made up: replace `features_of` and `CAPTIONS`.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mlcmr
from mlcmr.data import write_captions, write_features

CAPTIONS = {  # two languages, in the same order: equal numbers mean a translation
    f"clip{number:02d}": {"en": [f"Clip {number} is shown."], "zh": [f"这是第{number}段视频。"]}
    for number in range(20)
}
SPLITS = {"train": (0, 14), "val": (14, 17), "test": (17, 20)}  # no video is in two splits


def features_of(video: str) -> NDArray[np.float32]:
    """Return one row of features for each frame: (frames, dimension)."""
    random = np.random.default_rng(len(video))
    return random.normal(size=(8, 32)).astype(np.float32)


def main(rootpath: str) -> None:
    """Write the collection `mine` with the feature `brightness`."""
    collection = Path(rootpath) / "mine"
    blocks = []
    for video in CAPTIONS:
        rows = features_of(video)
        blocks.append(([f"{video}_{number}" for number in range(len(rows))], rows))
    write_features(collection / "FeatureData" / "brightness", blocks)

    for split, (start, end) in SPLITS.items():
        for language, tag, suffix in (("en", "enc", ""), ("zh", "zh", "_zh")):
            lines = [
                (f"{video}#{tag}#{number}", text)
                for video in list(CAPTIONS)[start:end]
                for number, text in enumerate(CAPTIONS[video][language])
            ]
            write_captions(collection / "TextData" / f"mine{split}{suffix}.caption.txt", lines)
    print(mlcmr.check(collection))


if __name__ == "__main__":
    main(sys.argv[1])
