"""Limits on tokenizers and image processors: no code of their own, no huge output for a small input."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import transformers
from transformers import AutoTokenizer

from mlcmr.errors import reason
from mlcmr.model.foreign.files import (
    CONFIG,
    HINT,
    TOKENIZER_BYTES,
    entries,
    find_file,
    read_model_settings,
    require_plain_files,
)
from mlcmr.model.hf_errors import ForeignModelError, OwnCodeError
from mlcmr.reading import read_bytes

_GROWTH = 1000  # the largest allowed growth of a text, as a factor; known tokenizers reach 18
_NO_FILE = re.compile(r"PathLike object, not NoneType|Either model_file or model_proto must be specified")
_MARKS = 100  # special tokens around a text
_PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
_PICTURE_SIDE = 4096  # pixels; and patches
_PICTURE_SIZES = {
    "size", "crop_size", "pad_size", "height", "width", "shortest_edge", "longest_edge", "patch_size",
    "max_num_patches",
}  # fmt: skip


def require_small_pictures(name: str) -> None:
    """Refuse an image processor whose pictures would fill the memory.

    Args:
        name: A folder or hub id.

    Raises:
        ForeignModelError: If its pictures are larger than those of any model.
    """
    for file in _PROCESSORS:
        for key, value in entries(read_model_settings(name, file)):
            if key in _PICTURE_SIZES and isinstance(value, int | float) and not 0 < value <= _PICTURE_SIDE:
                raise ForeignModelError(
                    f"{file}: {key} is {value:,}, but must be 1 to {_PICTURE_SIDE:,}; {HINT}"
                )


def open_foreign_tokenizer(name: str) -> Any:
    """Open a tokenizer that has a vocabulary of its own.

    Args:
        name: A folder or hub id.

    Raises:
        OwnCodeError: If the library does not know the class of the tokenizer.
        ForeignModelError: If files are missing or damaged, or it lengthens texts too much.
    """
    require_safe_tokenizer(name)
    missing = ForeignModelError(f"a file of its tokenizer is missing, such as tokenizer.json; {HINT}")
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (TypeError, ValueError) as error:
        raise (missing if _NO_FILE.search(str(error)) else error) from error
    # For lack of a file, the library may open the special tokens alone: each word is unknown then.
    if len(tokenizer) - len(getattr(tokenizer, "added_tokens_decoder", ())) <= 1:
        raise missing
    return tokenizer


def require_safe_tokenizer(name: str) -> None:
    """Refuse a tokenizer that only its own code opens, or that makes texts much longer.

    Args:
        name: A folder or hub id.

    Raises:
        OwnCodeError: If the library does not know the class of the tokenizer. The library would take another
            class without a word, and with it other tokens.
        ForeignModelError: If its file is damaged, or it lengthens texts too much.
    """
    require_plain_files(name)
    settings = read_model_settings(name, CONFIG) | read_model_settings(name, "tokenizer_config.json")
    code = settings.get("auto_map")
    brings_code = isinstance(code, list) or (isinstance(code, dict) and "AutoTokenizer" in code)
    if brings_code and not hasattr(transformers, str(settings.get("tokenizer_class"))):
        raise OwnCodeError
    path = find_file(name, "tokenizer.json")
    if path is None:
        return
    try:
        content = json.loads(read_bytes(path, HINT, most=TOKENIZER_BYTES))
        steps = [content.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")]
        growth = math.prod(map(_growth, _steps(steps)))
        marks = max((len(value) for value in _lists(content.get("post_processor"))), default=0)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ForeignModelError(f"{path}: no tokenizer: {reason(error)}; {HINT}", path=path) from error
    if growth > _GROWTH or marks > _MARKS:
        raise ForeignModelError(f"{path}: makes texts much longer than they are; {HINT}", path=path)


def _steps(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the settings of each step of a tokenizer, also of the steps in sequences."""
    if isinstance(content, dict):
        yield content
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _steps(part)


def _growth(step: Mapping[str, Any]) -> int:
    """Return the largest number of letters by which a step replaces one letter."""
    if step.get("type") == "Precompiled":
        return 18  # NFKC replaces one letter by at most 18
    if step.get("type") != "Replace":
        return max(1, len(str(step.get("prepend", ""))))
    pattern = step["pattern"]
    replaced = len(pattern.get("String", "")) if isinstance(pattern, dict) else 0
    return max(1, -(-len(step["content"]) // max(1, replaced)))


def _lists(content: Any) -> Iterator[list[Any]]:
    """Yield each list in a JSON value."""
    if isinstance(content, list):
        yield content
    for part in (
        content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    ):
        yield from _lists(part)
