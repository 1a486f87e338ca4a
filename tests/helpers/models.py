"""Tiny models of the real classes, with random weights."""

import json
from pathlib import Path

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers.trainers import WordPieceTrainer
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    GemmaTokenizer,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    VideoMAEImageProcessorPil,
    VideoPrismClipModel,
    VideoPrismConfig,
    VideoPrismTokenizer,
    XCLIPConfig,
    XCLIPModel,
)

from tests.helpers.tiny import captions

TEXTS = ["a dog catches a frisbee", "一只狗在接飞盘", "A girl sings, and a man plays the guitar!", "x"]


CORPUS = [
    *TEXTS,
    *(
        text
        for split in ("train", "val", "test")
        for tag in ("enc", "zh")
        for _, text in captions(split, tag)
    ),
]


VISION = {
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


TEXT = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}


def clip_tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs between start and end marks, padded with end marks, as CLIP's."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=[start, end], initial_alphabet=alphabet)
    backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, 0), (end, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=start, eos_token=end, pad_token=end, model_max_length=16
    )


def siglip_tokenizer() -> PreTrainedTokenizerFast:
    """Pieces and an end mark, which also pads, as SigLIP's."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=["<unk>", "</s>"], unk_token="<unk>")
    backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", pad_token="</s>", unk_token="<unk>", model_max_length=16
    )


def gemma_tokenizer() -> GemmaTokenizer:
    """Cased byte pairs and an end mark, as those of SigLIP 2, which pads with another."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=special))
    model = json.loads(backend.to_str())["model"]
    return GemmaTokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        add_bos_token=False,
        add_eos_token=True,
    )


def write_clip(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    text |= {"eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1}
    CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


def write_siglip(folder: Path) -> Path:
    torch.manual_seed(1)
    tokenizer = siglip_tokenizer()
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    text |= {"eos_token_id": 1, "pad_token_id": 1, "projection_size": 32}
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_siglip2(folder: Path) -> Path:
    """A SigLIP 2 checkpoint of one resolution: SigLIP's type, Gemma's tokenizer."""
    write_siglip(folder)
    tokenizer = gemma_tokenizer()
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 32}
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    tokenizer.save_pretrained(folder)
    return folder


def write_xclip(folder: Path) -> Path:
    """An X-CLIP for windows of 4 frames, with the processor of VideoMAE, as published."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    text |= {"eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1}
    frames = {"mit_hidden_size": 24, "mit_intermediate_size": 37, "mit_num_hidden_layers": 1, "num_frames": 4}
    config = XCLIPConfig(
        text_config=text, vision_config={**VISION, **frames}, projection_dim=24, prompt_num_attention_heads=4
    )
    XCLIPModel(config).save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    VideoMAEImageProcessorPil(**size).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_videoprism(folder: Path) -> Path:
    """A VideoPrism LvT for windows of 4 frames; its processor of videos needs torchvision."""
    torch.manual_seed(0)
    pieces = json.loads(siglip_tokenizer().backend_tokenizer.to_str())["model"]["vocab"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(piece, score) for piece, score in pieces if piece not in ("<unk>", "</s>")]
    tokenizer = VideoPrismTokenizer(vocab=vocabulary, extra_ids=0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    text = {**sizes, "vocab_size": len(tokenizer), "num_hidden_layers": 2, "max_position_embeddings": 16}
    layers = dict.fromkeys(("num_spatial_layers", "num_temporal_layers", "num_auxiliary_layers"), 1)
    vision = {**sizes, **layers, "image_size": 36, "num_frames": 4}
    model = VideoPrismClipModel(VideoPrismConfig(text_config=text, vision_config=vision))
    with torch.no_grad():  # zeros at the start, which attend to all patches alike
        model.video_model.head.pooling_attention_query.normal_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def word_pieces(tmp_path) -> PreTrainedTokenizerFast:
    """As BERT's."""
    del tmp_path
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        [*CORPUS, "[ / ] < > MASK s"], WordPieceTrainer(vocab_size=300, special_tokens=special)
    )
    ends = [(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, **{f"{what}_token": name for what, name in names.items()}
    )


def write_bert(folder: Path) -> Path:
    tokenizer = word_pieces(None)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
