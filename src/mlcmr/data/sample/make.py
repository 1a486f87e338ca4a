"""Makes the sample: draws its videos, describes their frames, writes its captions."""

import itertools
import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlcmr.data.captions import write_captions
from mlcmr.data.collection import SPLITS, Collection
from mlcmr.data.features import Features, Progress, write_features
from mlcmr.data.sample import chinese, english, german, machine, spanish
from mlcmr.data.sample.describe import DIMENSION, describe
from mlcmr.data.sample.draw import FRAMES, draw
from mlcmr.data.sample.telling import Telling, tellings
from mlcmr.data.sample.video import read_video, write_video
from mlcmr.data.sample.world import Scene, near_duplicates
from mlcmr.data.scenario import human_suffix, translation_file
from mlcmr.errors import UserError
from mlcmr.files import write_text

NAME = "sample"
FEATURE = f"hues{DIMENSION}"
MANIFEST = "sample.json"
FEWEST, MOST = 20, 20_000
"""Videos."""

_TELL: dict[str, Callable[[Telling], str]] = {
    "en": english.tell,
    "zh": chinese.tell,
    "de": german.tell,
    "es": spanish.tell,
}
_TRANSLATE: dict[tuple[str, str], Callable[[str], str]] = {
    ("en", "zh"): machine.english_to_chinese,
    ("zh", "en"): machine.chinese_to_english,
}


@dataclass(frozen=True)
class SampleSettings:
    """What a sample is made of; the same settings make the same sample.

    Attributes:
        videos: An even number; of 2,000, 1,400 are for training, 200 for validation and 400 for testing.
        captions: Captions per video and language.
        seed: Another seed, another sample.
    """

    videos: int = 2000
    captions: int = 5
    seed: int = 0


@dataclass(frozen=True)
class SampleSummary:
    """What there is in a sample.

    Attributes:
        folder: The collection, `<rootpath>/sample`.
        made: Whether it was made now; else it was there.
        videos: The number of videos by split.
        captions: The number of captions by split and tag.
        feature: The name of the frame features.
        frames: The number of frames of each video.
        dimension: The size of one frame feature.
        seconds: How long making it took.
    """

    folder: Path
    made: bool
    videos: dict[str, int]
    captions: dict[str, dict[str, int]]
    feature: str = FEATURE
    frames: int = FRAMES
    dimension: int = DIMENSION
    seconds: float = 0.0
