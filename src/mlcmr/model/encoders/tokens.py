"""Turn texts into token ids. The name of a special token in a text, such as `[SEP]` or `</s>`, is text."""

import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from torch import nn

from mlcmr.errors import CorruptFileError, InvalidValueError, no_panic


class TextTokenizer:
    """Turn texts into token ids, between the special tokens that the tokenizer adds.

    Args:
        tokenizer: A Hugging Face tokenizer, fast or slow.
        longest: The number of tokens to which longer texts are cut; special tokens at the end are kept.
        lowercase: Whether the texts are lower-cased first.
        special_in_text: Whether the name of a special token in a text is that token, as in the published
            code.
    """

    def __init__(
        self,
        tokenizer: Any,
        longest: int = sys.maxsize,
        *,
        lowercase: bool = False,
        special_in_text: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._special_in_text = special_in_text
        self._backend = getattr(tokenizer, "backend_tokenizer", None) if tokenizer.is_fast else None
        if self._backend is not None:
            self._backend.no_padding()
            self._backend.no_truncation()
        self._longest = longest
        self._lowercase = lowercase
        self._special = _special_ids(tokenizer)
        self._around = self._count(self._encode([""])[0])
        self._after = self._count_after(self._encode(["a"])[0])

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens included."""
        if self._lowercase:
            texts = [text.lower() for text in texts]
        rows = self._encode(texts)
        return [
            self._cut(
                ids
                if self._special_in_text or self._count(ids) <= self._around
                else self._encode_broken(text)
            )
            for text, ids in zip(texts, rows, strict=True)
        ]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        if self._backend is None:
            rows: list[list[int]] = self._tokenizer(
                list(texts), split_special_tokens=not self._special_in_text, truncation=False, verbose=False
            )["input_ids"]
            return rows
        # Each call of the Hugging Face tokenizer sets this property too.
        self._backend.encode_special_tokens = not self._special_in_text
        with no_panic(f"'{self._tokenizer.name_or_path}': its tokenizer cannot read a text"):
            return [encoding.ids for encoding in self._backend.encode_batch_fast(list(texts))]

    def _encode_broken(self, text: str) -> list[int]:
        """Encode a text that contains the name of a special token, with a space within that name.

        Unigram and WordLevel tokenizers read such a name in any text as the special token. Normalisation may
        create the name, so the text is normalised first.
        """
        normalizer = self._backend.normalizer if self._backend is not None else None
        broken = text if normalizer is None else normalizer.normalize_str(text)
        ids = self._encode([_break(broken, special_names(self._tokenizer))])[0]
        if self._count(ids) <= self._around:
            return ids
        # Normalisation still creates the name: leave the token out.
        start = len(ids) - self._after
        before = self._around - self._after
        return (
            ids[:before] + [token for token in ids[before:start] if token not in self._special] + ids[start:]
        )

    def _count(self, ids: Sequence[int]) -> int:
        return sum(map(self._special.__contains__, ids))

    def _count_after(self, ids: Sequence[int]) -> int:
        """Count the special tokens at the end."""
        return next((n for n, token in enumerate(reversed(ids)) if token not in self._special), 0)

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self._longest:
            return ids
        return ids[: self._longest - self._after] + ids[len(ids) - self._after :]


def longest_text(model: nn.Module, tokenizer: Any) -> int:
    """Return the largest number of tokens of a text that a model takes.

    Args:
        model: A text encoder, or a model with a text tower.
        tokenizer: The tokenizer of the model.

    Raises:
        InvalidValueError: If no token fits between the special tokens.
    """
    stated = longest = tokenizer.model_max_length
    if isinstance(stated, int | float):
        for name, module in model.named_modules():
            positions = re.search("position_embeddings?$", name) and "vision" not in name
            if positions and isinstance(module, nn.Embedding):
                # In RoBERTa padding has a position, and the positions of tokens come after it.
                taken = 0 if module.padding_idx is None else module.padding_idx + 1
                longest = min(longest, module.num_embeddings - taken)
        for name, buffer in model.named_buffers():  # of computed positions (VideoPrism)
            if name.endswith("position_embedding") and "vision" not in name and buffer.ndim > 1:
                longest = min(longest, buffer.shape[-2])
        if longest > len(tokenizer("", verbose=False)["input_ids"]):
            return int(min(longest, sys.maxsize))
    raise InvalidValueError(
        f"'{tokenizer.name_or_path}': model_max_length is {str(stated)[:40]}, but must be more than the "
        "special tokens around a text; choose another model"
    )


def require_embeddings(tokenizer: Any, model: nn.Module, subject: str) -> None:
    """Refuse the tokenizer of a larger model, whose tokens this model cannot all embed.

    Args:
        tokenizer: The tokenizer.
        model: The model that embeds the tokens.
        subject: The model, such as `model 'name'`, for the message.

    Raises:
        CorruptFileError: If a token has no embedding.
    """
    rows = [
        module.num_embeddings
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and not re.search("vision|position|type", name)
    ]
    marks = set(map(tokenizer.convert_ids_to_tokens, _special_ids(tokenizer)))
    used = [tokenizer.pad_token_id, tokenizer.mask_token_id, *tokenizer("")["input_ids"]]
    ids = [token for name, token in tokenizer.get_vocab().items() if name not in marks]
    largest = max([token for token in used if token is not None] + ids, default=0)
    if rows and largest >= max(rows):
        raise CorruptFileError(
            f"{subject}: its tokenizer makes token {largest:,}, but the model has embeddings of "
            f"{max(rows):,}; copy or download it again, or choose another"
        )


def special_names(tokenizer: Any) -> list[str]:
    """Return the names of the special tokens of a tokenizer, such as `[CLS]`."""
    names: list[str] = tokenizer.convert_ids_to_tokens(sorted(_special_ids(tokenizer)))
    return names


def break_names(text: str, names: Sequence[str]) -> str:
    """Return a text with a space within each name of a special token, so that the name is read as text."""
    normal = unicodedata.normalize("NFKC", text)  # as many tokenizers do, which can create such a name
    return _break(normal, names) if any(name in normal for name in names) else text


def _break(text: str, names: Sequence[str]) -> str:
    for name in names:
        text = text.replace(name, f"{name[:1]} {name[1:]}")
    return text


def _special_ids(tokenizer: Any) -> set[int]:
    added = {ids for ids, token in tokenizer.added_tokens_decoder.items() if token.special}
    # The unknown token stands for a part of the text; it is no mark.
    return (added | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id}


def has_known_tokens(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Return whether any token is visible text, special and unknown tokens left out."""
    words: str = tokenizer.decode(ids, skip_special_tokens=True)
    return any(letter.isprintable() and not letter.isspace() for letter in words)
