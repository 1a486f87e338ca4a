"""Methods that all models share: similarities, and embeddings of files."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mlcmr.arguments import check_arguments
from mlcmr.data.language_detection import guess_language
from mlcmr.errors import require_list
from mlcmr.model.protocol import Advance
from mlcmr.model.provenance import Provenance

FeatureReader = Callable[[str | os.PathLike[str]], NDArray[np.float32]]
"""Returns the frame features of a video or image file, (frames, feature_size)."""


class EmbeddingModel(ABC):
    """The base class of models that put texts and videos into one space.

    Attributes:
        provenance: The data that the model was trained on, as far as that is known.
    """

    provenance = Provenance()
    _trusts_provenance = False
    """Whether this user has named the frame encoder, and not only a file."""
    _saved_in: str | None = None
    """The absolute folder or the hub id that the model was last opened from or saved in."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device that holds the weights."""

    @abstractmethod
    def _weights(self) -> Mapping[str, Tensor]:
        """Return the weights by name."""

    @abstractmethod
    def encode_videos(
        self, videos: Iterable[NDArray[np.float32]], *, batch_size: int = ..., advance: Advance | None = None
    ) -> Tensor:
        """Embed N videos; see `TextVideoModel`."""

    def fingerprint(self) -> str:
        """Return the SHA-256 of the names and the values of the weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._weights().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(values.numpy().data)
        return digest.hexdigest()

    def saved_in(self) -> str | None:
        """Return the absolute folder or the hub id that holds the model; None if there is none.

        An index records this name, so that a search can open the model again.
        """
        return self._saved_in

    def similarity(self, a: ArrayLike | Tensor, b: ArrayLike | Tensor) -> Tensor:
        """Return the cosine similarities of two sets of embeddings.

        Args:
            a: (N, D) Embeddings, or (D,) a single embedding.
            b: (M, D) Embeddings, or (D,) a single embedding.

        Returns:
            (N, M) Numbers from -1 to 1, float32.
        """
        return _normalised_rows(a) @ _normalised_rows(b).T

    @check_arguments
    def encode_files(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        encoder: str | FeatureReader | None = None,
        batch_size: int = 64,
        advance: Advance | None = None,
    ) -> Tensor:
        """Embed N video or image files, each as a whole. Needs the extra `video`.

        `mlcmr.index` embeds many files, splits long videos and keeps the embeddings.

        Args:
            paths: The files.
            encoder: The frame encoder whose features the model takes, by name, or a function that returns
                the frame features of a file. By default the encoder of the features that the model was
                trained on.
            batch_size: The number of videos per batch.
            advance: Called with the number of further videos that are done.

        Returns:
            (N, D) float32 on the CPU, L2-normalised.

        Raises:
            InvalidValueError: If the frame encoder is unknown, or computes features of another size.
            MlcmrError: If a file cannot be read.
        """
        require_list(paths, "paths")
        read = encoder if callable(encoder) else self._open_reader(encoder)
        return self.encode_videos((read(path) for path in paths), batch_size=batch_size, advance=advance)

    def _open_reader(self, encoder: str | None) -> FeatureReader:
        known = self.provenance
        # The only import from a package above: a model is one object for its user, and decoding needs PyAV.
        from mlcmr.extraction.feature_reader import open_feature_reader  # noqa: PLC0415

        return open_feature_reader(
            encoder or known.encoder,
            feature=known.feature,
            fps=known.fps,
            num_frames=known.num_frames,
            device=str(self.device),
            named_by_user=encoder is not None or self._trusts_provenance,
        )


def _normalised_rows(embeddings: ArrayLike | Tensor) -> Tensor:
    numbers = torch.as_tensor(embeddings).float()
    return F.normalize(numbers.reshape(-1, numbers.shape[-1]), dim=1)


def detect_languages(texts: Sequence[str], trained: Sequence[str] = ()) -> list[str]:
    """Return the language of each text, as search guesses it (see `guess_language`).

    Without py3langid (extra `search`), languages that share a script are not told apart. A text in unaccented
    Latin letters then counts as English if the model was trained in English.

    Args:
        texts: The texts.
        trained: The languages of the model; if there are none, the script alone decides.
    """
    return [_detect(text, trained) for text in texts]


def _detect(text: str, trained: Sequence[str]) -> str:
    try:
        return guess_language(text, trained)
    except ImportError:
        language = guess_language(text)
        return language if language in trained else "und"
