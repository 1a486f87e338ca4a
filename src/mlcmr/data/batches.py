"""Batches of texts, videos and training pairs, without padding: items lie one after the other."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mlcmr.data.features.frame_features import FrameFeatures
from mlcmr.data.language_sampling import LanguageSampler
from mlcmr.data.masking import RandomKey, kept_frames, masked_words
from mlcmr.data.scenarios import ExampleCaptions, TrainingPairs
from mlcmr.errors import InvalidValueError, MlcmrError

Tokenize = Callable[[Sequence[str], Sequence[str]], Sequence[NDArray[np.int32]]]
"""Takes texts and their languages; returns their token ids, including special tokens."""


@dataclass(slots=True)
class TokenBatch:
    """Texts as token ids.

    Attributes:
        ids: (sum of lengths,) int64, the texts one after the other.
        lengths: (B,) int64, the number of tokens of each text; always on the CPU, as shapes depend on it.
    """

    ids: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @staticmethod
    def of(texts: Sequence[NDArray[np.int32]]) -> TokenBatch:
        """Return a batch of texts given as arrays of ids."""
        ids = np.concatenate(texts) if texts else np.empty(0, np.int32)
        return TokenBatch(
            torch.from_numpy(ids.astype(np.int64)),
            torch.tensor([len(text) for text in texts], dtype=torch.int64),
        )

    @staticmethod
    def concatenate(batches: Sequence[TokenBatch]) -> TokenBatch:
        """Return one batch of all texts of several batches, in order."""
        return TokenBatch(
            torch.cat([batch.ids for batch in batches]), torch.cat([batch.lengths for batch in batches])
        )

    def to(self, device: torch.device | str) -> TokenBatch:
        """Return the batch with its ids on `device`."""
        return TokenBatch(self.ids.to(device, non_blocking=True), self.lengths)

    def pin_memory(self) -> TokenBatch:
        """Return the batch in page-locked memory."""
        return TokenBatch(self.ids.pin_memory(), self.lengths)


@dataclass(slots=True)
class VideoBatch:
    """Videos as frame features.

    Attributes:
        frames: (sum of lengths, d) float32, all frames of each video, the videos one after the other.
        lengths: (B,) int64, the number of frames of each video; always on the CPU, as shapes depend on it.
        means: (B, d) float32, the mean frame of each video.
    """

    frames: Tensor
    lengths: Tensor
    means: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @staticmethod
    def of(frames: NDArray[np.float32], lengths: NDArray[np.int64]) -> VideoBatch:
        """Return a batch of videos, given all frames and the number of frames of each video."""
        packed = torch.from_numpy(frames)
        # torch computes the means, as in the published code: NumPy adds up in another order.
        means = torch.stack([video.mean(0) for video in torch.split(packed, lengths.tolist())])
        return VideoBatch(packed, torch.from_numpy(lengths), means)

    def to(self, device: torch.device | str) -> VideoBatch:
        """Return the batch with its features on `device`."""
        return VideoBatch(
            self.frames.to(device, non_blocking=True), self.lengths, self.means.to(device, non_blocking=True)
        )

    def pin_memory(self) -> VideoBatch:
        """Return the batch in page-locked memory."""
        return VideoBatch(self.frames.pin_memory(), self.lengths, self.means.pin_memory())


@dataclass(slots=True)
class PairBatch:
    """Training examples: videos and their captions in each language, with a second view of both.

    Attributes:
        video: The whole videos.
        dropped: The same videos with most frames dropped.
        captions: The captions by language (under `mixed` in an unparallel scenario).
        masked: The same captions with some words masked.
        video_ids: (B,) int64, the position of each video in the features: examples of the same video have the
            same number, in any process.
        has_caption: (B,) bool by language: the examples that `captions` has a row of. A language in which
            every training example has a caption is left out.
    """

    video: VideoBatch
    dropped: VideoBatch
    captions: dict[str, TokenBatch]
    masked: dict[str, TokenBatch]
    video_ids: Tensor
    has_caption: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.video)

    def to(self, device: torch.device | str) -> PairBatch:
        """Return the batch with its tensors on `device`."""
        return PairBatch(
            self.video.to(device),
            self.dropped.to(device),
            {language: texts.to(device) for language, texts in self.captions.items()},
            {language: texts.to(device) for language, texts in self.masked.items()},
            self.video_ids.to(device, non_blocking=True),
            {language: rows.to(device, non_blocking=True) for language, rows in self.has_caption.items()},
        )

    def pin_memory(self) -> PairBatch:
        """Return the batch in page-locked memory."""
        return PairBatch(
            self.video.pin_memory(),
            self.dropped.pin_memory(),
            {language: texts.pin_memory() for language, texts in self.captions.items()},
            {language: texts.pin_memory() for language, texts in self.masked.items()},
            self.video_ids.pin_memory(),
            {language: rows.pin_memory() for language, rows in self.has_caption.items()},
        )


class TokenizedCaptions:
    """Captions as token ids; each caption is tokenized once, when it is first needed."""

    def __init__(self, captions: ExampleCaptions, tokenize: Tokenize) -> None:
        self._captions = captions
        self._tokenize = tokenize
        self._ids: list[NDArray[np.int32] | None] = [None] * len(captions.texts)
        self._examples = None if captions.examples is None else np.array(captions.examples)

    def present(self, examples: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Return whether each of some examples has a caption; None if every training example has one."""
        return None if self._examples is None else np.isin(examples, self._examples)

    def __getitem__(self, examples: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """Return the token ids of the captions of some examples, which have one."""
        rows = examples if self._examples is None else np.searchsorted(self._examples, examples)
        new = [row for row in rows.tolist() if self._ids[row] is None]
        if new:
            texts = [self._captions.texts[row] for row in new]
            languages = [self._captions.languages[row] for row in new]
            for row, ids in zip(new, self._tokenize(texts, languages), strict=True):
                self._ids[row] = ids
        return [ids for row in rows.tolist() if (ids := self._ids[row]) is not None]


@dataclass(frozen=True, slots=True)
class BatchKey:
    """The contents of a batch, as the sampler names them.

    Attributes:
        epoch: The epoch, from 0.
        examples: The numbers of the examples in the training set.
        languages: The languages of the captions; None for all.
    """

    epoch: int
    examples: NDArray[np.int64]
    languages: Sequence[str] | None = None


class PairDataset(Dataset[PairBatch]):
    """Training examples, read one batch at a time.

    Args:
        pairs: The examples.
        features: The frame features of the videos.
        tokenize: Returns the token ids of texts in given languages.
        mask_id: The id that replaces a masked word.
        seed: The seed of the run. Seed, epoch and example determine the masked and the dropped view.

    Raises:
        NotFoundError: If the video of an example has no frame features.
    """

    def __init__(
        self, pairs: TrainingPairs, features: FrameFeatures, tokenize: Tokenize, mask_id: int, seed: int
    ) -> None:
        self._captions = {
            language: TokenizedCaptions(captions, tokenize) for language, captions in pairs.captions.items()
        }
        self._positions = np.array([features.position(video) for video in pairs.videos])
        self._features = features
        self._mask_id = mask_id
        self._seed = seed

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, key: BatchKey) -> PairBatch:
        """Return the batch of a key; the same key gives the same batch in any process, at any time."""
        positions = self._positions[key.examples]
        frames, lengths = self._features.gather(positions)
        random_key = RandomKey(self._seed, key.epoch, key.examples)
        kept = kept_frames(lengths, random_key)
        starts = np.cumsum(lengths) - lengths
        captions: dict[str, TokenBatch] = {}
        masked: dict[str, TokenBatch] = {}
        has_caption: dict[str, Tensor] = {}
        for language in key.languages or self._captions:
            of_language = self._captions[language]
            examples = key.examples
            if (present := of_language.present(examples)) is not None:
                has_caption[language] = torch.from_numpy(present)
                examples = examples[present]
            whole = TokenBatch.of(of_language[examples])
            chosen = masked_words(whole.lengths.numpy(), replace(random_key, examples=examples), language)
            captions[language] = whole
            masked[language] = TokenBatch(
                whole.ids.masked_fill(torch.from_numpy(chosen), self._mask_id), whole.lengths
            )
        return PairBatch(
            VideoBatch.of(frames, lengths),
            VideoBatch.of(frames[kept], np.add.reduceat(kept, starts, dtype=np.int64)),
            captions,
            masked,
            torch.from_numpy(positions),
            has_caption,
        )


