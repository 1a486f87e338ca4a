"""Translation models of the real architectures, so small that seconds of training teach them sentences."""

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    NllbTokenizer,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

SENTENCES = {
    "en": ["a dog runs", "a cat sleeps", "the man sings a song", "two girls jump", "a bird eats"],
    "zh": ["一只狗在跑", "一只猫在睡觉", "男人在唱歌", "两个女孩跳", "一只鸟在吃"],
    "de": [
        "ein Hund rennt",
        "eine Katze schläft",
        "der Mann singt ein Lied",
        "zwei Mädchen springen",
        "ein Vogel frisst",
    ],
}
PREFIX = "translate English to Chinese German: "
SIZE = {"d_model": 32, "max_position_embeddings": 64, "pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0}
LAYERS = {
    "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "dropout": 0.0, "attention_dropout": 0.0,
}  # fmt: skip


def pieces(path: Path, kind: str = "unigram", **options: Any) -> sentencepiece.SentencePieceProcessor:
    """Learns a vocabulary from the sentences."""
    model = io.BytesIO()
    lines = [line for lines in SENTENCES.values() for line in lines] * 3 + [PREFIX]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=140, model_type=kind,
        character_coverage=1.0, hard_vocab_limit=False, minloglevel=2, **options,
    )  # fmt: skip
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def marian(folder: Path, codes: tuple[str, ...] = ()) -> tuple[PreTrainedModel, Any]:
    spm = pieces(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    names = ["</s>", "<unk>", *codes, *(spm.id_to_piece(i) for i in range(3, spm.get_piece_size())), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    tokenizer = MarianTokenizer(*(str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")))
    pad = len(names) - 1
    ids = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0, "bos_token_id": 0}
    config = MarianConfig(**{**SIZE, **LAYERS, **ids}, vocab_size=len(names), forced_eos_token_id=0)
    return MarianMTModel(config), tokenizer


def multilingual_marian(folder: Path) -> tuple[PreTrainedModel, Any]:
    return marian(folder, (">>cmn_Hans<<", ">>deu<<"))


def m2m100(folder: Path) -> tuple[PreTrainedModel, Any]:
    spm = pieces(folder / "sentencepiece.bpe.model", "bpe")
    names = ["<s>", "<pad>", "</s>", "<unk>", *(spm.id_to_piece(i) for i in range(3, spm.get_piece_size()))]
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    config = M2M100Config(**SIZE, **LAYERS, vocab_size=len(names) + 110, decoder_start_token_id=2)
    return M2M100ForConditionalGeneration(config), tokenizer


def nllb(folder: Path) -> tuple[PreTrainedModel, Any]:
    pieces(folder / "sentencepiece.bpe.model", "bpe")
    tokenizer = NllbTokenizer.from_pretrained(folder, extra_special_tokens=FAIRSEQ_LANGUAGE_CODES)
    config = M2M100Config(**SIZE, **LAYERS, vocab_size=len(tokenizer), decoder_start_token_id=2)
    return M2M100ForConditionalGeneration(config), tokenizer


def mbart50(folder: Path) -> tuple[PreTrainedModel, Any]:
    pieces(folder / "sentencepiece.bpe.model")
    tokenizer = MBart50Tokenizer.from_pretrained(folder)
    config = MBartConfig(**SIZE, **LAYERS, vocab_size=len(tokenizer), decoder_start_token_id=2)
    return MBartForConditionalGeneration(config), tokenizer


def t5(folder: Path, codes: tuple[str, ...] = ()) -> tuple[PreTrainedModel, Any]:
    pieces(folder / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, user_defined_symbols=list(codes))
    tokenizer = T5Tokenizer.from_pretrained(folder)
    config = T5Config(
        d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, dropout_rate=0.0, vocab_size=len(tokenizer),
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return T5ForConditionalGeneration(config), tokenizer


def madlad(folder: Path) -> tuple[PreTrainedModel, Any]:
    return t5(folder, ("<2zh>", "<2de>"))


Make = Callable[[Path], tuple[PreTrainedModel, Any]]
MODELS: dict[str, Make] = {
    "marian": marian, "multilingual marian": multilingual_marian, "m2m100": m2m100, "nllb": nllb,
    "mbart50": mbart50, "t5": t5, "madlad": madlad,
}  # fmt: skip

# The inputs that the documentation of each kind of model asks for.
_SOURCE = {"m2m100": "en", "nllb": "eng_Latn", "mbart50": "en_XX"}
_TARGET = {
    "m2m100": {"zh": "zh", "de": "de"}, "nllb": {"zh": "zho_Hans", "de": "deu_Latn"},
    "mbart50": {"zh": "zh_CN", "de": "de_DE"},
}  # fmt: skip
_PREFIX = {
    "multilingual marian": {"zh": ">>cmn_Hans<< ", "de": ">>deu<< "},
    "t5": {"zh": "translate English to Chinese: ", "de": "translate English to German: "},
    "madlad": {"zh": "<2zh> ", "de": "<2de> "},
}


def make(kind: str, folder: Path, *, steps: int = 0) -> Path:
    """Writes a model with random weights, or one that was taught to translate the sentences."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    random.seed(0)
    model, tokenizer = MODELS[kind](folder)
    if steps:
        _teach(kind, model, tokenizer, steps)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def targets(kind: str) -> list[str]:
    return ["zh"] if kind == "marian" else ["zh", "de"]


def _teach(kind: str, model: PreTrainedModel, tokenizer: Any, steps: int) -> None:
    batches = []
    for target in targets(kind):
        if kind in _SOURCE:
            tokenizer.src_lang, tokenizer.tgt_lang = _SOURCE[kind], _TARGET[kind][target]
        texts = [_PREFIX.get(kind, {}).get(target, "") + text for text in SENTENCES["en"]]
        batch = tokenizer(texts, text_target=SENTENCES[target], padding=True, return_tensors="pt")
        batch["labels"][batch["labels"] == tokenizer.pad_token_id] = -100
        batches.append(batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    # Slower in the end, so that it ends well on any machine.
    slower = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 3 * (1 - step / steps)))
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        model(**batches[step % len(batches)]).loss.backward()
        optimizer.step()
        slower.step()
    model.eval()
