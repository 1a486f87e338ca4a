"""Frame encoders by name: built in, Hugging Face models, and classes of other packages."""

import inspect
import os
from pathlib import Path
from typing import Any, get_type_hints

from mlcmr.arguments import check_arguments
from mlcmr.errors import InvalidValueError
from mlcmr.extraction.encoders.base import FrameEncoder
from mlcmr.extraction.encoders.histogram import HISTOGRAM, HistogramEncoder
from mlcmr.model.sentence_files import MODULES, is_sentence_model
from mlcmr.paths import folder_or_id, user_path
from mlcmr.registry import resolve

BUILT_IN = {HISTOGRAM: HistogramEncoder, "color-histogram": HistogramEncoder}
"""The encoders that need no model, by name."""


@check_arguments
def load_encoder(name: str | Path, *, device: str = "auto") -> FrameEncoder:
    """Open a frame encoder that the user names.

    Args:
        name: `hues228` or `color-histogram`, which is built in; a Hugging Face image or video model, or a
            model of sentence-transformers, by hub id or folder; or `package.module:Name`, a class whose
            constructor takes no argument, or `device`.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        InvalidValueError: If the model takes no pictures, the class is not a frame encoder, or the device
            does not exist.
        NotFoundError: If there is no such model.
    """
    return open_encoder(name, device=device, source=None)


def open_encoder(
    name: str | Path, *, device: str = "auto", source: str | os.PathLike[str] | None
) -> FrameEncoder:
    """Open a frame encoder that the user or a file names.

    Args:
        name: See `load_encoder`.
        device: `cpu`, `cuda` or `auto`.
        source: The file that the name comes from; None if the user gave the name. Code of another package is
            imported only if the user has named it (see `mlcmr.registry.resolve`).

    Raises:
        InvalidValueError: If a file names code that the user has not named; see also `load_encoder`.
        NotFoundError: If there is no such model.
    """
    text = str(name)
    if text in BUILT_IN:
        if device not in ("auto", "cpu"):  # it computes on the processor, but the name must be valid
            from mlcmr.model.device import find_device  # noqa: PLC0415 – torch is imported when it is needed

            find_device(device)
        return BUILT_IN[text]()
    if names_a_class(text):
        return _load_class(text, device, source)
    model = folder_or_id(name)
    if _is_sentence_model(model):
        from mlcmr.extraction.encoders.sentence import SentenceEncoder  # noqa: PLC0415 – imports torch

        return SentenceEncoder(model, device=device)
    from mlcmr.extraction.encoders.huggingface import HuggingFaceEncoder  # noqa: PLC0415 – imports torch

    return HuggingFaceEncoder(model, device=device)


def _is_sentence_model(name: str) -> bool:
    from mlcmr.model.hub import find_model, find_optional_file  # noqa: PLC0415 – not for what is built in

    name = find_model(name, "encoder", "encoder", built_in=[HISTOGRAM])
    modules = find_optional_file(name, MODULES)
    if modules is None:
        return False
    find_optional_file(name, "config.json")  # which tells CLIP and SigLIP, beside the list of modules
    return is_sentence_model(modules.parent)


def names_a_class(name: str) -> bool:
    """Return whether an encoder's name is `package.module:Name`, rather than a folder or a hub id."""
    return ":" in name and not os.path.isdir(user_path(name))


def require_encoder(encoder: Any) -> None:
    """Check that an object has the attributes and methods of a frame encoder.

    Raises:
        InvalidValueError: If an attribute or a method is missing.
    """
    needed = [*get_type_hints(FrameEncoder), "prepare", "encode_prepared", "encode"]
    if missing := [attribute for attribute in needed if not hasattr(encoder, attribute)]:
        raise InvalidValueError(
            f"encoder '{type(encoder).__name__}': not a frame encoder, without {', '.join(missing)}",
            parameter="encoder",
        )


def _load_class(name: str, device: str, source: str | os.PathLike[str] | None) -> FrameEncoder:
    factory: Any = resolve(name, {}, parameter="encoder", source=source)
    if not callable(factory):
        raise InvalidValueError(f"encoder '{name}': not a class", parameter="encoder")
    takes_device = "device" in inspect.signature(factory).parameters
    encoder: FrameEncoder = factory(device=device) if takes_device else factory()
    require_encoder(encoder)
    encoder.name = name  # the name that opens it again, whatever the class says
    return encoder
