"""The encoder of queries: embeddings of texts and files by the model of an index."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mlcmr.data.features.finite import require_normalisable
from mlcmr.errors import InvalidValueError, MlcmrError
from mlcmr.search.indexing.manifest import IndexInfo
from mlcmr.search.models import OpenModel, open_named_encoder
from mlcmr.search.stores.base import Vector

if TYPE_CHECKING:
    from mlcmr.extraction.encoders.base import FrameEncoder
    from mlcmr.extraction.media.sampling import Sampling

_MOST_FRAMES = 20_000  # in a query file; forged time stamps could ask for any number


class UnreadableQuery(InvalidValueError):  # noqa: N818 – users' programs catch it by this name
    """A query holds nothing that the model can read."""


class QueryEncoder:
    """Embeds queries for several threads; the model serves one at a time.

    Args:
        folder: The index, for messages.
        opened: The model of the index.
        device: `cpu`, `cuda` or `auto`, for the frame encoder.
        models: Models of the hub that may be downloaded for the frame encoder.
        encoder: The frame encoder; by default, the index names it.
    """

    def __init__(
        self,
        folder: Path,
        opened: OpenModel,
        *,
        device: str,
        models: Sequence[str],
        encoder: "FrameEncoder | None" = None,
    ) -> None:
        self.model = opened.model
        self.trained_languages = opened.description.languages
        self._folder = folder
        self._embedding_size = opened.info.embedding_size
        self._device = device
        self._models = models
        self._given_encoder = encoder
        self._model_lock = threading.Lock()
        self._encoder_lock = threading.Lock()  # so that texts do not wait while a file is read
        self._encoder: tuple[FrameEncoder, Sampling] | None = None

    def require_readable(self, text: str, language: str) -> None:
        """Check that the model can read anything in a text.

        Raises:
            UnreadableQuery: If the model can read nothing.
        """
        with self._model_lock:
            if not self.model.can_encode(text, language):
                raise UnreadableQuery(
                    f"query {text!r}: contains nothing that the model can read; enter other words"
                )

    def encode_texts(self, texts: Sequence[str], languages: Sequence[str]) -> Vector:
        """Embed N texts, each in its language: (N, D)."""
        vectors = np.empty((len(texts), self._embedding_size), np.float32)
        with self._model_lock:
            for language in dict.fromkeys(languages):
                rows = [row for row, spoken in enumerate(languages) if spoken == language]
                vectors[rows] = self.model.encode_texts([texts[row] for row in rows], language).numpy()
        return vectors

    def encode_file(
        self, path: Path, info: IndexInfo, check_cancelled: Callable[[], object] = lambda: None
    ) -> Vector:
        """Embed a video or image file: (1, D).

        Args:
            path: The file.
            info: The description of the index, which names the frame encoder.
            check_cancelled: Called often while the file is decoded. Raises an exception to cancel.

        Raises:
            UnreadableFileError: If the file cannot be read, or has no embedding.
            MlcmrError: If the frame encoder of the index is not known.
        """
        from mlcmr.extraction.extract_collection import sample_file  # noqa: PLC0415 – texts need no PyAV
        from mlcmr.extraction.media.images import UnreadableFileError  # noqa: PLC0415

        encoder, sampling = self._open_encoder(info)
        _, features = sample_file(
            path, encoder, sampling, most_frames=_MOST_FRAMES, check_cancelled=check_cancelled
        )
        with self._model_lock:
            vectors: Vector = self.model.encode_videos([features]).numpy()
        try:
            require_normalisable(vectors, lambda _: f"{path}: its embedding", "search by another file")
        except MlcmrError as error:
            raise UnreadableFileError(str(error)) from error
        return vectors

    def _open_encoder(self, info: IndexInfo) -> "tuple[FrameEncoder, Sampling]":
        """Open the frame encoder of the index, with its sampling."""
        from mlcmr.extraction.media.sampling import Sampling  # noqa: PLC0415

        with self._encoder_lock:
            if self._encoder is None:
                encoder = self._given_encoder or self._open_named_encoder(info)
                if encoder.dimension != info.model.feature_size:
                    raise InvalidValueError(
                        f"encoder {encoder.name}: makes features of {encoder.dimension:,} numbers, but the "
                        f"model takes {info.model.feature_size:,}; index again, or search, with the encoder "
                        "of the training (`encoder`)",
                        parameter="encoder",
                    )
                fps = encoder.fps if info.rate is None and info.count is None else info.rate
                self._encoder = cast("FrameEncoder", _SharedEncoder(encoder)), Sampling(fps, info.count)
            return self._encoder

    def _open_named_encoder(self, info: IndexInfo) -> "FrameEncoder":
        from mlcmr.extraction.encoders.histogram import HISTOGRAM  # noqa: PLC0415

        name = info.encoder or (HISTOGRAM if info.feature == HISTOGRAM else None)
        if name is None:
            raise InvalidValueError(
                f"{self._folder}: the frame encoder of the feature '{info.feature}' is not known; to search "
                "by files, index again and give the `encoder`"
            )
        return open_named_encoder(name, device=self._device, models=self._models, parameter="models")


class _SharedEncoder:
    """A frame encoder for several threads, which prepare pictures in parallel and encode one at a time."""

    def __init__(self, encoder: "FrameEncoder") -> None:
        self._encoder = encoder
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_prepared(self, prepared: Sequence[Any]) -> Any:
        """Return features of prepared pictures; see `FrameEncoder`."""
        with self._turn:
            return self._encoder.encode_prepared(prepared)
