"""Pretrained models with a tower for texts and one for pictures (CLIP, SigLIP and their kin)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from mlcmr.errors import UserError
from mlcmr.model.opening import opening
from mlcmr.model.protocol import Advance
from mlcmr.model.text import legible

_BLANK = "a"


class TwoTower:
    """A pretrained two-tower model; see `TextVideoModel`.

    A text is embedded by the text tower. A video is the mean of its frames' embeddings by the picture tower,
    each L2-normalised; the frame features are these embeddings, as `mlcmr extract --encoder` writes them with
    the same model. Nothing is trained: which languages it knows is up to the model.

    Example:
        >>> model = TwoTower.from_pretrained("google/siglip-base-patch16-256-multilingual")
        >>> model.encode_texts(["一只狗在接飞盘"]) @ model.encode_videos([frames]).T

    Args:
        model: A Hugging Face model that has `get_text_features` and `get_image_features`.
        tokenizer: Its tokenizer.
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        config: Any = model.config
        # SigLIP was trained on texts padded to one length, and attends to the padding: what stands in the
        # last place becomes the embedding.
        self._padded = str(config.model_type).startswith("siglip")
        self._longest = _longest_text(model, tokenizer)
        self.feature_size: int = self.encode_texts([_BLANK]).shape[1]
        """The size of a frame feature, and of an embedding."""

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """Opens a model by hub id or folder.

        Raises:
            UserError: there is no such model, or it does not have texts and pictures in one space.
        """
        with opening(f"model '{name}': cannot be used, by hub id or folder", quiet=True):
            model, loaded = AutoModel.from_pretrained(
                name, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
            if not all(hasattr(model, f"get_{what}_features") for what in ("text", "image")):
                raise UserError(
                    f"model '{name}': {type(model).__name__} does not have texts and pictures in one space; "
                    "choose one that does, such as CLIP or SigLIP"
                )
            if loaded["missing_keys"]:
                raise UserError(f"model '{name}': weights are missing, {min(loaded['missing_keys'])} for one")
            return cls(model, AutoTokenizer.from_pretrained(name, trust_remote_code=False))

    def to(self, device: str | torch.device) -> Self:
        """Moves the weights."""
        self._model.to(device)
        return self

    def encode_texts(
        self,
        texts: Sequence[str],
        language: str = "",  # noqa: ARG002 – the model was trained on texts of any language mixed
        *,
        batch_size: int = 64,
        advance: Advance | None = None,
    ) -> Tensor:
        """Embeds N texts: (N, D) float32 on the CPU, L2-normalised.

        Args:
            texts: The texts as written; cut to what the model has places for.
            language: Makes no difference.
            batch_size: Texts at a time.
            advance: Told how many more texts are done.
        """
        device = next(self._model.parameters()).device
        embeddings = []
        for start in range(0, len(texts), batch_size):
            batch = list(texts[start : start + batch_size])
            tokens = self._tokenizer(
                batch,
                padding="max_length" if self._padded else True,
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
            ).to(device)
            if self._padded:
                tokens.pop("attention_mask", None)
            with torch.inference_mode():
                features = self._model.get_text_features(**tokens)  # type: ignore[operator]
            pooled = features if isinstance(features, Tensor) else features.pooler_output
            embeddings.append(F.normalize(pooled.float(), dim=1).cpu())
            if advance:
                advance(len(batch))
        return torch.cat(embeddings) if embeddings else torch.empty(0, self.feature_size)

    def reads(self, text: str, language: str = "") -> bool:  # noqa: ARG002 – as for `encode_texts`
        """Whether there is anything in a text that the model can read: a token that it knows."""
        return legible(self._tokenizer, self._tokenizer(text)["input_ids"])

    def encode_videos(
        self,
        videos: Iterable[NDArray[np.float32]],
        *,
        batch_size: int = 64,  # noqa: ARG002 – a mean needs none
        advance: Advance | None = None,
    ) -> Tensor:
        """Embeds N videos: (N, D) float32 on the CPU, L2-normalised.

        Args:
            videos: The frame features of each, (frames, D).
            batch_size: Makes no difference.
            advance: Told how many more videos are done.

        Raises:
            UserError: a video has no frames, or features that are not this model's.
        """
        embeddings = [torch.empty(0, self.feature_size)]
        for video in videos:
            frames = torch.from_numpy(np.array(video, np.float32))
            if frames.ndim != 2 or frames.shape[1] != self.feature_size or not len(frames):
                raise UserError(
                    f"frame features of shape {tuple(frames.shape)}, expected (frames, {self.feature_size}) "
                    "and one frame at least: extract them with the same model"
                )
            mean = F.normalize(frames, dim=1).mean(dim=0, keepdim=True)
            embeddings.append(F.normalize(mean, dim=1))
            if advance:
                advance(1)
        return torch.cat(embeddings)


def _longest_text(model: nn.Module, tokenizer: Any) -> int:
    """How many tokens the text tower has places for."""
    longest = int(tokenizer.model_max_length)
    for name, module in model.named_modules():
        if "position_embedding" in name and "vision" not in name and isinstance(module, nn.Embedding):
            # Where padding has a place (RoBERTa), those of tokens come after it.
            taken = 0 if module.padding_idx is None else module.padding_idx + 1
            longest = min(longest, module.num_embeddings - taken)
    return longest
