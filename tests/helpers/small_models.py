"""Small models, their parts and their files."""

from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mlcmr.data.batches import PairBatch, TokenBatch, VideoBatch
from mlcmr.model.config import TextConfig
from mlcmr.model.encoders.scratch import new_encoder
from mlcmr.model.encoders.text import pretrained_encoder
from mlcmr.model.mlcmr import MLCMR
from tests.helpers.tiny import SIZE, tiny_model

TEXTS = [
    "A dog runs.",
    "",
    "A girl with a red hat sings a very long song in the rain while a horse looks on and eats",
    "Café — naïve, İstanbul!",
    "dog",
    "a man swims",
    "a bird sleeps in a tree",
]
CHINESE = ["一只狗在跑", "女孩唱歌", "视频里有一匹马，游泳"]


def make_videos() -> list[np.ndarray]:
    """Shorter than every window, longer than the cut, and in between."""
    draw = np.random.default_rng(0)
    return [draw.normal(size=(n, SIZE)).astype(np.float32) for n in (1, 2, 70, 5, 64, 3, 1, 12)]


def make_model(**changes) -> MLCMR:
    """A model whose every part matters: nothing is at its start value."""
    torch.manual_seed(0)
    config = tiny_model(**changes)
    transformer, tokenizer = new_encoder(config.text.new, [*TEXTS, *CHINESE], lowercase=True)
    model = MLCMR(config, SIZE, transformer, tokenizer)
    with torch.no_grad():
        for norm in (model.text_mapping.norm, model.video_mapping.norm):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
    return model.eval()


def assert_equal_models(model: MLCMR, other: MLCMR, videos: list[np.ndarray]) -> None:
    assert not other.training
    assert other.config == model.config
    assert torch.equal(model.encode_texts(TEXTS, "en"), other.encode_texts(TEXTS, "en"))
    assert torch.equal(model.encode_texts(CHINESE, "zh"), other.encode_texts(CHINESE, "zh"))
    assert torch.equal(model.encode_videos(videos), other.encode_videos(videos))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pair_batch(model: MLCMR, examples: int) -> PairBatch:
    draw = np.random.default_rng(1)
    lengths = draw.integers(1, 6, size=examples)
    frames = draw.normal(size=(lengths.sum(), SIZE)).astype(np.float32)
    videos = VideoBatch.of(frames, lengths)
    tokens = TokenBatch.of(model.text_encoder.tokenize(TEXTS[:examples], ["en"] * examples))
    masked = TokenBatch(tokens.ids.clone().index_fill_(0, torch.tensor([1]), 4), tokens.lengths)
    return PairBatch(videos, videos, {"en": tokens}, {"en": masked}, torch.arange(examples))


def tiny_tokenizer(
    *, mask: bool = True, sequence: str = "[CLS] $A [SEP]", pad: int = 0
) -> PreTrainedTokenizerFast:
    """A tokenizer by words, with `[PAD]` at id `pad`."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special.insert(pad, "[PAD]")
    words = sorted({word for one in TEXTS for word in one.lower().split()})
    ids = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=sequence, special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"} | (
        {"mask": "[MASK]"} if mask else {}
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": token for name, token in names.items()}
    )


SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
ENCODERS = {
    "bert": transformers.BertConfig(**SIZES),
    "roberta": transformers.RobertaConfig(**SIZES, pad_token_id=1),
    "xlm-roberta": transformers.XLMRobertaConfig(**SIZES, pad_token_id=1),
    "electra": transformers.ElectraConfig(**SIZES, embedding_size=8),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=60, dim=16, n_layers=3, n_heads=2, hidden_dim=32, max_position_embeddings=40
    ),
    "modernbert": transformers.ModernBertConfig(**SIZES, pad_token_id=0, cls_token_id=1, sep_token_id=2),
}


def write_encoder(
    folder: Path, config: transformers.PreTrainedConfig, dtype=torch.float32, **options
) -> Path:
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).to(dtype).save_pretrained(folder)
    tiny_tokenizer(pad=config.pad_token_id or 0, **options).save_pretrained(folder)
    return folder


def encoder_model(folder: Path, **options) -> MLCMR:
    text = TextConfig(**{"encoder": str(folder), "trained_layers": 2, **options})
    config = tiny_model(text=text)
    return MLCMR(config, SIZE, *pretrained_encoder(text)).eval()
