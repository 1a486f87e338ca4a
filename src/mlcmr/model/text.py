"""The text encoder: a transformer's last hidden states, averaged over the tokens of each text."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import normalizers
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoTokenizer

from mlcmr.data.batches import TokenBatch
from mlcmr.data.captions import clean_english
from mlcmr.errors import UserError
from mlcmr.model.config import TextConfig
from mlcmr.model.dropout import quicken_dropout
from mlcmr.model.hub import find_model
from mlcmr.model.opening import opening

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# What one more group costs, in tokens: on a CPU the gradients of all weights are added up once more, on a
# GPU kernels too small to fill it are started once more.
_GROUP_COST = {"cpu": 48, "cuda": 4096}


class TextEncoder(nn.Module):
    """Token ids to one vector per text.

    Args:
        transformer: A Hugging Face encoder.
        tokenizer: Its (fast) tokenizer.
        trained_layers: How many of the last layers are trained; `all` trains the token embeddings too.
        published_padding: Average over padded places too, as in the published code.

    Raises:
        UserError: the encoder has fewer layers than `trained_layers`, or the tokenizer cannot mask.
    """

    def __init__(
        self,
        transformer: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        *,
        trained_layers: int | str,
        published_padding: bool = False,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.tokenizer = tokenizer
        self.tokenize = CaptionTokenizer(tokenizer, _longest_text(transformer, tokenizer))
        self.published_padding = published_padding
        self.output_size: int = transformer.config.hidden_size
        if tokenizer.mask_token_id is None:
            raise UserError(
                f"the tokenizer of '{transformer.name_or_path}' has no mask token, which masked views need: "
                "choose an encoder that was trained with masked words"
            )
        self.mask_id: int = tokenizer.mask_token_id
        quicken_dropout(transformer)
        _freeze(transformer, trained_layers)

    def forward(self, texts: TokenBatch) -> Tensor:
        """Encodes a batch of B texts: (B, output_size)."""
        if self.published_padding:
            return self._hidden(list(torch.split(texts.ids, texts.lengths.tolist()))).mean(dim=1)
        order = texts.lengths.argsort(stable=True)
        lengths = texts.lengths[order]
        each = torch.split(texts.ids, texts.lengths.tolist())
        features = []
        group_cost = _GROUP_COST.get(texts.ids.device.type, _GROUP_COST["cuda"])
        for start, stop in pairwise(group_bounds(lengths.tolist(), group_cost)):
            group = [each[row] for row in order[start:stop]]
            hidden = self._hidden(group)
            real = (torch.arange(hidden.shape[1]) < lengths[start:stop, None]).to(hidden)
            features.append((hidden * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True))
        return torch.cat(features)[order.argsort().to(texts.ids.device)]

    def _hidden(self, texts: list[Tensor]) -> Tensor:
        """The last hidden states of texts padded to the longest, (B, T, output_size)."""
        ids = pad_sequence(texts, batch_first=True, padding_value=self.tokenizer.pad_token_id or 0)
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long().to(ids.device)
        hidden: Tensor = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden


class CaptionTokenizer:
    """From captions to token ids, special tokens included; English is cleaned first as published.

    Args:
        tokenizer: A fast tokenizer.
        longest: Longer texts are cut to so many tokens, the last (special) one kept.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", longest: int = sys.maxsize) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._longest = longest

    def __call__(self, texts: Sequence[str], languages: Sequence[str]) -> list[NDArray[np.int32]]:
        """Token ids of each text."""
        cleaned = [
            clean_english(text) if language == "en" else text
            for text, language in zip(texts, languages, strict=True)
        ]
        return [self._cut(encoding.ids) for encoding in self._backend.encode_batch_fast(cleaned)]

    def _cut(self, ids: list[int]) -> NDArray[np.int32]:
        if len(ids) > self._longest:
            ids = [*ids[: self._longest - 1], ids[-1]]
        return np.array(ids, np.int32)


