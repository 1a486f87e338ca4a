"""A model folder: write it, read it.

config.json           the settings (`ModelConfig`), the size of a frame feature, the `Provenance`
model.safetensors     all weights
text_encoder/         the configuration of the transformer, and its tokenizer
README.md             the model card
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mlcmr.errors import (
    CorruptFileError,
    MlcmrError,
    NotFoundError,
    OutOfResourcesError,
    is_out_of_space,
    reason,
    unreadable,
)
from mlcmr.files import replacing, write_text, writing
from mlcmr.model.config import ModelConfig
from mlcmr.model.encoders.pooling import require_allowed_pooling
from mlcmr.model.encoders.text import empty_encoder
from mlcmr.model.foreign import read_safetensors
from mlcmr.model.model_card import CARD
from mlcmr.model.provenance import Provenance
from mlcmr.reading import Size, open_regular, read_json
from mlcmr.settings import from_dict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CONFIG, WEIGHTS, TEXT_ENCODER = "config.json", "model.safetensors", "text_encoder"
_TRANSFORMER = "text_encoder.transformer."
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class _Config:
    """The content of `config.json`; `ModelConfig` checks the settings in `model`."""

    feature_size: Size
    model: dict[str, Any]
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(slots=True)
class ModelParts:
    """The parts that a model is built from.

    Attributes:
        config: The settings.
        feature_size: The size of a frame feature.
        transformer: The transformer of the text encoder; `weights` holds its weights too.
        tokenizer: The tokenizer of the transformer.
        weights: All parameters and buffers by name.
        provenance: The data that the model was trained on.
    """

    config: ModelConfig
    feature_size: int
    transformer: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    weights: Mapping[str, Tensor]
    provenance: Provenance = field(default_factory=Provenance)


def write_parts(folder: Path, parts: ModelParts) -> None:
    """Write a model folder. The weights come last, so that a folder with weights is complete.

    Raises:
        MlcmrError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as temporary:
            _write_all_but_weights(Path(temporary), parts)
            _take_over(Path(temporary), folder)
    except Exception as error:  # the tokenizer's writer raises `Exception` itself, also when the disk is full
        raise _write_error(folder, error) from error
    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in parts.weights.items()}
    with replacing(folder / WEIGHTS) as temporary:
        try:
            save_file(weights, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            raise _write_error(folder / WEIGHTS, error) from error


def _write_error(path: Path, error: Exception) -> MlcmrError:
    kind = OutOfResourcesError if is_out_of_space(error) else MlcmrError
    return kind(f"{path}: cannot be written: {reason(error)}", path=path)


def write_card(folder: Path, card: str) -> None:
    """Write a model card, unless the folder has a card already, which its owner may have edited.

    Raises:
        MlcmrError: If the folder cannot be written.
    """
    path = folder / CARD
    with writing(path):
        if not path.exists():
            write_text(path, card)


def _write_all_but_weights(folder: Path, parts: ModelParts) -> None:
    config = {
        "format": _FORMAT,
        "feature_size": parts.feature_size,
        "model": asdict(parts.config),
        "provenance": asdict(parts.provenance),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    parts.transformer.config.save_pretrained(folder / TEXT_ENCODER)
    parts.tokenizer.save_pretrained(folder / TEXT_ENCODER)


def _take_over(new: Path, folder: Path) -> None:
    """Move the files of `new` that differ to `folder`.

    If any file differs, the old weights are removed first: they do not fit the new files.
    """
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
    """Read a model folder.

    Raises:
        NotFoundError: If a file is missing.
        CorruptFileError: If a file is damaged.
        MlcmrError: If a file cannot be read.
        InvalidValueError: If `config.json` names code of another package that this user has not named.
    """
    for name in (CONFIG, WEIGHTS, f"{TEXT_ENCODER}/config.json"):
        path = folder / name
        try:
            open_regular(path).close()
        except (FileNotFoundError, NotADirectoryError) as error:
            message = f"{path}: no such file; this is not a complete model folder"
            raise NotFoundError(message, path=path) from error
        except OSError as error:
            raise MlcmrError(f"{path}: {unreadable(error)}", path=path) from error
    hint = "copy or train the model again"
    content = read_json(folder / CONFIG, _Config, hint)
    try:
        config = from_dict(ModelConfig, content.model)
    except MlcmrError as error:
        path = folder / CONFIG
        raise CorruptFileError(
            f"{path}: not the configuration of an mlcmr model: {error}", path=path
        ) from error
    require_allowed_pooling(config.text.pooling, folder / CONFIG)
    shapes = read_safetensors(folder / WEIGHTS)
    inner = {key: shape for key, shape in shapes.items() if key.startswith(_TRANSFORMER)}
    transformer, tokenizer = empty_encoder(str(folder / TEXT_ENCODER), config.text.lowercase, inner)
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        path = folder / WEIGHTS
        raise CorruptFileError(f"{path}: damaged: {error}; copy or train it again", path=path) from error
    return ModelParts(config, content.feature_size, transformer, tokenizer, weights, content.provenance)


def has_weights(folder: Path, weights: Mapping[str, Tensor]) -> bool:
    """Return whether a model folder holds exactly these weights; False if it cannot be read."""
    try:
        with safe_open(folder / WEIGHTS, "pt") as saved:
            return set(saved.keys()) == set(weights) and all(
                _is_equal(saved.get_tensor(name), tensor) for name, tensor in weights.items()
            )
    except (SafetensorError, OSError):
        return False


def _is_equal(tensor: Tensor, other: Tensor) -> bool:
    return (tensor.dtype, tensor.shape) == (other.dtype, other.shape) and torch.equal(tensor, other.cpu())


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Load weights that must fit exactly.

    Args:
        model: The model.
        weights: The weights by name.
        origin: The file or model that the weights come from, for messages.

    Raises:
        CorruptFileError: If a weight is missing or unexpected, or has another shape or type.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            shapes = [
                f"of shape {shape}" if shape is not None else "absent"
                for shape in (found.get(key), wanted.get(key))
            ]
            raise CorruptFileError(
                f"{origin}: the weights do not fit the model: '{key}' is {shapes[0]}, but must be {shapes[1]}"
            )
        if weights[key].is_floating_point() != model.state_dict()[key].is_floating_point():
            raise CorruptFileError(
                f"{origin}: the weights do not fit the model: '{key}' is of type {weights[key].dtype}"
            )
    model.load_state_dict(weights)
