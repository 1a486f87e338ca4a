"""Batches: what the model reads. Items of different lengths lie one after the other, without padding."""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mlcmr.data.features import FrameFeatures
from mlcmr.data.scenario import Column, TrainingPairs
from mlcmr.data.views import Draw, kept_frames, masked_words

Tokenize = Callable[[Sequence[str], Sequence[str]], Sequence[NDArray[np.int32]]]
"""From texts and their languages to token ids, special tokens included."""


@dataclass(slots=True)
class TokenBatch:
    """Texts as token ids.

    Attributes:
        ids: (sum of lengths,) int64, the texts one after the other.
        lengths: (B,) int64, on the CPU: it decides shapes, not values.
    """

    ids: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @staticmethod
    def of(texts: Sequence[NDArray[np.int32]]) -> TokenBatch:
        """A batch of texts given as arrays of ids."""
        return TokenBatch(
            torch.from_numpy(np.concatenate(texts).astype(np.int64)),
            torch.tensor([len(text) for text in texts], dtype=torch.int64),
        )

    @staticmethod
    def concatenate(batches: Sequence[TokenBatch]) -> TokenBatch:
        """One batch of all texts of several batches, in order."""
        return TokenBatch(
            torch.cat([batch.ids for batch in batches]), torch.cat([batch.lengths for batch in batches])
        )

    def to(self, device: torch.device | str) -> TokenBatch:
        """The batch with its ids on `device`."""
        return TokenBatch(self.ids.to(device, non_blocking=True), self.lengths)

    def pin_memory(self) -> TokenBatch:
        """The batch in page-locked memory."""
        return TokenBatch(self.ids.pin_memory(), self.lengths)


@dataclass(slots=True)
class VideoBatch:
    """Videos as frame features.

    Attributes:
        frames: (sum of lengths, d) float32, the videos one after the other, all frames of each.
        lengths: (B,) int64, on the CPU: the number of frames of each video.
        means: (B, d) float32, the mean frame of each video.
    """

    frames: Tensor
    lengths: Tensor
    means: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @staticmethod
    def of(frames: NDArray[np.float32], lengths: NDArray[np.int64]) -> VideoBatch:
        """A batch of videos given as their frames one after the other, and how many each has."""
        packed = torch.from_numpy(frames)
        # Each video's mean by torch: NumPy adds up in another order, and the published means are torch's.
        means = torch.stack([video.mean(0) for video in torch.split(packed, lengths.tolist())])
        return VideoBatch(packed, torch.from_numpy(lengths), means)

    def to(self, device: torch.device | str) -> VideoBatch:
        """The batch with its features on `device`."""
        return VideoBatch(
            self.frames.to(device, non_blocking=True), self.lengths, self.means.to(device, non_blocking=True)
        )

    def pin_memory(self) -> VideoBatch:
        """The batch in page-locked memory."""
        return VideoBatch(self.frames.pin_memory(), self.lengths, self.means.pin_memory())


@dataclass(slots=True)
class PairBatch:
    """Training examples: each a video and its caption in every column, with a second view of each.

    Attributes:
        video: The whole videos.
        dropped: The same videos with most frames dropped.
        captions: The captions by language (`mixed` in an unparallel scenario).
        masked: The same captions with some words masked.
    """

    video: VideoBatch
    dropped: VideoBatch
    captions: dict[str, TokenBatch]
    masked: dict[str, TokenBatch]

    def __len__(self) -> int:
        return len(self.video)

    def to(self, device: torch.device | str) -> PairBatch:
        """The batch with its tensors on `device`."""
        return PairBatch(
            self.video.to(device),
            self.dropped.to(device),
            {language: texts.to(device) for language, texts in self.captions.items()},
            {language: texts.to(device) for language, texts in self.masked.items()},
        )

    def pin_memory(self) -> PairBatch:
        """The batch in page-locked memory."""
        return PairBatch(
            self.video.pin_memory(),
            self.dropped.pin_memory(),
            {language: texts.pin_memory() for language, texts in self.captions.items()},
            {language: texts.pin_memory() for language, texts in self.masked.items()},
        )


