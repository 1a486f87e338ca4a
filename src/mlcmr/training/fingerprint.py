"""What a run learns from, in a few letters: to see that a continued run finds the same."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from mlcmr.data.features import FrameFeatures
from mlcmr.data.scenario import Queries, TrainingPairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def fingerprints(
    pairs: TrainingPairs,
    validation: Sequence[Queries],
    features: FrameFeatures,
    tokenizer: "PreTrainedTokenizerFast",
) -> dict[str, str]:
    """A digest of all that the numbers follow from beside the settings, by what it is of.

    Of the features it covers how many frames each video has, not the numbers, which may be hundreds of
    gigabytes; videos that are not used do not count.

    Raises:
        UserError: a video has no frame features.
    """
    videos = dict.fromkeys(chain(pairs.videos, *(queries.captions.videos for queries in validation)))
    columns = ([name, column.texts, column.languages] for name, column in pairs.columns.items())
    queries = ([one.captions.ids, one.captions.texts] for one in validation)
    return {
        "captions": _digest(chain([pairs.videos], columns, queries)),
        "frame features": _digest([features.dimension, [len(features.rows(video)) for video in videos]]),
        "token ids": _digest([tokenizer.backend_tokenizer.to_str()]),
    }


def _digest(parts: Iterable[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()
