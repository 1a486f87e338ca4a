"""Inputs: a collection of VATEX's shape, captions, the published model with random weights."""

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from mlcmr.data.batches import PairDataset
from mlcmr.data.captions import read_captions
from mlcmr.data.collection import Collection
from mlcmr.data.scenarios import Scenario, ScenarioKind, read_training_pairs
from mlcmr.model.config import ModelConfig
from mlcmr.model.encoders.text import CaptionTokenizer, empty_encoder
from mlcmr.model.mlcmr import MLCMR

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FRAMES = 32
DIMENSION = 1024
CAPTIONS_PER_VIDEO = 10
LANGUAGES = ("en", "zh")
FEATURE = "i3d_kinetics"

_ENGLISH = "a man is playing the guitar in front of people while another one sings and some dance on stage"
_CHINESE = "一个穿着黑色衣服的男人在舞台上弹吉他旁边有几个人跳舞"


@dataclass(frozen=True)
class Sources:
    """The sources of real captions and of the text encoder's configuration.

    Attributes:
        captions: A folder with VATEX's caption files, or None: made up in the lengths of VATEX's.
        encoder: The text encoder, by folder or hub id; its weights are not read.
    """

    captions: str | None
    encoder: str


def caption_pairs(sources: Sources) -> list[tuple[str, str]]:
    """Captions, each in English and Chinese."""
    if sources.captions is None:
        random = np.random.default_rng(0)
        lengths = random.normal((14.5, 22.0), (5.0, 7.0), (20_000, 2)).clip(4, 45).astype(int)
        return [
            (
                " ".join(random.choice(_ENGLISH.split(), english)),
                "".join(random.choice(list(_CHINESE), chinese)),
            )
            for english, chinese in lengths
        ]
    pairs = []
    for split in ("val", "test"):
        english, chinese = (
            read_captions(Path(sources.captions) / f"vatex{split}{suffix}.caption.txt")
            for suffix in ("", "_zh")
        )
        translation = dict(zip(chinese.keys, chinese.texts, strict=True))
        pairs += [
            (text, translation[key])
            for key, text in zip(english.keys, english.texts, strict=True)
            if key in translation
        ]
    return [pairs[row] for row in np.random.default_rng(0).permutation(len(pairs))]


def make_collection(root: Path, sources: Sources, *, train: int, val: int = 0, sparse: bool = False) -> Path:
    """Make the collection `root/vatex`; `sparse` features are all 0 and take no disk."""
    folder = root / "vatex"
    (folder / "TextData").mkdir(parents=True)
    features = folder / "FeatureData" / FEATURE
    features.mkdir(parents=True)
    videos = [f"video{number:06d}_000010_000020" for number in range(train + val)]
    pairs = caption_pairs(sources)
    for split, of_split in (("train", videos[:train]), ("val", videos[train:])):
        for language, tag, suffix in ((0, "enc", ""), (1, "zh", "_zh")):
            ids = (f"{video}#{tag}#{number}" for video in of_split for number in range(CAPTIONS_PER_VIDEO))
            lines = (f"{caption} {pair[language]}\n" for caption, pair in zip(ids, cycle(pairs)))
            path = folder / "TextData" / f"vatex{split}{suffix}.caption.txt"
            path.write_text("".join(lines), encoding="utf-8")
    frames = {video: [f"{video}_{frame}" for frame in range(FRAMES)] for video in videos}
    (features / "video2frames.txt").write_text(repr(frames))
    (features / "id.txt").write_text(" ".join(frame for ids in frames.values() for frame in ids))
    (features / "shape.txt").write_text(f"{FRAMES * len(videos)} {DIMENSION}")
    with (features / "feature.bin").open("wb") as file:
        if sparse:
            file.truncate(4 * DIMENSION * FRAMES * len(videos))
        else:
            random = np.random.default_rng(0)
            for _ in videos:
                file.write(random.standard_normal((FRAMES, DIMENSION), np.float32).data)
    return root


def open_training_set(root: Path, tokenizer: "PreTrainedTokenizerFast") -> PairDataset:
    """Return the training examples of the collection of `make_collection`."""
    collection = Collection(root / "vatex", "vatex")
    pairs = read_training_pairs(collection, Scenario(ScenarioKind.PARALLEL, LANGUAGES))
    features = collection.open_features(FEATURE)
    return PairDataset(pairs, features, CaptionTokenizer(tokenizer), tokenizer.mask_token_id, seed=0)


def make_model(encoder: str, padding: Literal["masked", "published"]) -> MLCMR:
    """Return the published model with random weights."""
    torch.manual_seed(0)
    return MLCMR(ModelConfig(padding=padding), DIMENSION, *empty_encoder(encoder, lowercase=True))
