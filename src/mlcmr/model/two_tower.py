"""Pretrained models with a text tower and an image or video tower (CLIP, SigLIP, X-CLIP and others)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcmr.arguments import check_arguments
from mlcmr.data.features.finite import require_normalisable
from mlcmr.errors import CorruptFileError, InvalidValueError, require_list
from mlcmr.model.embedding import EmbeddingModel
from mlcmr.model.encoders.tokens import TextTokenizer, has_known_tokens, longest_text, require_embeddings
from mlcmr.model.foreign import open_foreign_model, open_foreign_tokenizer
from mlcmr.model.hf_errors import opening
from mlcmr.model.mean_of_frames import mean_of_frames
from mlcmr.model.protocol import Advance
from mlcmr.model.provenance import Provenance
from mlcmr.model.repeatable import PROBES, require_repeatable, same
from mlcmr.paths import folder_or_id


class TwoTower(EmbeddingModel):
    """A pretrained two-tower model; see `TextVideoModel`.

    The text tower embeds a text. The embedding of a video is the mean of the L2-normalised embeddings of its
    frames by the image tower, or of its windows of frames by the video tower. These embeddings are the
    features that `mlcmr extract` computes with the same model as encoder. Nothing is trained, so the
    languages are those of the pretrained model.

    Example:
        >>> model = TwoTower.from_pretrained("google/siglip-base-patch16-256-multilingual")
        >>> model.similarity(model.encode_texts(["一只狗在接飞盘"]), model.encode_files(["clip.mp4"]))

    Args:
        model: A Hugging Face model that has `get_text_features`, and `get_image_features` or
            `get_video_features`.
        tokenizer: The tokenizer of the model.
    """

    _trusts_provenance = True  # the frame encoder is the model itself, which this user has opened

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        self._model = model.eval()
        self.provenance = Provenance(encoder=str(model.name_or_path) or None)
        self._tokenizer = tokenizer
        subject = f"model '{model.name_or_path}'"
        require_embeddings(tokenizer, model, subject)
        config: Any = model.config
        # SigLIP was trained on lower-cased texts padded to one length, and attends to the padding: the state
        # of the last position becomes the embedding.
        self._padded = str(config.model_type).startswith("siglip")
        self._longest = longest_text(model, tokenizer)
        # SigLIP 2's tokenizer is Gemma's, which is cased; its authors lower-case before it.
        lowercase = self._padded and tokenizer.init_kwargs.get("do_lower_case") is not False
        self._tokenize = TextTokenizer(tokenizer, self._longest, lowercase=lowercase)
        embeddings = require_repeatable(lambda: self.encode_texts(PROBES), subject)
        require_normalisable(
            embeddings.numpy(), lambda row: f"{subject}: the embedding of '{PROBES[row]:.9}'"
        )
        if not same(embeddings[:1], self.encode_texts(PROBES[:1])):
            raise InvalidValueError(
                f"{subject}: the embedding of a text depends on the padding beside longer texts; choose "
                "another model"
            )
        self.feature_size: int = embeddings.shape[1]
        """The size of a frame feature, and of an embedding."""

    @classmethod
    @check_arguments
    def from_pretrained(cls, name: str | Path) -> Self:
        """Open a model.

        Args:
            name: A hub id or folder.

        Raises:
            NotFoundError: If there is no such model.
            InvalidValueError: If the model does not have texts and pictures in one space.
            CorruptFileError: If its files are damaged, or do not belong together.
        """
        name = folder_or_id(name)
        with opening(f"model '{name}'", "cannot be used, by hub id or folder", quiet=True):
            model, missing = open_foreign_model(str(name))
            has = {what: hasattr(model, f"get_{what}_features") for what in ("text", "image", "video")}
            if not (has["text"] and (has["image"] or has["video"])):
                raise InvalidValueError(
                    f"model '{name}': {type(model).__name__} does not have texts and pictures in one space; "
                    "choose one that does, such as CLIP or SigLIP"
                )
            if missing:
                raise CorruptFileError(f"model '{name}': weights are missing, such as {min(missing)}")
            opened = cls(model, open_foreign_tokenizer(str(name)))
        opened._saved_in = str(name)
        return opened

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return next(self._model.parameters()).device

    def to(self, device: str | torch.device) -> Self:
        """Move the weights to a device, and return the model."""
        self._model.to(device)
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
            texts: The texts as they are written. Texts that are too long for the model are cut.
            language: Not used: these models take all languages alike.
            batch_size: The number of texts per batch.
            advance: Called with the number of further texts that are done, such as `task.advance`.

        Returns:
            (N, D) float32 on the CPU, L2-normalised.

        Raises:
            InvalidValueError: If `texts` is a single text.
        """
        require_list(texts, "texts")
        embeddings = []
        for start in range(0, len(texts), batch_size):
            batch = list(texts[start : start + batch_size])
            with torch.inference_mode():
                features = self._text_features([torch.tensor(ids) for ids in self._tokenize(batch)])
            embeddings.append(F.normalize(features.float(), dim=1).cpu())
            if advance:
                advance(len(batch))
        return torch.cat(embeddings) if embeddings else torch.empty(0, self.feature_size)

    @check_arguments
    def can_encode(self, text: str, language: str | None = None) -> bool:  # noqa: ARG002 – as in `MLCMR`
        """Return whether the tokenizer knows at least one token of a text, special tokens left out."""
        return has_known_tokens(self._tokenizer, self._tokenize([text])[0])

    def _weights(self) -> Mapping[str, Tensor]:
        return self._model.state_dict()

    def _text_features(self, texts: list[Tensor]) -> Tensor:
        """Return the features of texts by their token ids, (B, D)."""
        device = self.device
        lengths = torch.tensor([len(ids) for ids in texts])
        padding = int(self._tokenizer.pad_token_id or 0)
        ids = torch.full((len(texts), self._longest if self._padded else int(lengths.max())), padding)
        for row, text in zip(ids, texts, strict=True):
            row[: len(text)] = text
        tokens = {"input_ids": ids.to(device)}
        if not self._padded:
            tokens["attention_mask"] = (torch.arange(ids.shape[1]) < lengths[:, None]).long().to(device)
        features = self._model.get_text_features(**tokens)  # type: ignore[operator]
        pooled: Tensor = features if isinstance(features, Tensor) else features.pooler_output
        if pooled is None or pooled.ndim != 2:
            raise InvalidValueError(
                f"model '{self._model.name_or_path}': the text features of {type(self._model).__name__} are "
                "not one vector per text; choose a model that makes one, such as CLIP or SigLIP"
            )
        return pooled

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
            videos: The frame features of each video, (frames, D).
            batch_size: Not used: a mean needs no batch.
            advance: Called with the number of further videos that are done, such as `task.advance`.

        Returns:
            (N, D) float32 on the CPU, L2-normalised.

        Raises:
            InvalidValueError: If a video has no frames, or features of another size.
        """
        return mean_of_frames(videos, self.feature_size, advance=advance)
