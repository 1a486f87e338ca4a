"""Weights on disk: a model folder.

config.json           what the model is made of (`ModelConfig`), the size of a frame feature
model.safetensors     all weights
text_encoder/         the transformer's configuration and its tokenizer
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mlcmr.config import from_dict
from mlcmr.errors import UserError, reason
from mlcmr.files import replacing
from mlcmr.model.config import ModelConfig
from mlcmr.model.text import empty_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CONFIG, WEIGHTS, TEXT_ENCODER = "config.json", "model.safetensors", "text_encoder"
_FORMAT = 1


@dataclass(slots=True)
class ModelParts:
    """What a model is built from.

    Attributes:
        config: What it is made of.
        feature_size: The size of one frame feature.
        transformer: The text encoder's transformer; its weights are among `weights`.
        tokenizer: Its tokenizer.
        weights: All parameters and buffers by name.
    """

    config: ModelConfig
    feature_size: int
    transformer: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    weights: Mapping[str, Tensor]


def write_parts(folder: Path, parts: ModelParts) -> None:
    """Writes a model folder; the weights come last, so that a folder with weights is complete.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as temporary:
            _write_all_but_weights(Path(temporary), parts)
            _take_over(Path(temporary), folder)
    except Exception as error:  # the tokenizer's writer raises `Exception` itself, also when the disk is full
        raise UserError(f"{folder}: cannot be written: {reason(error)}") from error
    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in parts.weights.items()}
    with replacing(folder / WEIGHTS) as temporary:
        try:
            save_file(weights, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            raise UserError(f"{folder / WEIGHTS}: cannot be written: {reason(error)}") from error


def _write_all_but_weights(folder: Path, parts: ModelParts) -> None:
    config = {"format": _FORMAT, "feature_size": parts.feature_size, "model": asdict(parts.config)}
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    parts.transformer.config.save_pretrained(folder / TEXT_ENCODER)
    parts.tokenizer.save_pretrained(folder / TEXT_ENCODER)


def _take_over(new: Path, folder: Path) -> None:
    """Moves the files of `new` that differ to `folder`; the weights there must not outlive what they fit."""
    names = [path.relative_to(new) for path in new.rglob("*") if path.is_file()]
    changed = [name for name in names if not _same_content(new / name, folder / name)]
    if changed:
        (folder / WEIGHTS).unlink(missing_ok=True)
    for name in changed:
        with (new / name).open("rb") as written:
            os.fsync(written.fileno())
        (folder / name).parent.mkdir(exist_ok=True)
        (new / name).replace(folder / name)


def _same_content(path: Path, other: Path) -> bool:
    return other.is_file() and path.read_bytes() == other.read_bytes()


def read_parts(folder: Path) -> ModelParts:
    """Reads a model folder.

    Raises:
        UserError: a file is missing or damaged.
    """
    for name in (CONFIG, WEIGHTS, f"{TEXT_ENCODER}/config.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: no such file; this is not a complete model folder")
    try:
        content: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = from_dict(ModelConfig, content["model"])
        feature_size = int(content["feature_size"])
    except (ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{folder / CONFIG}: not the configuration of an mlcmr model: {error}") from error
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder / WEIGHTS}: damaged: {error}; copy or train it again") from error
    transformer, tokenizer = empty_encoder(str(folder / TEXT_ENCODER), config.text.lowercase)
    return ModelParts(config, feature_size, transformer, tokenizer, weights)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Loads weights that must fit exactly.

    Raises:
        UserError: a weight is missing, unexpected or of another shape.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = [line.strip() for line in str(error).splitlines()[1:2]]
        raise UserError(f"{origin}: the weights do not fit the model: {' '.join(first)[:300]}") from error
