"""Checkpoints of the published code: `model_best.pth.tar`, a pickle, to a model of ours."""

import argparse
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlcmr.config import from_dict
from mlcmr.errors import UserError, reason
from mlcmr.model.checkpoint import load_weights
from mlcmr.model.config import ModelConfig, TextConfig
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.text import empty_encoder, transformer_layers

# The order of the state dicts in a published checkpoint, and what each is called here.
SUBMODELS = ("vid_encoding", "text_encoding_bert", "vid_mapping", "text_mapping")
_RENAMED = {
    "vid_encoding": (("rnn.", "video_encoder.gru."), ("convs1.", "video_encoder.convolutions.")),
    "text_encoding_bert": (("text_bert.text_bert.", "text_encoder.transformer."),),
    "vid_mapping": (("mapping.fc1.", "video_mapping.linear."), ("mapping.bn_1.", "video_mapping.norm.")),
    "text_mapping": (("mapping.fc1.", "text_mapping.linear."), ("mapping.bn_1.", "text_mapping.norm.")),
}
# A score may have been stored as a NumPy number, made from its bytes by this function, which has moved since.
_scalar: Callable[..., Any] = np.float64().__reduce__()[0]  # type: ignore[assignment]
_NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
]
_UNUSED = (".pooler.", ".position_ids")  # the pooler is not part of the method; older transformers saved ids


def import_checkpoint(
    checkpoint: str | Path, folder: str | Path, encoder: str = TextConfig().encoder
) -> None:
    """`mlcmr import-checkpoint`: a published checkpoint to a new model folder.

    Args:
        checkpoint: `model_best.pth.tar`.
        folder: The model folder to make.
        encoder: See `import_published`.

    Raises:
        UserError: the folder exists, or the checkpoint cannot be used.
    """
    if Path(folder).exists():
        raise UserError(f"{folder}: exists already; remove it or name another folder")
    import_published(checkpoint, encoder).save_pretrained(folder)


def import_published(checkpoint: str | Path, encoder: str = TextConfig().encoder) -> MLCMR:
    """Reads a published checkpoint. Nothing in it is executed: tensors, containers and `Namespace` only.

    Args:
        checkpoint: `model_best.pth.tar`.
        encoder: The text encoder that it was trained from, by hub id or folder: its configuration and its
            tokenizer, which the checkpoint does not hold.

    Raises:
        UserError: the file is missing, damaged, holds anything else, or does not fit the encoder.
    """
    states, options = _load(Path(checkpoint))
    weights: dict[str, Tensor] = {}
    for submodel, state in zip(SUBMODELS, states, strict=True):
        weights.update(rename(submodel, state))
    config = published_config(options, encoder)
    transformer, tokenizer = empty_encoder(encoder, config.text.lowercase)
    config.text.trained_layers = max(len(transformer_layers(transformer)) - 6, 0)
    feature_size = _feature_size(weights, checkpoint)
    model = MLCMR(config, feature_size, transformer, tokenizer)
    load_weights(model, weights, str(checkpoint))
    return model.eval()


def rename(submodel: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of one published state dict under our names, in our shapes."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if any(part in f".{name}" for part in _UNUSED):
            continue
        for old, new in _RENAMED[submodel]:
            if name.startswith(old):
                # (filters, 1, window, width) → (filters, window · width)
                ours = tensor.flatten(1) if old == "convs1." and tensor.ndim > 1 else tensor
                renamed[new + name.removeprefix(old)] = ours
                break
        else:
            raise UserError(f"weight '{name}' of '{submodel}' is not one of the published model's")
    return renamed


def published_config(options: Mapping[str, Any], encoder: str) -> ModelConfig:
    """The model's configuration from the published command's options.

    Raises:
        UserError: an option is missing, or not what it is in the published code.
    """
    try:
        windows = options["visual_kernel_sizes"]
        if isinstance(windows, str):
            windows = [int(window) for window in windows.split("-")]
        content = {
            "text": {"encoder": encoder},
            "video": {
                "gru_size": options["visual_rnn_size"],
                "gru_pool": options.get("gru_pool", "mean"),
                "filters": options["visual_kernel_num"],
                "windows": windows,
                "concate": options.get("concate", "full"),
                "dropout": options["dropout"],
            },
            "embedding_size": options["visual_mapping_layers"][-1],
            "dropout": options["dropout"],
            "padding": "published",
        }
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise UserError(f"the checkpoint's options are not the published ones: {error!r}") from error
    return from_dict(ModelConfig, content)


def _feature_size(weights: Mapping[str, Tensor], origin: str | Path) -> int:
    gru = weights.get("video_encoder.gru.weight_ih_l0")
    if gru is None or gru.ndim != 2:
        raise UserError(f"{origin}: not a published checkpoint: it has no recurrent video encoder")
    return gru.shape[1]


def _load(path: Path) -> tuple[list[Mapping[str, Tensor]], dict[str, Any]]:
    """The state dicts and the options of a checkpoint."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *_NUMPY_SCALARS]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        refused = next((line for line in lines if "global" in line.lower()), "").partition(" Please use")[0]
        if not refused:
            raise UserError(f"{path}: not a checkpoint; name the published model_best.pth.tar") from error
        raise UserError(
            f"{path}: refused, it holds more than tensors, containers and options: {refused[:200]}"
        ) from error
    except Exception as error:  # reading bytes at random raises nearly anything
        raise UserError(f"{path}: not a checkpoint: {reason(error)}") from error
    states = content.get("model") if isinstance(content, dict) else None
    if (
        not isinstance(states, list)
        or len(states) != len(SUBMODELS)
        or not all(isinstance(state, Mapping) for state in states)
        or not all(isinstance(tensor, Tensor) for state in states for tensor in state.values())
        or not isinstance(content.get("opt"), argparse.Namespace)
    ):
        raise UserError(f"{path}: not a published checkpoint ('model' with four state dicts, and 'opt')")
    return states, vars(content["opt"])
