"""MLCMR: captions in any language and videos in one space."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcmr.data.batches import PairBatch, TokenBatch, VideoBatch
from mlcmr.errors import UserError
from mlcmr.model.checkpoint import ModelParts, load_weights, read_parts, write_parts
from mlcmr.model.config import ModelConfig
from mlcmr.model.hub import fetch_model, push_folder
from mlcmr.model.losses import ViewEmbeddings
from mlcmr.model.protocol import Advance
from mlcmr.model.text import TextEncoder, legible
from mlcmr.model.video import VideoEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Gather = Callable[[Tensor], Tensor]


class Mapping(nn.Module):
    """From an encoder's features into the common space: linear, batch norm, dropout, L2 norm.

    Shape: (B, features) → (B, embedding_size), L2-normalised.
    """

    def __init__(self, features: int, embedding_size: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(features, embedding_size)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.BatchNorm1d(embedding_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Maps a batch of features."""
        mapped = self.linear(features)
        if self.training and len(mapped) == 1:
            # One example has no variance; the running statistics stand in for it.
            norm = self.norm
            mean, variance = norm.running_mean, norm.running_var
            mapped = F.batch_norm(mapped, mean, variance, norm.weight, norm.bias, eps=norm.eps)
        else:
            mapped = self.norm(mapped)
        return F.normalize(self.dropout(mapped), dim=1)


class MLCMR(nn.Module):
    """The model: a text encoder, a video encoder, and a mapping of each into the common space.

    Example:
        >>> model = MLCMR.from_pretrained("runs/vatex-parallel/model")
        >>> texts = model.encode_texts(["一只狗在接飞盘", "一个人在弹吉他"], "zh")
        >>> videos = model.encode_videos([frames])  # (n, d) features of a video's n frames
        >>> texts @ videos.T

    Args:
        config: What the model is made of.
        feature_size: The size of one frame feature.
        transformer: The text encoder's transformer.
        tokenizer: Its tokenizer.
    """

    def __init__(
        self,
        config: ModelConfig,
        feature_size: int,
        transformer: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
    ) -> None:
        super().__init__()
        self.config = config
        self.feature_size = feature_size
        published = config.padding == "published"
        self.text_encoder = TextEncoder(
            transformer, tokenizer, trained_layers=config.text.trained_layers, published_padding=published
        )
        self.video_encoder = VideoEncoder(feature_size, config.video, published_padding=published)
        self.text_mapping = Mapping(self.text_encoder.output_size, config.embedding_size, config.dropout)
        self.video_mapping = Mapping(self.video_encoder.output_size, config.embedding_size, config.dropout)

    def forward(self, batch: PairBatch, gather: Gather = lambda features: features) -> ViewEmbeddings:
        """Embeds all views of a batch.

        Batch norm sees each view by itself: the whole and the frame-dropped videos, then every language,
        then every language's masked view, in that order.

        Args:
            batch: The training examples.
            gather: From this process's features to those of all processes, (B, F) → (global B, F). Gathered
                before the mappings, the losses and the batch norms see the global batch.
        """
        video, dropped = (
            self.video_mapping(gather(self.video_encoder(view))) for view in (batch.video, batch.dropped)
        )
        views = [*batch.captions.values(), *batch.masked.values()]
        texts = [self.text_mapping(gather(features)) for features in self._text_features(views)]
        return ViewEmbeddings(
            video,
            dropped,
            dict(zip(batch.captions, texts, strict=False)),
            dict(zip(batch.masked, texts[len(batch.captions) :], strict=True)),
        )

    def encode_texts(
        self, texts: Sequence[str], language: str, *, batch_size: int = 64, advance: Advance | None = None
    ) -> Tensor:
        """Embeds N texts of one language: (N, embedding_size) float32 on the CPU, L2-normalised.

        Args:
            texts: The texts as written; English (`en`) is cleaned as published.
            language: Their language.
            batch_size: Texts at a time. With `padding: published` it changes the embeddings.
            advance: Told how many more texts are done.

        Raises:
            UserError: one text instead of a list.
        """
        if isinstance(texts, str):  # a sequence too, of its characters
            raise UserError(f"expected a list of texts, got one: write [{texts[:40]!r}]")
        tokens = self.text_encoder.tokenize(texts, [language] * len(texts))
        order = np.arange(len(tokens))
        if not self.text_encoder.published_padding:
            # Texts of like length together: less padding, and the embeddings stay the same.
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

    def reads(self, text: str, language: str) -> bool:
        """Whether there is anything in a text that the model can read: a token that it knows."""
        (ids,) = self.text_encoder.tokenize([text], [language])
        return legible(self.text_encoder.tokenizer, ids.tolist())

    def encode_videos(
        self,
        videos: Iterable[NDArray[np.float32]],
        *,
        batch_size: int = 64,
        advance: Advance | None = None,
    ) -> Tensor:
        """Embeds N videos: (N, embedding_size) float32 on the CPU, L2-normalised.

        Args:
            videos: The frame features of each, (frames, feature_size); taken as they come.
            batch_size: Videos at a time. With `padding: published` it changes the embeddings.
            advance: Told how many more videos are done.

        Raises:
            UserError: a video has no frames, or features of another size than the model was made for.
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
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, token: str | None = None
    ) -> Self:
        """Opens a model by folder (a run's `model`, or what `save_pretrained` wrote) or hub id.

        Args:
            name: Folder or hub id.
            revision: Branch, tag or commit on the hub.
            token: For private models on the hub.

        Raises:
            UserError: there is no such model, or a file of it is missing or damaged.
        """
        parts = read_parts(fetch_model(name, revision=revision, token=token))
        model = cls(parts.config, parts.feature_size, parts.transformer, parts.tokenizer)
        load_weights(model, parts.weights, str(name))
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the model as a folder: `config.json`, `model.safetensors`, `text_encoder/`."""
        text = self.text_encoder
        parts = ModelParts(
            self.config, self.feature_size, text.transformer, text.tokenizer, self.state_dict()
        )
        write_parts(Path(folder), parts)

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Uploads the model under the hub id `name`.

        Returns:
            The address of the commit.
        """
        return push_folder(name, self.save_pretrained, private=private, token=token)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.text_mapping.linear.weight.device

    def _text_features(self, views: Sequence[TokenBatch]) -> Sequence[Tensor]:
        if self.text_encoder.published_padding:
            return [self.text_encoder(view) for view in views]
        # In one pass: texts of like length find each other across languages and views.
        features = self.text_encoder(TokenBatch.concatenate(views))
        return torch.split(features, [len(view) for view in views])

    def _checked(self, video: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = np.asarray(video, np.float32)
        if frames.ndim != 2 or frames.shape[1] != self.feature_size or not len(frames):
            raise UserError(
                f"frame features of shape {frames.shape}, expected (frames, {self.feature_size}) and one "
                "frame at least: use the feature that the model was trained on"
            )
        return frames

    @staticmethod
    def _embed(mapping: nn.Module, features: Tensor) -> Tensor:
        embeddings: Tensor = mapping(features)
        return embeddings.float().cpu()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
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