class TokenizedColumn:
    """A column of captions that is tokenized once: each caption when it is first asked for."""

    def __init__(self, column: Column, tokenize: Tokenize) -> None:
        self._column = column
        self._tokenize = tokenize
        self._ids: list[NDArray[np.int32] | None] = [None] * len(column.texts)

    def __getitem__(self, rows: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """The token ids of some captions."""
        new = [row for row in rows.tolist() if self._ids[row] is None]
        if new:
            texts = [self._column.texts[row] for row in new]
            languages = [self._column.languages[row] for row in new]
            for row, ids in zip(new, self._tokenize(texts, languages), strict=True):
                self._ids[row] = ids
        return [ids for row in rows.tolist() if (ids := self._ids[row]) is not None]


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What makes a batch: the epoch, and the numbers of its examples in the training set."""

    epoch: int
    examples: NDArray[np.int64]


class PairDataset(Dataset[PairBatch]):
    """Training examples, fetched a batch at a time.

    Args:
        pairs: The examples.
        features: The frame features of their videos.
        tokenize: From texts and languages to token ids.
        mask_id: The id that replaces a masked word.
        seed: The run's seed: with the epoch and the example it determines both views.

    Raises:
        UserError: an example's video has no frame features.
    """

    def __init__(
        self, pairs: TrainingPairs, features: FrameFeatures, tokenize: Tokenize, mask_id: int, seed: int
    ) -> None:
        self._columns = {name: TokenizedColumn(column, tokenize) for name, column in pairs.columns.items()}
        self._positions = np.array([features.position(video) for video in pairs.videos])
        self._features = features
        self._mask_id = mask_id
        self._seed = seed

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, key: BatchKey) -> PairBatch:
        """The batch of `key`; the same key gives the same batch anywhere, at any time."""
        frames, lengths = self._features.gather(self._positions[key.examples])
        draw = Draw(self._seed, key.epoch, key.examples)
        kept = kept_frames(lengths, draw)
        starts = np.cumsum(lengths) - lengths
        captions: dict[str, TokenBatch] = {}
        masked: dict[str, TokenBatch] = {}
        for name, column in self._columns.items():
            whole = TokenBatch.of(column[key.examples])
            chosen = masked_words(whole.lengths.numpy(), draw, name)
            captions[name] = whole
            masked[name] = TokenBatch(
                whole.ids.masked_fill(torch.from_numpy(chosen), self._mask_id), whole.lengths
            )
        return PairBatch(
            VideoBatch.of(frames, lengths),
            VideoBatch.of(frames[kept], np.add.reduceat(kept, starts, dtype=np.int64)),
            captions,
            masked,
        )


class EpochSampler(Sampler[BatchKey]):
    """The shuffled batches of an epoch, for one of several processes.

    The order is a function of (seed, epoch). A global batch is split among the processes, so that
    `processes` of them together see the batches that one would see alone.

    Args:
        examples: How many examples there are.
        batch_size: Examples per global batch; the last batch of an epoch may be smaller.
        seed: The run's seed.
        process: This process, from 0.
        processes: How many there are.
    """

    def __init__(
        self, examples: int, batch_size: int, seed: int, process: int = 0, processes: int = 1
    ) -> None:
        self._examples = examples
        self._batch_size = batch_size
        self._seed = seed
        self._process = process
        self._processes = processes
        self._epoch = 0
        self._resumed = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next iteration (Lightning calls this)."""
        self._epoch = epoch

    def resume(self, epoch: int, batch: int) -> None:
        """Goes to an epoch whose first `batch` batches are done."""
        self._epoch = epoch
        self._resumed = (epoch, batch)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return math.ceil(self._examples / self._batch_size)

    def __iter__(self) -> Iterator[BatchKey]:
        """The batches of the epoch that are not done yet."""
        generator = np.random.Generator(np.random.Philox(key=np.array([self._seed, self._epoch], np.uint64)))
        order = generator.permutation(self._examples)
        first = self._resumed[1] if self._epoch == self._resumed[0] else 0
        for batch in range(first, len(self)):
            examples = order[batch * self._batch_size : (batch + 1) * self._batch_size]
            if (
                len(examples) >= self._processes
            ):  # fewer could not be split; with one process this is always so
                yield BatchKey(self._epoch, np.array_split(examples, self._processes)[self._process])


def pair_loader(
    dataset: PairDataset, sampler: EpochSampler, *, workers: int = 0, pin_memory: bool = False
) -> DataLoader[PairBatch]:
    """Loads the batches that `sampler` names, in `workers` extra processes or in this one."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_end_with_parent if workers else None,
    )


def _end_with_parent(worker: int) -> None:  # noqa: ARG001
    """Lets a worker end when the training was killed; where it was not forked, torch does not notice."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
