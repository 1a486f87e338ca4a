"""Vectors to store, and the content of an index."""

import json
import shutil
import subprocess
import uuid
from pathlib import Path

import numpy as np

from mlcmr import MLCMR
from mlcmr.data.features.frame_features import write_features
from mlcmr.search.indexing.payload import CAPTION_FIELDS, SEGMENT_FIELDS
from mlcmr.search.indexing.storage import open_published
from mlcmr.search.stores.base import Point
from tests.helpers.tiny import FEATURE, frames, video_name

SIZE = 16


def copy_index(index: Path, target: Path) -> Path:
    """Copy an index without the holes in its files, which are hundreds of MB; return `target`."""
    subprocess.run(["cp", "--archive", "--sparse=always", index, target], check=True)
    return target


def identity(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def vectors(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def points(rows: np.ndarray, start: int = 0) -> list[Point]:
    return [
        Point(
            identity(start + n),
            row,
            {
                "video": f"v{start + n}",
                "kind": "image" if n % 3 == 0 else "video",
                "path": f"/films/{'holiday' if n % 2 else 'garden'}/{n}.mp4",
                "duration": float(n),
            },
        )
        for n, row in enumerate(rows)
    ]


def content(path: Path) -> dict[str, dict[str, tuple]]:
    """All that an index holds."""
    _, stores = open_published(path)
    fields = {
        "segments": [*SEGMENT_FIELDS, "segment", "segments", "caption", "captions", "thumbnail"],
        "captions": [*CAPTION_FIELDS, "caption_id", "text"],
    }
    held = {}
    for name, one in zip(("segments", "captions"), stores, strict=False):
        ids = dict(one.scan(fields[name]))
        of = {point.id: point.vector for point in one.get(list(ids))}
        held[name] = {
            point: (json.dumps(payload, sort_keys=True), tuple(of[point].round(4).tolist()))
            for point, payload in ids.items()
        }
    stores.close()
    return held


def count_embedded(monkeypatch) -> list[int]:
    """Counts the videos and texts that the model is given."""
    counts = [0, 0]
    videos, texts = MLCMR.encode_videos, MLCMR.encode_texts

    def encode_videos(self, many, **options):
        many = list(many)
        counts[0] += len(many)
        return videos(self, many, **options)

    def encode_texts(self, many, *rest, **options):
        counts[1] += len(many)
        return texts(self, many, *rest, **options)

    monkeypatch.setattr(MLCMR, "encode_videos", encode_videos)
    monkeypatch.setattr(MLCMR, "encode_texts", encode_texts)
    return counts


def keep_features(place: Path, kept: list[tuple[str, str]]) -> None:
    """Leaves the collection with the features of these scenes only."""
    shutil.rmtree(place / "tiny" / "FeatureData" / FEATURE)
    blocks = [([f"{video_name(*one)}_{i}" for i in range(len(frames(*one)))], frames(*one)) for one in kept]
    write_features(place / "tiny" / "FeatureData" / FEATURE, blocks)
