"""A collection, a model and settings so small that a training takes a second."""

import zlib
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlcmr.data.captions import write_captions
from mlcmr.data.features.frame_features import write_features
from mlcmr.model.config import ModelConfig, NewEncoder, TextConfig, VideoConfig
from mlcmr.training.config import OptimizerConfig, TrainConfig

SIZE = 12  # of a frame feature
WHO = {"dog": "狗", "cat": "猫", "man": "男人", "girl": "女孩", "horse": "马", "bird": "鸟"}
DOES = {"runs": "跑", "sleeps": "睡觉", "jumps": "跳", "sings": "唱歌", "eats": "吃", "swims": "游泳"}
SCENES = list(product(WHO, DOES))
SPLITS = {"train": SCENES[:24], "val": SCENES[24:30], "test": SCENES[30:]}
COLLECTION, FEATURE = "tiny", "feat"


def video_name(who: str, does: str) -> str:
    return f"{who}_{does}-1"


def frames(who: str, does: str) -> np.ndarray:
    """Two to five frames: what is seen, and noise."""
    draw = np.random.default_rng(zlib.crc32(f"{who} {does}".encode()))
    seen = np.zeros(SIZE, np.float32)
    seen[[list(WHO).index(who), 6 + list(DOES).index(does)]] = 1
    noise = draw.normal(scale=0.1, size=(int(draw.integers(2, 6)), SIZE))
    return (seen + noise).astype(np.float32)


def captions(split: str, tag: str, half: int | None = None) -> Iterator[tuple[str, str]]:
    """Two captions of each scene; `half` 0 or 1: of every second scene only."""
    for number, (who, does) in enumerate(SPLITS[split]):
        if half is not None and number % 2 != half:
            continue
        english = (f"A {who} {does}.", f"The {who} in the video {does} again!")
        chinese = (f"一只{WHO[who]}在{DOES[does]}", f"视频里有{WHO[who]}，{DOES[does]}")
        for count, text in enumerate(english if tag.endswith("en") or tag == "enc" else chinese):
            yield f"{video_name(who, does)}#{tag}#{count}", text


def write_collection(rootpath: Path) -> Path:
    """Writes the collection `tiny`; returns its folder."""
    folder = rootpath / COLLECTION
    text = folder / "TextData"
    for split in SPLITS:
        for tag in ("enc", "zh", "enc2zh", "zhc2en"):
            suffix = {"enc": "", "zh": "_zh"}.get(tag, f"_google_{tag}")
            write_captions(text / f"{COLLECTION}{split}{suffix}.caption.txt", captions(split, tag))
    halves = [*captions("train", "enc", half=0), *captions("train", "zh", half=1)]
    write_captions(text / f"{COLLECTION}train_half.caption.txt", halves)
    blocks = []
    for who, does in SCENES:
        features = frames(who, does)
        blocks.append(([f"{video_name(who, does)}_{i}" for i in range(len(features))], features))
    write_features(folder / "FeatureData" / FEATURE, blocks)
    return folder


def tiny_model(**changes: Any) -> ModelConfig:
    text = TextConfig(new=NewEncoder(layers=1, hidden_size=32, heads=2, vocabulary=300), trained_layers="all")
    video = VideoConfig(gru_size=8, filters=4, windows=(2, 3))
    return ModelConfig(**{"text": text, "video": video, "embedding_size": 32, **changes})


def tiny_config(rootpath: Path, run: Path, **changes: Any) -> TrainConfig:
    """Settings of a training of 6 steps an epoch."""
    settings = {
        "rootpath": str(rootpath),
        "collection": COLLECTION,
        "feature": FEATURE,
        "run": str(run),
        "model": tiny_model(),
        "optimizer": OptimizerConfig(learning_rate=3e-3),
        "epochs": 2,
        "batch_size": 8,
        "accelerator": "cpu",
        "devices": 1,
        "log_every": 1,
    }
    return TrainConfig(**(settings | changes))


def write_recipe(path: Path, config: TrainConfig) -> Path:
    """The settings as a recipe for the command line."""
    settings = asdict(config)
    settings["model"]["video"]["windows"] = list(config.model.video.windows)
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def write_index(folder: Path) -> Path:
    """Films with captions and thumbnails, and an index of them by a model that was hardly trained.

    Returns:
        The index; the films lie beside it, in `films`.
    """
    import mlcmr
    from mlcmr.extraction.extract_collection import extract
    from mlcmr.sample import make_sample
    from mlcmr.training import train

    make_sample(folder, videos=20, captions=1)
    run = train(tiny_config(folder, folder / "run", collection="sample", feature="hues228", epochs=1)).folder
    films, collection = folder / "films", folder / "collection"
    (folder / "sample" / "VideoData").rename(films)
    extract(films, collection, workers=1)
    (collection / "TextData").mkdir()
    for path in (folder / "sample" / "TextData").glob("sample*"):
        path.rename(collection / "TextData" / path.name.replace("sample", "collection", 1))
    mlcmr.index(collection, folder / "index", run=run, device="cpu")
    return folder / "index"
