"""The files of sentence-transformers models."""

import os
from pathlib import Path
from typing import Any

from mlcmr.errors import CorruptFileError, NotFoundError
from mlcmr.reading import read_json

MODULES = "modules.json"
_LIBRARY = "sentence_transformers."
_HINT = "copy or download the model again, or choose another"


def is_sentence_model(folder: Path) -> bool:
    """Return whether a folder holds a model for the library sentence-transformers.

    CLIP and SigLIP are opened without the library: version 6.2 pads texts for SigLIP in another way than in
    its training, which changes their embeddings.

    Args:
        folder: The folder of a model.
    """
    if not os.path.isfile(folder / MODULES):
        return False
    try:
        settings = read_json(folder / "config.json", dict[str, Any], _HINT)
    except NotFoundError:
        return True
    kind = str(settings.get("model_type"))
    return "clip" not in kind and "siglip" not in kind


def require_library_modules(folder: Path) -> None:
    """Refuse a model with a module that is not of the library itself: another package would be imported.

    Args:
        folder: The folder of the model.

    Raises:
        CorruptFileError: If the list of modules is damaged, or names a class of another package.
    """
    path = folder / MODULES
    for module in read_json(path, list[dict[str, Any]], _HINT):
        kind = module.get("type")
        if not isinstance(kind, str) or not kind.startswith(_LIBRARY):
            raise CorruptFileError(
                f"{path}: {str(kind)[:60]!r} is no module of sentence-transformers, and other code is never "
                "run; choose another model",
                path=path,
            )


def module_folders(folder: Path) -> list[Path]:
    """Return the folders of the modules of a sentence-transformers model; none for another model.

    Raises:
        CorruptFileError: If the list of modules is damaged, or leads out of the folder.
    """
    if not os.path.isfile(folder / MODULES):
        return []
    folders = []
    for module in read_json(folder / MODULES, list[dict[str, Any]], _HINT):
        name = module.get("path")
        if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
            raise CorruptFileError(f"{folder / MODULES}: '{name}' is no folder of a module; {_HINT}")
        folders.append(folder / name)
    return folders