class EpochSampler(Sampler[BatchKey]):
    """The shuffled batches of an epoch, for one of several processes.

    The order is a function of (seed, epoch). Each global batch is split among the processes: together they
    see the batches that a single process would see. Each example is in one batch of an epoch. If fewer
    examples than processes remain for the last batch, they join the batch before it.

    Args:
        examples: The number of training examples.
        batch_size: The number of examples per global batch; the last batch of an epoch may be smaller.
        seed: The seed of the run.
        process: The number of this process, from 0.
        processes: The number of processes.
        languages: Chooses the languages of each batch; None for all languages.

    Raises:
        InvalidValueError: If there are fewer examples, or fewer examples in a batch, than processes.
    """

    def __init__(
        self,
        examples: int,
        batch_size: int,
        seed: int,
        process: int = 0,
        processes: int = 1,
        *,
        languages: LanguageSampler | None = None,
    ) -> None:
        if min(examples, batch_size) < processes:
            raise InvalidValueError(
                f"`devices` {processes}: {processes} processes cannot share {examples:,} training examples "
                f"in batches of {batch_size:,}, as each needs an example of every batch; use fewer devices, "
                "or raise `batch_size`",
                parameter="devices",
            )
        self._examples = examples
        self._batch_size = batch_size
        self._seed = seed
        self._process = process
        self._processes = processes
        self._languages = languages
        self._epoch = 0
        self._resumed = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self._epoch = epoch

    def resume(self, epoch: int, batch: int) -> None:
        """Continue in an epoch after its first `batch` batches."""
        self._epoch = epoch
        self._resumed = (epoch, batch)

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        whole, rest = divmod(self._examples, self._batch_size)
        return whole + (rest >= self._processes or not whole)

    def __iter__(self) -> Iterator[BatchKey]:
        """Yield the batches of the epoch that are not done yet."""
        generator = np.random.Generator(np.random.Philox(key=np.array([self._seed, self._epoch], np.uint64)))
        order = generator.permutation(self._examples)
        first = self._resumed[1] if self._epoch == self._resumed[0] else 0
        bounds = [*range(0, len(self) * self._batch_size, self._batch_size), self._examples]
        for step, (start, end) in list(enumerate(pairwise(bounds)))[first:]:
            examples = np.array_split(order[start:end], self._processes)[self._process]
            languages = self._languages(self._epoch, step) if self._languages else None
            yield BatchKey(self._epoch, examples, languages)