def legible(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether tokens hold anything that can be seen, those that are special or unknown left out."""
    words: str = tokenizer.decode(ids, skip_special_tokens=True)
    return any(one.isprintable() and not one.isspace() for one in words)


def group_bounds(lengths: Sequence[int], group_cost: int) -> list[int]:
    """Cuts ascending lengths into groups so that padding and groups together cost least.

    A group of m texts costs m × its longest text + `group_cost` tokens. Exact, by dynamic programming.

    Returns:
        The places of the cuts, 0 and len(lengths) included.
    """
    # Cuts only where the length changes: texts of one length never gain from being apart.
    ends = [i for i in range(1, len(lengths)) if lengths[i] != lengths[i - 1]] + [len(lengths)]
    places = [0, *ends]
    best = [0] * len(places)
    previous = [0] * len(places)
    for stop in range(1, len(places)):
        longest = lengths[places[stop] - 1]
        costs = [best[start] + (places[stop] - places[start]) * longest + group_cost for start in range(stop)]
        best[stop] = min(costs)
        previous[stop] = costs.index(best[stop])
    bounds = [len(places) - 1]
    while bounds[-1] > 0:
        bounds.append(previous[bounds[-1]])
    return [places[place] for place in reversed(bounds)]


def pretrained_encoder(config: TextConfig) -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """Opens the encoder that `config.encoder` names, by hub id or folder.

    Raises:
        UserError: there is none under this name, or it has no fast tokenizer.
    """
    option = "--model.text.encoder, or train a small one with --model.text.new"
    name = find_model(config.encoder, option, "encoder")
    with _opening(name, quiet=True):
        transformer, loaded = AutoModel.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
    if missing := sorted(key for key in loaded["missing_keys"] if "pooler" not in key):
        raise UserError(
            f"encoder '{name}': {len(missing)} weights are missing, the first is {missing[0]}; choose another"
        )
    return _without_pooler(transformer), open_tokenizer(name, config.lowercase)


def empty_encoder(name: str, lowercase: bool | None) -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """An encoder of the architecture called `name`, by hub id or folder, whose weights come from elsewhere.

    Raises:
        UserError: there is none under this name, or it has no fast tokenizer.
    """
    name = find_model(name, "--encoder", "encoder")
    with _opening(name):
        config = AutoConfig.from_pretrained(name)
        transformer = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return _without_pooler(transformer), open_tokenizer(name, lowercase)


def open_tokenizer(name: str | Path, lowercase: bool | None) -> "PreTrainedTokenizerFast":
    """Opens a fast tokenizer by hub id or folder.

    Args:
        name: Hub id or folder.
        lowercase: Whether it lower-cases first (BERT's own way, without accents, where it is BERT's);
            None leaves it as it is.

    Raises:
        UserError: there is none under this name.
    """
    with _opening(str(name)):
        tokenizer: Any = AutoTokenizer.from_pretrained(name, use_fast=True)
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"encoder '{name}': no fast tokenizer (tokenizer.json) there; choose another encoder")
    backend = tokenizer.backend_tokenizer
    if lowercase is not None and isinstance(backend.normalizer, normalizers.BertNormalizer):
        backend.normalizer.lowercase = lowercase
    elif lowercase and not _lowercases(backend.normalizer):
        also = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *also])
    backend.no_padding()
    backend.no_truncation()
    return tokenizer  # type: ignore[no-any-return]


def _without_pooler(transformer: Any) -> "PreTrainedModel":
    # Some architectures carry a pooler along, which nothing here uses; they do without when it is None.
    if getattr(transformer, "pooler", None) is not None:
        transformer.pooler = None
    return transformer  # type: ignore[no-any-return]


def _lowercases(normalizer: Any) -> bool:
    """Whether it is what `open_tokenizer` makes, as in a model folder."""
    return isinstance(normalizer, normalizers.Sequence) and isinstance(normalizer[0], normalizers.Lowercase)


def _longest_text(transformer: nn.Module, tokenizer: "PreTrainedTokenizerFast") -> int:
    """How many tokens the encoder has positions for."""
    longest = min(tokenizer.model_max_length, sys.maxsize)
    for name, module in transformer.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # Where padding has a position (RoBERTa), those of tokens come after it.
            taken = 0 if module.padding_idx is None else module.padding_idx + 1
            longest = min(longest, module.num_embeddings - taken)
    return longest


def _opening(name: str, *, quiet: bool = False) -> AbstractContextManager[None]:
    return opening(f"encoder '{name}': not a Hugging Face encoder, by hub id or folder", quiet=quiet)


def transformer_layers(transformer: nn.Module) -> nn.ModuleList:
    """The layers of any encoder: its longest list of equal modules."""
    lists = [
        module
        for module in transformer.modules()
        if isinstance(module, nn.ModuleList) and len({type(layer) for layer in module}) == 1
    ]
    if not lists:
        raise UserError(f"{type(transformer).__name__} has no list of layers: choose a transformer encoder")
    return max(lists, key=len)


def _freeze(transformer: nn.Module, trained_layers: int | str) -> None:
    layers = transformer_layers(transformer)
    if trained_layers == "all":
        return
    if not isinstance(trained_layers, int) or not 0 <= trained_layers <= len(layers):
        raise UserError(
            f"the encoder has {len(layers)} layers, but trained_layers is {trained_layers}: set "
            f"--model.text.trained_layers {len(layers)} or less (or all, which trains the embeddings too)"
        )
    transformer.requires_grad_(requires_grad=False)
    layers[len(layers) - trained_layers :].requires_grad_(requires_grad=True)
