"""The text encoder: the last hidden states of a transformer, pooled over the tokens of each text."""

import os
import re
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
from transformers import AutoModel

from mlcmr.data.batches import TokenBatch
from mlcmr.data.languages import language_profile
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.model.config import TextConfig
from mlcmr.model.dropout import quicken_dropout
from mlcmr.model.encoders.pooling import open_pooling
from mlcmr.model.encoders.tokens import (
    TextTokenizer,
    has_known_tokens,
    longest_text,
    require_embeddings,
)
from mlcmr.model.foreign import Shapes, building, open_config, open_foreign_model, open_foreign_tokenizer
from mlcmr.model.hf_errors import opening
from mlcmr.model.hub import find_model
from mlcmr.model.repeatable import PROBES, require_repeatable, same
from mlcmr.text import plural

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# The cost of another group, in tokens: on a CPU the gradients of all weights are added up once more, on a GPU
# small kernels are started once more.
_GROUP_COST = {"cpu": 48, "cuda": 4096}


class TextEncoder(nn.Module):
    """Encode token ids to one vector per text.

    Args:
        transformer: A Hugging Face encoder.
        tokenizer: The fast tokenizer of the encoder.
        trained_layers: The number of last layers that are trained; `all` trains the token embeddings too.
        pooling: See `TextConfig.pooling`.
        prefix: See `TextConfig.prefix`.
        published_padding: Average over padding too, as in the published code.
        source: The file that the name of the pooling comes from; None if the user gave the name.

    Raises:
        InvalidValueError: If the encoder has fewer layers than `trained_layers`, needs more than texts, or is
            random; or if the tokenizer has no mask token.
    """

    def __init__(
        self,
        transformer: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        *,
        trained_layers: int | str,
        pooling: str = "mean",
        prefix: str = "",
        published_padding: bool = False,
        source: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.tokenizer = tokenizer
        self.tokenize = CaptionTokenizer(
            tokenizer,
            longest_text(transformer, tokenizer),
            prefix=prefix,
            special_in_text=published_padding,
        )
        self.published_padding = published_padding
        if tokenizer.mask_token_id is None:
            raise InvalidValueError(
                f"the tokenizer of '{transformer.name_or_path}' has no mask token, which masked views need: "
                "choose an encoder that was trained with masked words"
            )
        self.mask_id: int = tokenizer.mask_token_id
        subject = f"encoder '{tokenizer.name_or_path}'"
        require_embeddings(tokenizer, transformer, subject)
        with opening(subject, "cannot encode texts by themselves"):
            self._probe(subject, pooling, source)
        quicken_dropout(transformer)
        _freeze(transformer, trained_layers)

    def _probe(self, subject: str, pooling: str, source: str | os.PathLike[str] | None) -> None:
        """Open the pooling, and find the size of a feature and whether padding changes features."""
        training = self.transformer.training
        self.transformer.train(mode=False)
        tokens = [torch.from_numpy(ids) for ids in self.tokenize(PROBES, [""] * len(PROBES))]
        with torch.inference_mode():
            size = self._states(tokens[:1]).shape[2]
        self.pooling = open_pooling(pooling, size, source=source)
        if isinstance(self.pooling, nn.Module):
            self.pooling.eval()
        with torch.inference_mode():
            together = require_repeatable(lambda: self._pooled(tokens), subject)
            alone = self._pooled(tokens[:1])
        if isinstance(self.pooling, nn.Module):
            self.pooling.train(self.training)
        self.transformer.train(training)
        self.output_size: int = alone.shape[1]
        self._masks_padding = same(alone, together[:1])

    def forward(self, texts: TokenBatch) -> Tensor:
        """Return the features of a batch of B texts, (B, output_size)."""
        each = torch.split(texts.ids, texts.lengths.tolist())
        if self.published_padding:
            return self._states(each).mean(dim=1)
        order = texts.lengths.argsort(stable=True)
        group_cost = _GROUP_COST.get(texts.ids.device.type, _GROUP_COST["cuda"])
        # Some encoders attend to padding (FNet, Funnel, ConvBERT). They get groups without any: a cost of 0.
        bounds = group_bounds(texts.lengths[order].tolist(), group_cost if self._masks_padding else 0)
        features = [
            self._pooled([each[row] for row in order[start:stop]]) for start, stop in pairwise(bounds)
        ]
        return torch.cat(features)[order.argsort().to(texts.ids.device)]

    def _pooled(self, texts: Sequence[Tensor]) -> Tensor:
        """Return one vector per text, (B, output_size)."""
        states = self._states(texts)
        return self.pooling(states, torch.tensor([len(text) for text in texts], device=states.device))

    def _states(self, texts: Sequence[Tensor]) -> Tensor:
        """Return the last hidden states of texts padded to the longest, (B, T, D)."""
        ids = pad_sequence(list(texts), batch_first=True, padding_value=self.tokenizer.pad_token_id or 0)
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long().to(ids.device)
        states: Tensor = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        return states


class CaptionTokenizer:
    """Turn captions into token ids, special tokens included. English is cleaned first, as published.

    Args:
        tokenizer: A fast tokenizer.
        longest: The number of tokens to which longer texts are cut; special tokens at the end are kept.
        prefix: A text before each caption, which is not cleaned.
        special_in_text: Whether `[MASK]` and the like in a caption are special tokens, as in the published
            code.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        longest: int = sys.maxsize,
        *,
        prefix: str = "",
        special_in_text: bool = True,
    ) -> None:
        self._tokens = TextTokenizer(tokenizer, longest, special_in_text=special_in_text)
        self._tokenizer = tokenizer
        self._prefix = prefix

    def __call__(self, texts: Sequence[str], languages: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token ids of each text.

        Args:
            texts: The captions as they are written.
            languages: The language of each caption.
        """
        cleaned = self._clean(texts, languages)
        return [np.array(ids, np.int32) for ids in self._tokens([self._prefix + text for text in cleaned])]

    def knows(self, text: str, language: str) -> bool:
        """Return whether at least one token of a text is known, special tokens and the prefix left out."""
        return has_known_tokens(self._tokenizer, self._tokens(self._clean([text], [language]))[0])

    def _clean(self, texts: Sequence[str], languages: Sequence[str]) -> list[str]:
        return [
            language_profile(language).clean(text) for text, language in zip(texts, languages, strict=True)
        ]


def group_bounds(lengths: Sequence[int], group_cost: int) -> list[int]:
    """Return the bounds of groups of texts for which padding and groups together cost least.

    A group of m texts costs m × its longest text + `group_cost` tokens. The minimum is exact, by dynamic
    programming.

    Args:
        lengths: The lengths of the texts, ascending.
        group_cost: The cost of a group, in tokens.

    Returns:
        The bounds, ascending, from 0 to len(lengths).
    """
    # Bounds lie only where the length changes: texts of one length never gain from separate groups.
    ends = [i for i in range(1, len(lengths)) if lengths[i] != lengths[i - 1]] + [len(lengths)]
    candidates = [0, *ends]
    best = [0] * len(candidates)
    previous = [0] * len(candidates)
    for stop in range(1, len(candidates)):
        longest = lengths[candidates[stop] - 1]
        costs = [
            best[start] + (candidates[stop] - candidates[start]) * longest + group_cost
            for start in range(stop)
        ]
        best[stop] = min(costs)
        previous[stop] = costs.index(best[stop])
    bounds = [len(candidates) - 1]
    while bounds[-1] > 0:
        bounds.append(previous[bounds[-1]])
    return [candidates[bound] for bound in reversed(bounds)]


def pretrained_encoder(config: TextConfig) -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """Open the encoder that `config.encoder` names, by hub id or folder.

    Returns:
        The transformer and its tokenizer.

    Raises:
        NotFoundError: If there is no such encoder.
        InvalidValueError: If it is no text encoder, or has no fast tokenizer.
        CorruptFileError: If weights are missing or damaged.
    """
    alternative = ", or train a small one with `model.text.new`"
    name = find_model(config.encoder, "model.text.encoder", "encoder", alternative=alternative)
    with _opening_text_encoder(name, quiet=True):
        transformer, lacking = open_foreign_model(name, role="encoder")
    if missing := sorted(key for key in lacking if "pooler" not in key):
        raise CorruptFileError(
            f"encoder '{name}': {len(missing)} weights are missing, the first is {missing[0]}; choose another"
        )
    return _without_pooler(transformer), open_tokenizer(name, config.lowercase)


def empty_encoder(
    name: str, lowercase: bool | None, shapes: Shapes | None = None
) -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """Build an encoder without its weights, which the caller loads from another file.

    Args:
        name: A hub id or folder, of which the configuration and the tokenizer are read.
        lowercase: See `open_tokenizer`.
        shapes: The shapes of the weights that the caller will load, which bound the size of the encoder; None
            to believe the configuration.

    Returns:
        The transformer and its tokenizer.

    Raises:
        NotFoundError: If there is no such encoder.
        InvalidValueError: If it has another depth or size than the weights, or no fast tokenizer.
        CorruptFileError: If its configuration is damaged.
    """
    name = find_model(name, "encoder", "encoder")
    with _opening_text_encoder(name, quiet=True):
        if shapes is not None:
            _require_fit(name, open_config(name, None), shapes)
        config = open_config(name, shapes)
        models: Any = AutoModel
        if shapes is not None:
            with torch.device("meta"), building(shapes, name):
                built = models.from_config(config, trust_remote_code=False)
            _require_shapes(name, built, shapes)
        transformer = models.from_config(config, dtype=torch.float32, trust_remote_code=False)
    return _without_pooler(transformer), open_tokenizer(name, lowercase)


_HINT = "name the encoder that was trained (`encoder`)"


def _require_shapes(name: str, transformer: nn.Module, shapes: Shapes) -> None:
    """Refuse an encoder whose weights have other shapes than those that will be loaded.

    Raises:
        InvalidValueError: If a shape differs; weights on one side alone are left to the loading.
    """
    given = {weight.partition(".transformer.")[2]: shape for weight, shape in shapes.items()}
    for weight, tensor in transformer.state_dict().items():
        own = tuple(tensor.shape)
        if (shape := given.get(weight, own)) != own:
            raise InvalidValueError(
                f"encoder '{name}' has weights '{weight}' of shape {own}, but the weights have {shape}; "
                f"{_HINT}",
                parameter="encoder",
            )


def _require_fit(name: str, config: Any, shapes: Shapes) -> None:
    """Refuse an encoder of another depth or size than the weights, in one line that says what to do.

    Raises:
        InvalidValueError: If the number of layers, or the size of the token embeddings, differs.
    """
    numbers = [int(found[1]) for weight in shapes if (found := re.search(r"\.layer\.(\d+)\.", weight))]
    depth = getattr(config, "num_hidden_layers", None)
    if numbers and isinstance(depth, int) and depth != max(numbers) + 1:
        raise InvalidValueError(
            f"encoder '{name}' has {plural(depth, 'layer')}, but the weights have {max(numbers) + 1}; "
            f"{_HINT}",
            parameter="encoder",
        )
    width = getattr(config, "embedding_size", getattr(config, "hidden_size", None))  # ELECTRA has both
    size = getattr(config, "vocab_size", None), width
    trained = next(
        (shape for weight, shape in shapes.items() if weight.endswith("word_embeddings.weight")), size
    )
    if None not in size and trained != size:
        raise InvalidValueError(
            f"encoder '{name}' has token embeddings of shape {size}, but the weights have {trained}; {_HINT}",
            parameter="encoder",
        )


def open_tokenizer(name: str | Path, lowercase: bool | None) -> "PreTrainedTokenizerFast":
    """Open a fast tokenizer.

    Args:
        name: A hub id or folder.
        lowercase: Whether the tokenizer lower-cases; the tokenizer of BERT then removes accents too. None
            leaves the tokenizer as it is.

    Raises:
        InvalidValueError: If there is no fast tokenizer.
        CorruptFileError: If its files are damaged.
    """
    with _opening_text_encoder(str(name)):
        tokenizer = open_foreign_tokenizer(str(name))
    if not getattr(tokenizer, "is_fast", False):
        raise InvalidValueError(
            f"encoder '{name}': it has no fast tokenizer (tokenizer.json); choose another encoder"
        )
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or not longest >= 1:
        raise CorruptFileError(
            f"encoder '{name}': model_max_length in tokenizer_config.json is {longest!r:.99}, but must be a "
            "number of tokens; copy the model again, or choose another"
        )
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
    """Remove the pooler that some architectures have: nothing here uses it."""
    if getattr(transformer, "pooler", None) is not None:
        transformer.pooler = None
    return transformer  # type: ignore[no-any-return]


def _lowercases(normalizer: Any) -> bool:
    """Return whether `open_tokenizer` has made a normalizer, as in the tokenizer of a model folder."""
    return isinstance(normalizer, normalizers.Sequence) and isinstance(normalizer[0], normalizers.Lowercase)


def _opening_text_encoder(name: str, *, quiet: bool = False) -> AbstractContextManager[None]:
    return opening(f"encoder '{name}'", "not a Hugging Face encoder, by hub id or folder", quiet=quiet)


def transformer_layers(transformer: nn.Module) -> nn.ModuleList:
    """Return the layers of an encoder: its longest list of modules of one class.

    Raises:
        InvalidValueError: If there is no such list.
    """
    lists = [
        module
        for module in transformer.modules()
        if isinstance(module, nn.ModuleList) and len({type(layer) for layer in module}) == 1
    ]
    if not lists:
        name = type(transformer).__name__
        raise InvalidValueError(f"{name} has no list of layers: choose a transformer encoder")
    return max(lists, key=len)


def _freeze(transformer: nn.Module, trained_layers: int | str) -> None:
    layers = transformer_layers(transformer)
    if trained_layers == "all":
        return
    if not isinstance(trained_layers, int) or not 0 <= trained_layers <= len(layers):
        raise InvalidValueError(
            f"the encoder has {len(layers)} layers, but trained_layers is {trained_layers}: set "
            f"`model.text.trained_layers` to {len(layers)} or less (or all, which trains the embeddings too)",
            parameter="model.text.trained_layers",
        )
    transformer.requires_grad_(requires_grad=False)
    layers[len(layers) - trained_layers :].requires_grad_(requires_grad=True)
