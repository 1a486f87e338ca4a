"""The weights of a model: their shapes, and pickled weights without code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from mlcmr.errors import reason, unreadable
from mlcmr.model.foreign.files import HINT, find_file, read_object
from mlcmr.model.hf_errors import ForeignModelError
from mlcmr.reading import open_regular, require_stored

WEIGHTS = "model.safetensors"
Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each tensor in files of weights, by name."""

_PICKLED = "pytorch_model.bin"


def read_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the weights of a model; the numbers stay on disk.

    Args:
        name: A folder or hub id.

    Raises:
        ForeignModelError: If there are no weights, they are damaged, or an index of files leads elsewhere.
    """
    shapes = find_shapes(name)
    if shapes is None:
        raise ForeignModelError(f"no weights there ({WEIGHTS}); {HINT}")
    return shapes


def find_shapes(name: str) -> dict[str, tuple[int, ...]] | None:
    """Read the shapes of the weights of a model, as `read_shapes`; None if there are no weights.

    Args:
        name: A folder or hub id.

    Raises:
        ForeignModelError: If the weights are damaged, or an index of files leads elsewhere.
    """
    for file, read in ((WEIGHTS, read_safetensors), (_PICKLED, _read_pickled)):
        if (path := find_file(name, file)) is not None:
            return read(path)
        if (path := find_file(name, f"{file}.index.json")) is not None:
            shapes: dict[str, tuple[int, ...]] = {}
            for part in _parts(path):
                found = find_file(name, part)
                if found is None:
                    raise ForeignModelError(f"{path}: names '{part}', which is missing; {HINT}", path=path)
                shapes |= read(found)
            return shapes
    return None


def read_safetensors(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes in a safetensors file.

    Raises:
        ForeignModelError: If the file cannot be read or is damaged.
    """
    try:
        open_regular(path).close()  # the library calls every file that it may not open missing
    except OSError as error:
        raise ForeignModelError(f"{path}: {unreadable(error)}; {HINT}", path=path) from error
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library raises nearly anything
        raise ForeignModelError(f"{path}: damaged: {reason(error)}; {HINT}", path=path) from error


def load_pickled(path: Path, device: str) -> Any:
    """Read tensors and containers that PyTorch has written; their size is bounded by the size of the file.

    Args:
        path: A zip archive, or the bare pickle of old versions.
        device: The device of the tensors; `meta` leaves their numbers on disk.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is a zip archive that is larger unpacked.
        pickle.UnpicklingError: If the file holds more than tensors and containers.
    """
    with open_regular(path) as file:
        zipped = file.read(4) == b"PK\x03\x04"  # as PyTorch decides
    if zipped:
        require_stored(path)
    return torch.load(path, map_location=device, weights_only=True)


def require_own_numbers(weights: Mapping[str, torch.Tensor], subject: str) -> None:
    """Refuse tensors that repeat the same few numbers, or are sparse: a copy would fill the memory.

    Args:
        weights: The tensors, as they were read.
        subject: The file, for the message.

    Raises:
        ForeignModelError: If a tensor has fewer numbers than its shape says.
    """
    for key, tensor in weights.items():
        is_dense = tensor.layout is torch.strided
        if not is_dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            shape = tuple(tensor.shape)
            raise ForeignModelError(f"{subject}: '{key}' has not the numbers of its shape {shape}; {HINT}")


def _read_pickled(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        content = load_pickled(path, "meta")
    except (OSError, ValueError) as error:
        raise ForeignModelError(f"{path}: {reason(error)}; {HINT}", path=path) from error
    if not isinstance(content, Mapping):
        raise ForeignModelError(f"{path}: no weights by name; {HINT}", path=path)
    weights = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    require_own_numbers(weights, str(path))
    return {key: tuple(tensor.shape) for key, tensor in weights.items()}


def _parts(index: Path) -> list[str]:
    """Return the names of the files that an index of weights lists; all lie in its folder."""
    parts = read_object(index).get("weight_map")
    names = set(parts.values()) if isinstance(parts, dict) else set()
    for name in names:
        if not isinstance(name, str) or name != Path(name).name or name in {"", ".."}:
            raise ForeignModelError(f"{index}: '{name}' is no file beside it; {HINT}", path=index)
    if not names:
        raise ForeignModelError(f"{index}: lists no weights; {HINT}", path=index)
    return sorted(names)
