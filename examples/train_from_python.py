"""Train a model on a collection, evaluate it and compare texts with videos, all from Python.

    pip install 'mlcmr[video]'
    mlcmr sample demo                       # or a collection of your own
    python train_from_python.py demo

The settings are those of a recipe: `mlcmr train --help` lists them.
"""

import sys
from dataclasses import replace
from typing import Any

import mlcmr
from mlcmr.data import open_features
from mlcmr.model import ModelConfig, NewEncoder, TextConfig

# A small text encoder from scratch. By default, mBERT is trained, which wants a GPU.
TEXT = TextConfig(new=NewEncoder(layers=2, hidden_size=96, heads=4), trained_layers="all")
CONFIG = mlcmr.TrainConfig(
    collection="sample",
    feature="hues228",
    languages=["en", "zh"],
    run="runs/from-python",
    model=ModelConfig(text=TEXT, embedding_size=256),
    epochs=5,
)


def main(rootpath: str, **settings: Any) -> None:
    """Train on the sample in `rootpath`; further settings replace those above."""
    config = replace(CONFIG, rootpath=rootpath, **settings)
    run = mlcmr.train(config)  # the same call again continues an interrupted training

    results = mlcmr.evaluate(run)
    print(results)
    print("R@1 of Chinese queries:", results["zh"].t2v["R@1"])

    model = mlcmr.MLCMR.from_pretrained(run.folder / "model")
    features = open_features(f"{rootpath}/sample/FeatureData/hues228")
    videos = [features[video] for video in list(features)[:5]]  # (frames, 228) each
    texts = ["a red circle grows", "一个红色的圆变大"]
    print(model.similarity(model.encode_texts(texts), model.encode_videos(videos)))


if __name__ == "__main__":
    main(sys.argv[1])
