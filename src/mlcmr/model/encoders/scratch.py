"""A new, small text encoder: a tokenizer learnt from captions, a transformer with random weights."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mlcmr.model.config import NewEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LONGEST_TEXT = 512


def new_encoder(
    config: NewEncoder, texts: Iterable[str], *, lowercase: bool
) -> tuple["PreTrainedModel", PreTrainedTokenizerFast]:
    """Return a transformer of BERT's architecture, and a tokenizer for the languages of some texts.

    The tokenizer is a byte-pair encoding (Sennrich et al. 2016) of words, in which every Chinese character
    is a word. (The WordPiece trainer of `tokenizers` gives another vocabulary in every run.) The weights come
    from torch's global generator, which the caller seeds.

    Args:
        config: The sizes.
        texts: The texts from which the vocabulary is learnt.
        lowercase: Whether the tokenizer lower-cases.
    """
    tokenizer = _train_tokenizer(texts, config.vocabulary, lowercase=lowercase)
    transformer = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.hidden_size,
            max_position_embeddings=_LONGEST_TEXT,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            pad_token_id=tokenizer.pad_token_id,
        ),
        add_pooling_layer=False,
    )
    return transformer, tokenizer


def _train_tokenizer(texts: Iterable[str], vocabulary: int, *, lowercase: bool) -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
        model_max_length=_LONGEST_TEXT,
    )
