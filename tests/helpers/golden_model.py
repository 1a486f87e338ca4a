"""The model, the batch and the weights of `golden/model_f64.npz`, as this package builds them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mlcmr.data.batches import PairBatch, TokenBatch, VideoBatch
from mlcmr.model.config import ModelConfig, TextConfig, VideoConfig
from mlcmr.model.legacy_checkpoint import SUBMODELS, rename
from mlcmr.model.mlcmr import MLCMR

GOLDEN = Path(__file__).parents[1] / "golden"
SIZE = 12  # examples in the golden batch


def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "model_f64.npz") as arrays:
        return dict(arrays)


def state(arrays: dict[str, np.ndarray], when: str = "sd0") -> dict[str, torch.Tensor]:
    """The weights under our names."""
    weights: dict[str, torch.Tensor] = {}
    for submodel in SUBMODELS:
        prefix = f"{when}/{submodel}/"
        published = {
            name.removeprefix(prefix): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        weights.update(rename(submodel, published))
    return weights


def tiny_tokenizer(vocabulary: int = 160) -> PreTrainedTokenizerFast:
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # padding is 0, as published
    words = [*special, *(f"w{i}" for i in range(vocabulary - len(special)))]
    ids = {word: i for i, word in enumerate(words)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(ids, unk_token="[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def golden_model(arrays: dict[str, np.ndarray], **changes: Any) -> MLCMR:
    """The published model with the start weights, in float64."""
    bert = BertModel(BertConfig(**json.loads(str(arrays["meta/bert_config"]))), add_pooling_layer=False)
    config = ModelConfig(
        text=TextConfig(encoder="golden", trained_layers=2),
        video=VideoConfig(gru_size=16, filters=8, dropout=0.0, gru_pool=changes.pop("gru_pool", "mean")),
        embedding_size=32,
        dropout=0.0,
        padding="published",
    )
    for name, value in changes.items():
        setattr(config, name, value)
    model = MLCMR(config, 48, bert, tiny_tokenizer()).double()
    model.load_state_dict(state(arrays))
    return model


def golden_batch(arrays: dict[str, np.ndarray]) -> PairBatch:
    """The golden batch, from the raw samples and not from the published padded arrays."""
    order = arrays["in/order"].tolist()

    def videos(keep: bool) -> VideoBatch:
        raw = [arrays[f"raw/{i:02d}/frames"] for i in order]
        chosen = [
            frames[arrays[f"raw/{i:02d}/keep"]] if keep else frames
            for i, frames in zip(order, raw, strict=True)
        ]
        return VideoBatch.of(
            np.concatenate(chosen).astype(np.float64), np.array([len(frames) for frames in chosen])
        )

    def texts(name: str) -> TokenBatch:
        return TokenBatch.of([arrays[f"raw/{i:02d}/{name}"].astype(np.int32) for i in order])

    return PairBatch(
        videos(keep=False),
        videos(keep=True),
        {"en": texts("en"), "zh": texts("zh")},
        {"en": texts("en_mask"), "zh": texts("zh_mask")},
        torch.tensor(order),
    )
