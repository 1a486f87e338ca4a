"""Effect of the number of trained layers: python -m benchmarks.real.layers ROOTPATH RUNS [SEEDS].

ROOTPATH holds the collection flickr8kcn and, as a folder, the vocabulary of bert-base-multilingual-cased.
Each seed has a random encoder of 8 layers, of which the published code trains 2. Interrupted, it goes on.
"""

import json
import shutil
import sys
from pathlib import Path
from statistics import fmean, stdev

import torch
from transformers import BertConfig, BertModel

from mlcmr.data.captions import read_captions, write_captions
from mlcmr.model.config import ModelConfig, TextConfig, VideoConfig
from mlcmr.training import train
from mlcmr.training.config import OptimizerConfig, TrainConfig

COLLECTION, FEATURE, VOCABULARY = "flickr8kcn", "mobilenetv2-pca256", "bert-base-multilingual-cased"
PHOTOGRAPHS, EPOCHS, HIDDEN_SIZE = 750, 4, 128


def write_collection(rootpath: Path, runs: Path) -> None:
    """Write the collection with fewer photographs to train on."""
    source, folder = rootpath / COLLECTION, runs / COLLECTION
    shutil.copytree(source / "FeatureData", folder / "FeatureData", dirs_exist_ok=True)
    kept: set[str] = set()
    for split in ("train", "val"):
        for suffix in ("", "_zh"):
            name = f"TextData/{COLLECTION}{split}{suffix}.caption.txt"
            captions = read_captions(source / name)
            if not kept:
                kept = set(list(dict.fromkeys(captions.videos))[:PHOTOGRAPHS])
            write_captions(
                folder / name,
                (
                    (caption_id, text)
                    for video, caption_id, text in zip(
                        captions.videos, captions.ids, captions.texts, strict=True
                    )
                    if split == "val" or video in kept
                ),
            )


def write_encoder(rootpath: Path, folder: Path, seed: int) -> None:
    """Write an encoder with random weights and the published vocabulary."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=119_547,
        num_hidden_layers=8,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=4 * HIDDEN_SIZE,
        num_attention_heads=4,
    )
    BertModel(config).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(rootpath / VOCABULARY / name, folder)


def losses_and_scores(run: Path) -> tuple[list[float], list[float]]:
    """Return the mean loss of a batch and the validation score, by epoch."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [
        fmean(one["loss"] for one in records if "loss" in one and one["epoch"] == epoch)
        for epoch in range(EPOCHS)
    ]
    return losses, [one["val/score"] for one in records if "val/score" in one]


def main(rootpath: Path, runs: Path, seeds: int) -> None:
    """Train with 2 and 6 layers, and print a row for each."""
    write_collection(rootpath, runs)
    print("layers trained   loss of a batch, by epoch      validation score")
    for layers in (2, 6):
        measured = []
        for seed in range(seeds):
            encoder = runs / f"encoder-{seed}"
            if not encoder.exists():
                write_encoder(rootpath, encoder, seed)
            model = ModelConfig(
                text=TextConfig(encoder=str(encoder), trained_layers=layers),
                video=VideoConfig(gru_size=128, filters=128),
                embedding_size=256,
                padding="published",
            )
            run = train(
                TrainConfig(
                    rootpath=str(runs),
                    collection=COLLECTION,
                    feature=FEATURE,
                    run=str(runs / f"{layers}-layers-{seed}"),
                    model=model,
                    optimizer=OptimizerConfig(learning_rate=3e-4),
                    epochs=EPOCHS,
                    seed=seed,
                    log_every=1,
                )
            )
            measured.append(losses_and_scores(run.folder))
        losses = "  ".join(
            f"{fmean(column):6.1f}" for column in zip(*(one for one, _ in measured), strict=True)
        )
        last = [scores[-1] for _, scores in measured]
        deviation = f" ± {stdev(last):.1f}" if seeds > 1 else ""
        print(f"{layers:14}   {losses}   {fmean(last):.1f}{deviation}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)
