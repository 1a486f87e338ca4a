"""Checks of models that the library sentence-transformers opens, before the library reads them."""

from pathlib import Path

from mlcmr.model.foreign.files import HINT, entries, read_object
from mlcmr.model.foreign.opening import require_fitting_settings
from mlcmr.model.foreign.preprocessing import require_safe_tokenizer
from mlcmr.model.foreign.weights import Shapes, find_shapes
from mlcmr.model.hf_errors import ForeignModelError
from mlcmr.model.sentence_files import module_folders, require_library_modules


def require_safe_modules(folder: Path) -> Shapes:
    """Refuse a model whose modules name code, change texts too much, or do not fit their weights.

    Args:
        folder: The folder of the model.

    Returns:
        The shapes of the weights of all modules.

    Raises:
        OwnCodeError: If the library does not know the class of a tokenizer.
        CorruptFileError: If the files do not belong together, or lead to code or to another model.
    """
    require_library_modules(folder)
    # A module without settings has no folder where the model was copied by git.
    parts = [part for part in dict.fromkeys([folder, *module_folders(folder)]) if part.is_dir()]
    for part in parts:
        require_safe_tokenizer(str(part))
        _require_no_names_of_code(part)
    shapes = {
        f"{part}: {key}": shape for part in parts for key, shape in (find_shapes(str(part)) or {}).items()
    }
    for part in parts:
        require_fitting_settings(str(part), shapes)
    return shapes


def _require_no_names_of_code(part: Path) -> None:
    """Refuse settings that name code of the hub for the attention, or weights that are not checked."""
    for path in sorted(part.glob("*config.json")):
        for key, value in entries(read_object(path)):
            if key == "transformers_weights" or (key.endswith("attn_implementation") and "/" in str(value)):
                raise ForeignModelError(f"{path}: {key} names other files, {value!r:.60}; {HINT}", path=path)
