"""Tables with captions, and what `prepare` has made of them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mlcmr.data.captions import read_captions
from mlcmr.data.check import check
from mlcmr.data.features.frame_features import write_features

ROWS = [
    {"video_id": f"clip{i}.mp4", "caption": f"{word} {i}", "lang": lang, "split": split}
    for i, split in enumerate(["training", "train", "TRAIN", "validation", "test", "test"])
    for lang, word in (("en", 'a "quoted", dog'), ("English", "a cat"), ("zh-CN", "一只狗；跑"), ("zh", "猫"))
]


def write(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def write_table(path: Path, rows, delimiter=",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict]) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="needs mlcmr[tables]")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def contents(collection: Path) -> dict[str, str]:
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted((collection / "TextData").iterdir())
    }


def by_split(collection: Path) -> dict[str, set[str]]:
    """The videos of each split, whatever their languages."""
    videos: dict[str, set[str]] = {}
    for path in (collection / "TextData").iterdir():
        split = path.name.removeprefix(collection.name).partition("_")[0].partition(".")[0]
        videos.setdefault(split, set()).update(read_captions(path).videos)
    return videos


def problems(collection: Path) -> list[str]:
    """Write features of all videos, and return the problems that `check` finds."""
    videos = sorted(set().union(*by_split(collection).values()))
    frames = np.ones((len(videos), 3), np.float32)
    write_features(collection / "FeatureData" / "ones", [([f"{video}_0" for video in videos], frames)])
    return check(collection).problems


def in_language(path: Path, language: str, videos, captions: int = 2) -> Path:
    rows = [
        {"video": f"v{i}", "caption": f"{language} {i} {n}", "language": language}
        for i in videos for n in range(captions)
    ]  # fmt: skip
    return write_table(path, rows)


def msrvtt(videos):
    return {
        "info": {},
        "videos": [{"video_id": video, "split": split, "url": "", "category": 3} for video, split in videos],
        "sentences": [
            {"video_id": video, "caption": f"{video} {number}", "sen_id": 100 * place + number}
            for number in (1, 0)
            for place, (video, _) in enumerate(videos)
        ],
    }
