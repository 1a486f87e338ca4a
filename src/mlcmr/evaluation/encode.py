"""A split, embedded: every caption and every video once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlcmr.data.features import FrameFeatures
from mlcmr.data.scenario import Queries
from mlcmr.errors import UserError
from mlcmr.evaluation.metrics import match_captions
from mlcmr.model.protocol import Advance, TextVideoModel

Embeddings = NDArray[np.float32]
Work = Callable[[str, int], AbstractContextManager[Advance]]
"""Announces work (what, how many items) and gives the function that is told how it goes on."""


@contextmanager
def silent(what: str, total: int) -> Iterator[Advance]:  # noqa: ARG001
    """Work that nobody is shown."""
    yield lambda _: None


@dataclass(frozen=True, slots=True)
class EncodedQueries:
    """The queries of one target language and the videos that they are ranked against.

    Attributes:
        queries: The captions and their translations.
        video_ids: The videos of these captions, in the order in which they first appear.
        captions: (N, D) embeddings of the captions.
        translations: (N, D) embeddings of their translations, if there are any.
        videos: (M, D) embeddings of the videos.
        video_of_caption: (N,) the place of each caption's video in `video_ids`.
    """

    queries: Queries
    video_ids: list[str]
    captions: Embeddings
    translations: Embeddings | None
    videos: Embeddings
    video_of_caption: NDArray[np.int64]

    def fused(self, weight: float) -> Embeddings:
        """Embeddings whose score is weight · (caption's score) + (1 - weight) · (translation's score).

        A score is a dot product, so the two can be added before it instead of after: half the work.
        """
        if self.translations is None:
            raise ValueError("there are no translations to fuse with")
        return np.float32(weight) * self.captions + np.float32(1 - weight) * self.translations


def encode_queries(
    model: TextVideoModel,
    features: FrameFeatures,
    splits: Sequence[Queries],
    *,
    batch_size: int,
    work: Work,
) -> list[EncodedQueries]:
    """Embeds the queries of one or more target languages, and each video once.

    Args:
        model: What embeds.
        features: The frame features of the videos.
        splits: The queries, by target language.
        batch_size: Captions, or videos, at a time.
        work: Shows progress.

    Raises:
        UserError: a caption's video has no frame features.
    """
    all_videos = list(dict.fromkeys(video for queries in splits for video in queries.captions.videos))
    for queries in splits:
        _require_features(queries, features)
    with work("videos", len(all_videos)) as advance:
        embedded = _array(
            model.encode_videos(
                (features[video] for video in all_videos), batch_size=batch_size, advance=advance
            )
        )
    position = {video: place for place, video in enumerate(all_videos)}
    encoded = []
    for queries in splits:
        captions = queries.captions
        video_ids = list(dict.fromkeys(captions.videos))
        with work(f"captions ({queries.language})", len(captions)) as advance:
            texts = _array(
                model.encode_texts(captions.texts, queries.language, batch_size=batch_size, advance=advance)
            )
        translations = None
        if queries.translations is not None and queries.translation_language is not None:
            with work(f"translations ({queries.translation_language})", len(captions)) as advance:
                translations = _array(
                    model.encode_texts(
                        queries.translations,
                        queries.translation_language,
                        batch_size=batch_size,
                        advance=advance,
                    )
                )
        encoded.append(
            EncodedQueries(
                queries,
                video_ids,
                texts,
                translations,
                embedded[[position[video] for video in video_ids]],
                match_captions(captions.videos, video_ids),
            )
        )
    return encoded


def _require_features(queries: Queries, features: FrameFeatures) -> None:
    missing = [video for video in dict.fromkeys(queries.captions.videos) if video not in features]
    if missing:
        raise UserError(
            f"{features.folder}: {len(missing):,} videos of {queries.captions.path.name} have no frame "
            f"features, the first is '{missing[0]}'; `mlcmr check` lists what is missing"
        )


def _array(embeddings: Tensor) -> Embeddings:
    array: Embeddings = embeddings.numpy()
    return array
