"""MLCMR, the model that puts captions in any language and videos into one space."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcmr.arguments import check_arguments
from mlcmr.data.batches import PairBatch, TokenBatch, VideoBatch
from mlcmr.errors import InvalidValueError, require_list
from mlcmr.model.checkpoint import (
    CONFIG,
    ModelParts,
    has_weights,
    load_weights,
    read_parts,
    write_card,
    write_parts,
)
from mlcmr.model.config import ModelConfig
from mlcmr.model.embedding import EmbeddingModel, detect_languages
from mlcmr.model.encoders.text import TextEncoder
from mlcmr.model.encoders.video import VideoEncoder
from mlcmr.model.foreign import building, require_finite_weights
from mlcmr.model.hub import fetch_model, push_folder
from mlcmr.model.model_card import model_card
from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.model.projection import ProjectionHead
from mlcmr.model.protocol import Advance
from mlcmr.model.provenance import Provenance
from mlcmr.paths import user_path

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class MLCMR(EmbeddingModel, nn.Module):
    """The model: a text encoder, a video encoder, and a projection head of each into the common space.

    Example:
        >>> model = MLCMR.from_pretrained("runs/vatex-parallel/model")
        >>> texts = model.encode_texts(["一只狗在接飞盘", "一个人在弹吉他"])
        >>> videos = model.encode_videos([frames])  # the features of the frames of each video, (n, d)
        >>> model.similarity(texts, videos)

    Args:
        config: The settings.
        feature_size: The size of a frame feature.
        transformer: The transformer of the text encoder.
        tokenizer: The tokenizer of the transformer.
        provenance: The data that the model is trained on.
        source: The file that the settings come from; None if the user gave them.
    """

    _saved_files: Path | None = None
    """The folder on this machine with the files of `_saved_in`."""

    def __init__(
        self,
        config: ModelConfig,
        feature_size: int,
        transformer: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        provenance: Provenance | None = None,
        *,
        source: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.provenance = provenance or Provenance()
        self.config = config
        self.feature_size = feature_size
        published = config.padding == "published"
        self.text_encoder = TextEncoder(
            transformer,
            tokenizer,
            trained_layers=config.text.trained_layers,
            pooling=config.text.pooling,
            prefix=config.text.prefix,
            published_padding=published,
            source=source,
        )
        self.video_encoder = VideoEncoder(feature_size, config.video, published_padding=published)
        heads = config.embedding_size, config.dropout
        self.text_mapping = ProjectionHead(self.text_encoder.output_size, *heads)
        self.video_mapping = ProjectionHead(self.video_encoder.output_size, *heads)

    def forward(self, batch: PairBatch) -> ViewEmbeddings:
        """Embed all views of a batch of training examples."""
        return self.project_views(batch, self.encode_views(batch), batch.video_ids, batch.has_caption)

    def encode_views(self, batch: PairBatch) -> Iterator[Tensor]:
        """Return the features of each view, (B, F), in the order in which batch norm sees the views.

        Captions have fewer rows in a language in which examples lack captions.

        The order is: the whole videos, the frame-dropped videos, the captions of every language, the masked
        captions of every language.
        """
        yield self.video_encoder(batch.video)
        yield self.video_encoder(batch.dropped)
        yield from self._text_features([*batch.captions.values(), *batch.masked.values()])

    def project_views(
        self,
        batch: PairBatch,
        features: Iterable[Tensor],
        video_ids: Tensor,
        has_caption: Mapping[str, Tensor],
    ) -> ViewEmbeddings:
        """Project the features of each view into the common space.

        A view is projected before the next one is taken from `features`. Batch norm sees each view by itself.
        A language in which no example has a caption is left out.

        Args:
            batch: The batch, which names the languages.
            features: The features of `encode_views`, or those of the same views in a larger batch.
            video_ids: The `video_ids` of the batch that `features` belong to.
            has_caption: The `has_caption` of the batch that `features` belong to.
        """
        views = iter(features)
        video, dropped = self.video_mapping(next(views)), self.video_mapping(next(views))
        captions, masked = (
            {language: self.text_mapping(next(views)) for language in texts}
            for texts in (batch.captions, batch.masked)
        )
        for language in [language for language, texts in captions.items() if not len(texts)]:
            # With several processes, each weight must get a gradient in every step, if only of zeros.
            video = video + captions.pop(language).sum() + masked.pop(language).sum()
        present = {language: rows for language, rows in has_caption.items() if language in captions}
        return ViewEmbeddings(video, dropped, captions, masked, video_ids, present)

    @check_arguments
    def encode_texts(
        self,
        texts: Sequence[str],
        language: str | None = None,
        *,
        batch_size: int = 64,
        advance: Advance | None = None,
    ) -> Tensor:
        """Embed N texts.

        Args:
            texts: The texts as they are written.
            language: The language of all texts; English texts (`en`) are cleaned as in the published system.
                By default the language of each text is guessed, as search does (see `detect_languages`). A
                wrong guess between other languages changes nothing.
            batch_size: The number of texts per batch. With `padding: published`, embeddings depend on it.
            advance: Called with the number of further texts that are done, such as `task.advance`.

        Returns:
            (N, embedding_size) float32 on the CPU, L2-normalised.

        Raises:
            InvalidValueError: If `texts` is a single text.
        """
        require_list(texts, "texts")
        tokens = self.text_encoder.tokenize(texts, self._languages(texts, language))
        order = np.arange(len(tokens))
        if not self.text_encoder.published_padding:
            # Texts of similar length in one batch: less padding, and the embeddings stay the same.
            order = np.argsort([len(ids) for ids in tokens], kind="stable")[::-1]
        embeddings = torch.empty(len(tokens), self.config.embedding_size)
        with self._evaluating():
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                batch = TokenBatch.of([tokens[row] for row in rows]).to(self.device)
                embeddings[torch.from_numpy(rows.copy())] = self._embed(
                    self.text_mapping, self.text_encoder(batch)
                )
                if advance:
                    advance(len(rows))
        return embeddings

    @check_arguments
    def can_encode(self, text: str, language: str | None = None) -> bool:
        """Return whether the tokenizer knows at least one token of a text, special tokens left out."""
        return self.text_encoder.tokenize.knows(text, *self._languages([text], language))

    @check_arguments
    def encode_videos(
        self,
        videos: Iterable[NDArray[np.float32]],
        *,
        batch_size: int = 64,
        advance: Advance | None = None,
    ) -> Tensor:
        """Embed N videos.

        Args:
            videos: The frame features of each video, (frames, feature_size). An iterator is read batch by
                batch.
            batch_size: The number of videos per batch. With `padding: published`, embeddings depend on it.
            advance: Called with the number of further videos that are done, such as `task.advance`.

        Returns:
            (N, embedding_size) float32 on the CPU, L2-normalised.

        Raises:
            InvalidValueError: If a video has no frames, or features of another size than those that the model
                was trained on.
        """
        embeddings = [torch.empty(0, self.config.embedding_size)]
        with self._evaluating():
            for batch in _batched((self._checked(video) for video in videos), batch_size):
                lengths = np.array([len(video) for video in batch], np.int64)
                views = VideoBatch.of(np.concatenate(batch), lengths).to(self.device)
                embeddings.append(self._embed(self.video_mapping, self.video_encoder(views)))
                if advance:
                    advance(len(batch))
        return torch.cat(embeddings)

    @classmethod
    @check_arguments
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, token: str | None = None
    ) -> Self:
        """Open a model.

        Args:
            name: A folder (`model` in a run, or a folder that `save_pretrained` wrote) or a hub id.
            revision: A branch, tag or commit on the hub.
            token: An access token for private models on the hub.

        Raises:
            NotFoundError: If there is no such model, or a file of it is missing.
            InvalidValueError: If the model names code of another package (see `mlcmr.registry`).
            MlcmrError: If a file is damaged, or the hub cannot be reached.
        """
        folder = fetch_model(name, revision=revision, token=token)
        parts = read_parts(folder)
        shapes = {key: tuple(tensor.shape) for key, tensor in parts.weights.items()}
        with building(shapes, str(name)):
            model = cls(
                parts.config,
                parts.feature_size,
                parts.transformer,
                parts.tokenizer,
                parts.provenance,
                source=folder / CONFIG,
            )
        load_weights(model, parts.weights, str(name))
        require_finite_weights(model, f"model '{name}'")
        model._saved_files = folder.absolute()
        # A hub id names the newest revision only.
        is_newest = revision is None and not os.path.isdir(user_path(name))
        model._saved_in = str(name) if is_newest else str(model._saved_files)
        return model.eval()

    @check_arguments
    def save_pretrained(self, folder: str | Path, *, scores: Mapping[str, float] | None = None) -> None:
        """Write the model as a folder: `config.json`, `model.safetensors`, `text_encoder/`, `README.md`.

        Args:
            folder: The folder. Its model card, `README.md`, is not overwritten.
            scores: The scores by metric, for the model card.

        Raises:
            MlcmrError: If the folder cannot be written.
        """
        self._save(user_path(folder), "path/to/this/folder", "mlcmr model", scores)
        self._saved_files = user_path(folder).absolute()
        self._saved_in = str(self._saved_files)

    @check_arguments
    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = False,
        token: str | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> str:
        """Upload the model to the hub.

        Args:
            name: The hub id. A model card on the hub is not overwritten.
            private: Whether a new repository is private.
            token: An access token; by default that of `hf auth login`.
            scores: The scores by metric, for the model card.

        Returns:
            The address of the commit.

        Raises:
            MlcmrError: If the hub cannot be reached, or refuses the model.
        """
        title = name.rpartition("/")[2]
        return push_folder(
            name, lambda folder: self._save(folder, name, title, scores), private=private, token=token
        )

    def saved_in(self) -> str | None:
        """Return the absolute folder or the hub id that holds the model; None if there is none.

        A model whose weights have changed since it was opened or saved is in no folder.
        """
        if self._saved_files is None or not has_weights(self._saved_files, self.state_dict()):
            return None
        return self._saved_in

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return self.text_mapping.linear.weight.device

    def _save(self, folder: Path, address: str, title: str, scores: Mapping[str, float] | None) -> None:
        text = self.text_encoder
        write_parts(
            folder,
            ModelParts(
                self.config,
                self.feature_size,
                text.transformer,
                text.tokenizer,
                self.state_dict(),
                self.provenance,
            ),
        )
        write_card(
            folder,
            model_card(
                title, self.config, self.feature_size, self.provenance, address=address, scores=scores
            ),
        )

    def _weights(self) -> Mapping[str, Tensor]:
        return self.state_dict()

    def _languages(self, texts: Sequence[str], language: str | None) -> list[str]:
        if language is None:
            return detect_languages(texts, self.provenance.languages)
        return [language] * len(texts)

    def _text_features(self, views: Sequence[TokenBatch]) -> Sequence[Tensor]:
        if self.text_encoder.published_padding:
            return [self._encode(view) for view in views]
        # In one pass, texts of similar length share a batch across languages and views.
        features = self._encode(TokenBatch.concatenate(views))
        return torch.split(features, [len(view) for view in views])

    def _encode(self, texts: TokenBatch) -> Tensor:
        if not len(texts):
            # Other processes may have texts, and wait for the gradients of this process.
            stand_in = TokenBatch.of([np.array([self.text_encoder.mask_id], np.int32)]).to(self.device)
            return self._encode(stand_in)[:0]
        features: Tensor = self.text_encoder(texts)
        return features

    def _checked(self, video: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = np.asarray(video, np.float32)
        if frames.ndim != 2 or frames.shape[1] != self.feature_size or not len(frames):
            raise InvalidValueError(
                f"frame features of shape {frames.shape}, expected (frames, {self.feature_size}) with at "
                "least one frame: use the feature that the model was trained on",
                parameter="videos",
            )
        return frames

    @staticmethod
    def _embed(head: nn.Module, features: Tensor) -> Tensor:
        embeddings: Tensor = head(features)
        return embeddings.float().cpu()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Turn dropout and gradients off for a while."""
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.train(training)


def _batched(videos: Iterable[NDArray[np.float32]], size: int) -> Iterator[list[NDArray[np.float32]]]:
    batch: list[NDArray[np.float32]] = []
    for video in videos:
        batch.append(video)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
