"""A model, an encoder and a store that index small pictures and features in milliseconds."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import normalize

from mlcmr.search.stores.base import Payload, Point, ScoredPoint, StoreConfig, VectorQuery, ordered

SIZE = 3


class MeanModel:
    """The embedding of a video is its mean feature; that of a text follows from its hash."""

    feature_size = SIZE

    def encode_texts(self, texts: Sequence[str], language: str, **_: Any) -> torch.Tensor:
        digests = [hashlib.sha256(text.encode()).digest()[:SIZE] for text in texts]
        return normalize(torch.tensor([list(digest) for digest in digests]).float() + 1, dim=1)

    def encode_videos(self, videos: Any, **_: Any) -> torch.Tensor:
        rows = [torch.from_numpy(np.array(frames)).mean(dim=0) for frames in videos]
        return normalize(torch.stack(rows), dim=1) if rows else torch.empty(0, SIZE)

    def can_encode(self, text: str, language: str) -> bool:
        return True

    def fingerprint(self) -> str:
        return "mean"


class MeanColour:
    """The mean colour of a picture."""

    name = "tests.helpers.fake_index:MeanColour"
    feature = "colour"
    dimension = SIZE
    frames_per_feature = 1
    fps = 1.0
    batch_size = 4
    needs_previous_frame = False

    def prepare(self, picture):
        return picture.mean(axis=(0, 1)) + 1

    def encode_prepared(self, prepared):
        return np.stack(prepared).astype(np.float32)

    def encode(self, pictures):
        return self.encode_prepared([self.prepare(picture) for picture in pictures])


class MemoryStore:
    """Points in memory, by the folder of the index and the name of the store; its folder stays empty."""

    on_server: ClassVar[bool] = False
    exact = True
    kept: ClassVar[dict[tuple[Path, str], dict[str, Point]]] = {}

    @classmethod
    def open(cls, config: StoreConfig) -> "MemoryStore":
        assert config.folder is not None
        config.folder.mkdir(parents=True, exist_ok=True)
        store = cls()
        store.points = cls.kept.setdefault((config.folder.parents[1], config.name), {})
        return store

    def upsert(self, points: Sequence[Point]) -> None:
        self.points |= {point.id: point for point in points}

    def delete(self, ids: Sequence[str]) -> None:
        for point in ids:
            self.points.pop(point, None)

    def search(self, queries: Sequence[VectorQuery]) -> list[list[ScoredPoint]]:
        return ordered(lambda many: [self._rank(query) for query in many], queries, exact=True)

    def _rank(self, query: VectorQuery) -> list[ScoredPoint]:
        hits = [
            ScoredPoint(point.id, float(point.vector @ query.vector), point.payload)
            for point in self.points.values()
            if query.filters.accept(point.payload)
        ]
        return sorted(hits, key=lambda hit: -hit.score)[: query.limit]

    def get(self, ids: Sequence[str]) -> list[Point]:
        return [self.points[point] for point in ids if point in self.points]

    def scan(self, fields: Sequence[str]) -> Iterator[tuple[str, Payload]]:
        for point in list(self.points.values()):
            yield point.id, {field: point.payload.get(field) for field in fields}

    def count(self) -> int:
        return len(self.points)

    def publish(self) -> None:
        """The points are in memory already."""

    def close(self) -> None:
        """The points stay in memory."""
