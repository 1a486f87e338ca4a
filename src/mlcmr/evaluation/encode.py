"""The embeddings of a split: every caption and every video once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlcmr.data.captions import Captions
from mlcmr.data.features.finite import RowName, require_finite
from mlcmr.data.features.frame_features import BROKEN, Features, FrameFeatures
from mlcmr.data.scenarios import Queries
from mlcmr.errors import NotFoundError
from mlcmr.evaluation.ranks import match_captions
from mlcmr.model.protocol import TextVideoModel
from mlcmr.progress import SILENT, Progress

Embeddings = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncodedQueries:
    """The embeddings of the queries of one target language, and of the videos that they rank.

    Attributes:
        queries: The captions and their translations.
        video_ids: The videos of these captions, in the order of their first captions.
        captions: (N, D) The embeddings of the captions.
        translations: (N, D) The embeddings of their translations, if there are any.
        videos: (M, D) The embeddings of the videos.
        video_of_caption: (N,) The position of each caption's video in `video_ids`.
    """

    queries: Queries
    video_ids: list[str]
    captions: Embeddings
    translations: Embeddings | None
    videos: Embeddings
    video_of_caption: NDArray[np.int64]

    def fused(self, weight: float | None) -> Embeddings:
        """Return embeddings with the score weight · (caption's score) + (1 - weight) · (translation's score).

        A score is a dot product, so embeddings can be added instead of scores, in half the time. Without
        translations or a weight, these are the embeddings of the captions.
        """
        if self.translations is None or weight is None:
            return self.captions
        return np.float32(weight) * self.captions + np.float32(1 - weight) * self.translations


def encode_queries(
    model: TextVideoModel,
    features: FrameFeatures,
    splits: Sequence[Queries],
    *,
    batch_size: int,
    progress: Progress = SILENT,
) -> list[EncodedQueries]:
    """Embed the queries of one or more target languages, and each video once.

    Args:
        model: The model.
        features: The frame features of the videos.
        splits: The queries of each target language.
        batch_size: The number of captions, or videos, in a batch.
        progress: Receives the progress.

    Raises:
        NotFoundError: If a caption's video has no frame features.
        MlcmrError: If a feature or an embedding is not finite.
    """
    all_videos = list(dict.fromkeys(video for queries in splits for video in queries.captions.videos))
    for queries in splits:
        _require_features(queries, features)
    with progress.task("videos", len(all_videos)) as task:
        embedded = _array(
            model.encode_videos(
                (_frames(features, video) for video in all_videos),
                batch_size=batch_size,
                advance=task.advance,
            ),
            lambda row: f"the embedding of video '{all_videos[row]}'",
        )
    position = {video: place for place, video in enumerate(all_videos)}
    encoded = []
    for queries in splits:
        captions = queries.captions
        video_ids = list(dict.fromkeys(captions.videos))
        with progress.task(f"captions ({queries.language})", len(captions)) as task:
            texts = _array(
                model.encode_texts(
                    captions.texts, queries.language, batch_size=batch_size, advance=task.advance
                ),
                partial(_name_caption, captions),
            )
        translations = None
        if queries.translations is not None and queries.translation_language is not None:
            with progress.task(f"translations ({queries.translation_language})", len(captions)) as task:
                translations = _array(
                    model.encode_texts(
                        queries.translations,
                        queries.translation_language,
                        batch_size=batch_size,
                        advance=task.advance,
                    ),
                    partial(_name_caption, captions),
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
        raise NotFoundError(
            f"{features.folder}: {len(missing):,} videos of {queries.captions.path.name} have no frame "
            f"features, the first is '{missing[0]}'; `mlcmr check` lists all of them",
            path=features.folder,
        )


def _frames(features: FrameFeatures, video: str) -> Features:
    """Return the frame features of a video; a feature that is not finite would make its scores NaN."""
    frames = features[video]
    require_finite(frames, partial(features.name_frame, video), BROKEN)
    return frames


def _array(embeddings: Tensor, name: RowName) -> Embeddings:
    """Return embeddings as an array, all finite; `name` describes a row in a message."""
    array: Embeddings = embeddings.numpy()
    require_finite(array, name, "did the training of the model diverge?")
    return array


def _name_caption(captions: Captions, row: int) -> str:
    return f"the embedding of caption '{captions.keys[row]}'"
