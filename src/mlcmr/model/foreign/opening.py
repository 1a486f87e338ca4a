"""Open a model whose files belong together."""

import re
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from mlcmr.errors import CorruptFileError
from mlcmr.model.foreign.budget import building
from mlcmr.model.foreign.files import CONFIG, HINT, entries, read_model_settings, require_plain_files
from mlcmr.model.foreign.weights import Shapes, read_shapes
from mlcmr.model.hf_errors import ForeignModelError

_COUNTS = re.compile("(?<!per_)(?:layer|depth|block|stage)")  # `hidden_size_per_layer_input` is no count


def open_config(name: str, shapes: Shapes | None) -> Any:
    """Open the configuration of a model, checked against its weights.

    Args:
        name: A folder or hub id.
        shapes: The shapes of the weights of the model; None to believe the sizes in the configuration.

    Raises:
        ForeignModelError: If a number is impossible, or the file names another model.
    """
    require_fitting_settings(name, shapes)
    config: Any = AutoConfig.from_pretrained(name, trust_remote_code=False)
    config._attn_implementation = None  # a file could name code of the hub here
    config.transformers_weights = None  # or weights other than those that were checked
    return config


def require_fitting_settings(name: str, shapes: Shapes | None) -> None:
    """Refuse a configuration that names another model, or more layers than there are weights.

    Args:
        name: A folder or hub id.
        shapes: The shapes of the weights of the model; None to believe the sizes in the configuration.

    Raises:
        ForeignModelError: If a number is impossible, or the file names another model.
    """
    require_plain_files(name)
    for key, value in entries(read_model_settings(name, CONFIG)):
        if key == "backbone" and isinstance(value, str) and "/" in value:
            raise ForeignModelError(f"{CONFIG} names another model, {value[:60]!r}; {HINT}")
        if shapes is not None and _COUNTS.search(key):
            _require_count(f"{CONFIG}: {key}", value, len(shapes))


def open_foreign_model(
    name: str, kind: Any = AutoModel, config: Any = None, *, role: str = "model"
) -> tuple[Any, set[str]]:
    """Open a model whose weights are finite and fit its configuration.

    Args:
        name: A folder or hub id.
        kind: The class that opens the model.
        config: The configuration of the model, if it is open.
        role: The word for the model in messages, `model` or `encoder`.

    Returns:
        The model, and the names of weights that its files lack.

    Raises:
        ForeignModelError: If its files do not belong together, or a weight is not finite.
    """
    shapes = read_shapes(name)
    config = open_config(name, shapes) if config is None else config
    with torch.device("meta"), building(shapes, name):
        # An `Auto` class has `from_config`; the class of a model takes the configuration itself.
        kind.from_config(config, trust_remote_code=False) if hasattr(kind, "from_config") else kind(config)
    model, loaded = kind.from_pretrained(
        name,
        config=config,
        dtype=torch.float32,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # reported below
    )
    for key, found, wanted in loaded["mismatched_keys"]:
        raise ForeignModelError(
            f"the weights '{key}' have shape {tuple(found)}, but by {CONFIG} {tuple(wanted)}; {HINT}"
        )
    _require_no_more_layers(model, loaded["unexpected_keys"])
    require_finite_weights(model, f"{role} '{name}'")
    return model, set(loaded["missing_keys"])


def require_finite_weights(model: torch.nn.Module, subject: str) -> None:
    """Refuse a model with a weight that is not finite.

    Args:
        model: The model.
        subject: The model, such as `model 'name'`, for the message.

    Raises:
        CorruptFileError: If a weight is not a finite number.
    """
    for name, weights in model.state_dict().items():
        # Large numbers may overflow the sum; only then each number is looked at.
        if not torch.isfinite(weights.sum()) and not torch.isfinite(weights).all():
            raise CorruptFileError(
                f"{subject}: the weights '{name}' are not finite numbers, as after a training that diverged; "
                "take another copy, or train again with a lower learning rate"
            )


def _require_no_more_layers(model: torch.nn.Module, unexpected: Any) -> None:
    """Refuse weights of more layers than were built: fewer layers compute other features."""
    built = {re.sub(r"\d+", "#", key) for key in model.state_dict()}
    for key in sorted(unexpected):
        pattern = re.sub(r"\d+", "#", key)
        if pattern != key and any(
            pattern.endswith(f".{layer}") or pattern == layer for layer in built if "#" in layer
        ):
            raise ForeignModelError(f"{CONFIG} has fewer layers than the weights ('{key}'); {HINT}")


def _require_count(where: str, value: Any, most: int) -> None:
    """Refuse a number of layers larger than the number of weights: lists as long would be built."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value > most:
        raise ForeignModelError(f"{where} is {value:,}, but its weights are {most:,} tensors; {HINT}")
    if isinstance(value, int) and value < 0 and where.endswith("layers"):
        raise ForeignModelError(f"{where} is {value}, but must be at least 0; {HINT}")
