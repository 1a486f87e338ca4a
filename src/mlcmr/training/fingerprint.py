"""Hashes of the training inputs, by which a continued run verifies that they are unchanged."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from mlcmr.data.features.frame_features import FrameFeatures
from mlcmr.data.scenarios import Queries, TrainingPairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def hash_inputs(
    pairs: TrainingPairs,
    validation: Sequence[Queries],
    features: FrameFeatures,
    tokenizer: "PreTrainedTokenizerFast",
) -> dict[str, str]:
    """Hash the training inputs, so that a resumed run can verify that they are unchanged.

    The hash of the frame features covers the number of frames of each video, not the values, which may be
    hundreds of gigabytes. Unused videos do not count.

    Returns:
        A hash by the kind of the input.

    Raises:
        MlcmrError: If a video has no frame features.
    """
    videos = dict.fromkeys(chain(pairs.videos, *(queries.captions.videos for queries in validation)))
    columns = (
        [name, captions.texts, captions.languages, *([captions.examples] if captions.examples else [])]
        for name, captions in pairs.captions.items()
    )
    queries = ([query.captions.ids, query.captions.texts] for query in validation)
    return {
        "captions": _hash_parts(chain([pairs.videos], columns, queries)),
        "frame features": _hash_parts([features.dimension, [len(features.rows(video)) for video in videos]]),
        "token ids": _hash_parts([tokenizer.backend_tokenizer.to_str()]),
    }


def _hash_parts(parts: Iterable[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()