def pair_loader(
    dataset: PairDataset, sampler: EpochSampler, *, workers: int = 0, pin_memory: bool = False
) -> DataLoader[PairBatch]:
    """Return a loader of the batches that `sampler` names.

    Args:
        dataset: The training examples.
        sampler: Names the batches of an epoch.
        workers: The number of worker processes; with 0, this process makes the batches.
        pin_memory: Put the batches in page-locked memory, for faster copies to a GPU.
    """
    return PairLoader(
        _ErrorsAsItems(dataset),
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_end_with_parent if workers else None,
    )


class PairLoader(DataLoader[PairBatch]):
    """A loader that raises the errors of its worker processes as they were raised there."""

    def __iter__(self) -> Iterator[PairBatch]:  # type: ignore[override]
        """Yield the batches."""
        for item in super().__iter__():
            if isinstance(item, Exception):
                raise item
            yield item


class _ErrorsAsItems(Dataset[PairBatch]):
    """Return an error as the item: of an error, PyTorch passes on only the class and the traceback."""

    def __init__(self, dataset: PairDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, key: BatchKey) -> Any:
        try:
            return self._dataset[key]
        except (MlcmrError, OSError, MemoryError) as error:
            return error


def _end_with_parent(worker: int) -> None:  # noqa: ARG001
    """End a worker if the training process is killed; torch itself does this only for forked workers."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
