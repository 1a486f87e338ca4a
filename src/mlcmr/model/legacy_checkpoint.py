"""Import a checkpoint of the published code, the pickle `model_best.pth.tar`."""

import argparse
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlcmr.arguments import check_arguments
from mlcmr.errors import CorruptFileError, InvalidValueError, NotFoundError, reason
from mlcmr.model.checkpoint import load_weights
from mlcmr.model.config import ModelConfig, TextConfig
from mlcmr.model.encoders.text import empty_encoder, transformer_layers
from mlcmr.model.foreign import building, load_pickled, require_own_numbers
from mlcmr.model.mlcmr import MLCMR
from mlcmr.paths import user_path
from mlcmr.settings import from_dict

# The order of the state dicts in a published checkpoint, and the prefixes of their weights there and here.
SUBMODELS = ("vid_encoding", "text_encoding_bert", "vid_mapping", "text_mapping")
_RENAMED = {
    "vid_encoding": (("rnn.", "video_encoder.gru."), ("convs1.", "video_encoder.convolutions.")),
    "text_encoding_bert": (("text_bert.text_bert.", "text_encoder.transformer."),),
    "vid_mapping": (("mapping.fc1.", "video_mapping.linear."), ("mapping.bn_1.", "video_mapping.norm.")),
    "text_mapping": (("mapping.fc1.", "text_mapping.linear."), ("mapping.bn_1.", "text_mapping.norm.")),
}
# A score may be stored as a NumPy number. This function, which has moved since, makes it from bytes.
_scalar: Callable[..., Any] = np.float64().__reduce__()[0]  # type: ignore[assignment]
_NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
]
PUBLISHED_FROZEN = 6
"""The number of first layers of the text encoder that the published code freezes, whatever the encoder."""
_UNUSED = (".pooler.", ".position_ids")  # the pooler is not part of the method; older transformers saved ids


@check_arguments
def import_checkpoint(checkpoint: str | Path, to: str | Path, encoder: str = TextConfig().encoder) -> None:
    """Convert a checkpoint of the published code into a model folder.

    Args:
        checkpoint: The checkpoint, `model_best.pth.tar`.
        to: The model folder to write.
        encoder: The text encoder that the checkpoint was trained from, by hub id or folder. The checkpoint
            does not hold its configuration and its tokenizer.

    Raises:
        InvalidValueError: If the folder exists.
        MlcmrError: If the checkpoint cannot be used; see `read_legacy_checkpoint`.
    """
    if user_path(to).exists():
        raise InvalidValueError(
            f"{to}: exists already; remove it or name another folder", path=to, parameter="to"
        )
    read_legacy_checkpoint(checkpoint, encoder).save_pretrained(to)


@check_arguments
def read_legacy_checkpoint(checkpoint: str | Path, encoder: str = TextConfig().encoder) -> MLCMR:
    """Read a checkpoint of the published code. It may hold tensors and options only; nothing is executed.

    Args:
        checkpoint: The checkpoint, `model_best.pth.tar`.
        encoder: The text encoder that the checkpoint was trained from, by hub id or folder. The checkpoint
            does not hold its configuration and its tokenizer.

    Raises:
        NotFoundError: If there is no such file or encoder.
        CorruptFileError: If the file is damaged, is no published checkpoint, or does not fit the encoder.
    """
    states, options = _load(user_path(checkpoint))
    weights: dict[str, Tensor] = {}
    for submodel, state in zip(SUBMODELS, states, strict=True):
        require_own_numbers(state, str(checkpoint))
        weights.update(rename(submodel, state))
    config = published_config(options, encoder)
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    inner = {key: shape for key, shape in shapes.items() if key.startswith("text_encoder.")}
    transformer, tokenizer = empty_encoder(encoder, config.text.lowercase, inner)
    config.text.trained_layers = max(len(transformer_layers(transformer)) - PUBLISHED_FROZEN, 0)
    feature_size = _feature_size(weights, checkpoint)
    with building(shapes, str(checkpoint)):
        model = MLCMR(config, feature_size, transformer, tokenizer)
    load_weights(model, weights, str(checkpoint))
    return model.eval()


def rename(submodel: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a published state dict under the names and in the shapes of `MLCMR`.

    Raises:
        CorruptFileError: If a weight is unknown.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if any(part in f".{name}" for part in _UNUSED):
            continue
        for old, new in _RENAMED[submodel]:
            if name.startswith(old):
                # (filters, 1, window, width) → (filters, window · width)
                is_filter = old == "convs1." and tensor.ndim > 1
                renamed[new + name.removeprefix(old)] = tensor.flatten(1) if is_filter else tensor
                break
        else:
            raise CorruptFileError(f"weight '{name}' of '{submodel}' is not a weight of the published model")
    return renamed


def published_config(options: Mapping[str, Any], encoder: str) -> ModelConfig:
    """Return the settings of a model from the options of the published command.

    Args:
        options: The options by name.
        encoder: The text encoder.

    Raises:
        CorruptFileError: If an option is missing, or has a value that the published code does not have.
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
        raise CorruptFileError(f"the checkpoint's options are not the published ones: {error!r}") from error
    return from_dict(ModelConfig, content)


def _feature_size(weights: Mapping[str, Tensor], origin: str | Path) -> int:
    gru = weights.get("video_encoder.gru.weight_ih_l0")
    if gru is None or gru.ndim != 2:
        raise CorruptFileError(
            f"{origin}: not a published checkpoint: it has no recurrent video encoder", path=origin
        )
    return gru.shape[1]


def _load(path: Path) -> tuple[list[Mapping[str, Tensor]], dict[str, Any]]:
    """Return the state dicts and the options of a checkpoint."""
    try:
        allowed = torch.serialization.safe_globals([argparse.Namespace, *_NUMPY_SCALARS])
        with allowed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch itself does not write
            content = load_pickled(path, "cpu")
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file", path=path) from error
    except pickle.UnpicklingError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        refused = next((line for line in lines if "global" in line.lower()), "").partition(" Please use")[0]
        if not refused:
            raise CorruptFileError(
                f"{path}: not a checkpoint; name the published model_best.pth.tar", path=path
            ) from error
        raise CorruptFileError(
            f"{path}: refused, it holds more than tensors, containers and options: {refused[:200]}", path=path
        ) from error
    except Exception as error:  # random bytes make the library raise nearly anything
        raise CorruptFileError(f"{path}: not a checkpoint: {reason(error)}", path=path) from error
    states = content.get("model") if isinstance(content, dict) else None
    if (
        not isinstance(states, list)
        or len(states) != len(SUBMODELS)
        or not all(isinstance(state, Mapping) for state in states)
        or not all(isinstance(tensor, Tensor) for state in states for tensor in state.values())
        or not isinstance(content.get("opt"), argparse.Namespace)
    ):
        raise CorruptFileError(
            f"{path}: not a published checkpoint ('model' with four state dicts, and 'opt')", path=path
        )
    return states, vars(content["opt"])
