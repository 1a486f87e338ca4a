"""Models that the library sentence-transformers opens: texts, and images or videos, in one space."""

import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mlcmr.arguments import check_arguments
from mlcmr.data.features.finite import require_normalisable
from mlcmr.errors import InvalidValueError, MissingDependencyError, reason, require_list
from mlcmr.model.device import is_out_of_memory
from mlcmr.model.embedding import EmbeddingModel
from mlcmr.model.encoders.tokens import break_names, special_names
from mlcmr.model.foreign import building, require_finite_weights, require_safe_modules
from mlcmr.model.hf_errors import opening
from mlcmr.model.hub import fetch_model
from mlcmr.model.mean_of_frames import mean_of_frames
from mlcmr.model.protocol import Advance
from mlcmr.model.provenance import Provenance
from mlcmr.model.repeatable import PROBES, require_repeatable
from mlcmr.paths import folder_or_id

_opened: "weakref.WeakValueDictionary[str, SentenceModel]" = weakref.WeakValueDictionary()
"""The open models by folder: the tower of an index and its frame encoder share the weights."""


class SentenceModel:
    """A model of sentence-transformers, for one thread at a time.

    Args:
        model: The opened model.
        subject: The model, such as `model 'name'`, for messages.

    Raises:
        InvalidValueError: If the model takes no texts, or neither images nor videos.
    """

    def __init__(self, model: Any, subject: str) -> None:
        self.model = model
        self._subject = subject
        self._turn = threading.Lock()  # fast tokenizers change their own settings during a call
        taken = {kind for kind in ("text", "image", "video") if model.supports(kind)}
        if "text" not in taken or len(taken) == 1:
            raise InvalidValueError(
                f"{subject}: takes {' and '.join(sorted(taken)) or 'sound'} alone, but must take texts, and "
                "images or videos; choose another model"
            )
        self.takes_images, self.takes_videos = "image" in taken, "video" in taken
        words = getattr(model, "tokenizer", None)
        words = getattr(words, "tokenizer", words)  # a processor holds its tokenizer
        self._special = special_names(words) if hasattr(words, "added_tokens_decoder") else []
        self.size = self.queries(PROBES).shape[1]

    def queries(self, texts: Sequence[str]) -> Tensor:
        """Embed texts by the model's prompt for queries: (N, size) float32 on the CPU.

        A bare text could be the path of a file or an address, which the library would open. The name of a
        special token in a text is text: it could stand for a picture that is not there.
        """
        inputs = [{"text": break_names(text, self._special)} for text in texts]
        return self._encode(self.model.encode_query, inputs)

    def documents(self, inputs: Sequence[Mapping[str, Any]], **options: Any) -> Tensor:
        """Embed images or videos by the model's prompt for documents: (N, size) float32 on the CPU."""
        return self._encode(self.model.encode_document, list(inputs), **options)

    def _encode(self, encode: Any, inputs: list[Any], **options: Any) -> Tensor:
        try:
            with self._turn:
                found: Tensor = encode(
                    inputs,
                    batch_size=max(len(inputs), 1),
                    convert_to_tensor=True,
                    normalize_embeddings=True,
                    show_progress_bar=False,
                    **options,
                )
        except Exception as error:  # models of many libraries raise nearly anything
            if is_out_of_memory(error):
                raise
            kind = next(iter(inputs[0]), "")
            raise InvalidValueError(f"{self._subject}: cannot embed this {kind}: {reason(error)}") from error
        return found.float().cpu()


def open_sentence_model(folder: Path) -> SentenceModel:
    """Open a model of sentence-transformers; nothing in its folder is run as code.

    Args:
        folder: The folder of the model.

    Raises:
        MissingDependencyError: If the extra `omni`, or a package that the model needs, is not installed.
        InvalidValueError: If the model takes no texts, or neither images nor videos.
        CorruptFileError: If its files are damaged.
    """
    key, subject = str(folder.resolve()), f"model '{folder}'"
    if (known := _opened.get(key)) is not None:
        return known
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 – the extra `omni`
    except ImportError as error:
        raise MissingDependencyError(
            f"{subject}: needs the library sentence-transformers: pip install 'mlcmr[omni]', or choose "
            "another model"
        ) from error
    with opening(subject, "cannot be used", quiet=True):
        with building(require_safe_modules(folder), key):
            model = SentenceTransformer(key, device="cpu", trust_remote_code=False, local_files_only=True)
        model.eval()
        require_finite_weights(model, subject)
        opened = SentenceModel(model, subject)
    _opened[key] = opened
    return opened


class SentenceTower(EmbeddingModel):
    """A pretrained model of sentence-transformers (extra `omni`); see `TextVideoModel`.

    Texts are embedded as queries, by the model's own prompt. The embedding of a video is the mean of the
    L2-normalised embeddings of its windows of frames, or of its frames if the model takes no videos. These
    are the features that `mlcmr extract` computes with the same model as encoder.

    Example:
        >>> model = SentenceTower.from_pretrained("google/embeddinggemma-2", dimension=256)
        >>> model.similarity(model.encode_texts(["一只狗在接飞盘"]), model.encode_files(["clip.mp4"]))

    Args:
        model: The opened model.
        name: The folder or the hub id of the model.
        dimension: The size of an embedding, if only the first coordinates are kept.

    Raises:
        InvalidValueError: If `dimension` is larger than the model's embeddings.
    """

    _trusts_provenance = True  # the frame encoder is the model itself, which this user has opened

    def __init__(self, model: SentenceModel, name: str, *, dimension: int | None = None) -> None:
        if dimension is not None and not 1 <= dimension <= model.size:
            raise InvalidValueError(
                f"`dimension` is {dimension:,}, but must be 1 to {model.size:,}, the size of an embedding of "
                f"model '{name}'",
                parameter="dimension",
            )
        self._sentence = model
        self.provenance = Provenance(encoder=name)
        self.feature_size: int = model.size
        """The size of a feature, which is a whole embedding."""
        self.dimension = dimension
        """The size of an embedding, if only the first coordinates are kept."""
        subject = f"model '{name}'"
        probes = require_repeatable(lambda: self.encode_texts(PROBES), subject)
        require_normalisable(probes.numpy(), lambda row: f"{subject}: the embedding of '{PROBES[row]:.9}'")

    @classmethod
    @check_arguments
    def from_pretrained(cls, name: str | Path, *, dimension: int | None = None) -> Self:
        """Open a model.

        Args:
            name: A hub id or folder.
            dimension: The number of first coordinates of an embedding to keep, for models that were trained
                for it (Matryoshka).

        Raises:
            NotFoundError: If there is no such model.
            MissingDependencyError: If the extra `omni`, or a package that the model needs, is not installed.
            InvalidValueError: If the model takes no texts, or neither images nor videos.
            CorruptFileError: If its files are damaged.
        """
        name = folder_or_id(name)
        opened = cls(open_sentence_model(fetch_model(name)), name, dimension=dimension)
        opened._saved_in = name
        return opened

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return torch.device(self._sentence.model.device)

    def to(self, device: str | torch.device) -> Self:
        """Move the weights to a device, and return the model."""
        self._sentence.model.to(device)
        return self

    @check_arguments
    def encode_texts(
        self,
        texts: Sequence[str],
        language: str | None = None,  # noqa: ARG002 – as in `MLCMR`
        *,
        batch_size: int = 64,
        advance: Advance | None = None,
    ) -> Tensor:
        """Embed N texts.

        Args:
            texts: The texts as they are written.
            language: Not used: these models take all languages alike.
            batch_size: The number of texts per batch.
            advance: Called with the number of further texts that are done, such as `task.advance`.

        Returns:
            (N, D) float32 on the CPU, L2-normalised.

        Raises:
            InvalidValueError: If `texts` is a single text.
        """
        require_list(texts, "texts")
        embeddings = [torch.empty(0, self.dimension or self.feature_size)]
        for start in range(0, len(texts), batch_size):
            batch = list(texts[start : start + batch_size])
            embeddings.append(F.normalize(self._sentence.queries(batch)[:, : self.dimension], dim=1))
            if advance:
                advance(len(batch))
        return torch.cat(embeddings)

    @check_arguments
    def can_encode(self, text: str, language: str | None = None) -> bool:  # noqa: ARG002 – as in `MLCMR`
        """Return whether a text holds anything visible; the tokenizers of these models know all letters."""
        return any(letter.isprintable() and not letter.isspace() for letter in text)

    @check_arguments
    def encode_videos(
        self,
        videos: Iterable[NDArray[np.float32]],
        *,
        batch_size: int = 64,  # noqa: ARG002 – a mean needs none
        advance: Advance | None = None,
    ) -> Tensor:
        """Embed N videos.

        Args:
            videos: The features of each video, (windows, `feature_size`).
            batch_size: Not used: a mean needs no batch.
            advance: Called with the number of further videos that are done, such as `task.advance`.

        Returns:
            (N, D) float32 on the CPU, L2-normalised.

        Raises:
            InvalidValueError: If a video has no features, or features of another size.
        """
        return mean_of_frames(videos, self.feature_size, dimension=self.dimension, advance=advance)

    def _weights(self) -> Mapping[str, Tensor]:
        weights: Mapping[str, Tensor] = self._sentence.model.state_dict()
        return weights
