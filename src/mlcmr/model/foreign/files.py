"""The files of a model: find them, read their settings."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from mlcmr.errors import MlcmrError
from mlcmr.model.hf_errors import ForeignModelError
from mlcmr.reading import read_json

CONFIG = "config.json"
HINT = "copy or download the model again, or choose another"
TOKENIZER_BYTES = 128 << 20
_SETTINGS = {".json", ".txt", ".model", ".spm", ".jinja"}


def find_file(name: str, file: str) -> Path | None:
    """Return the path of a file of a model, downloaded if the model is on the hub; None if there is no file.

    Args:
        name: A folder or hub id.
        file: The name of the file.
    """
    if os.path.isdir(name):
        path = Path(name, file)
        try:
            path.lstat()
        except FileNotFoundError:
            return None
        except OSError:
            pass  # the reader of the file says why it cannot be read
        return path
    found = cached_file(
        name,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if found is None else Path(found)


def read_model_settings(name: str, file: str) -> dict[str, Any]:
    """Read a JSON file of a model; empty if there is no such file.

    Args:
        name: A folder or hub id.
        file: The name of the file.

    Raises:
        ForeignModelError: If the file is no JSON object.
    """
    path = find_file(name, file)
    return {} if path is None else read_object(path)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ForeignModelError: If the file is no JSON object.
    """
    try:
        return read_json(path, dict[str, Any], HINT)
    except MlcmrError as error:
        raise ForeignModelError(str(error), path=path) from error


def entries(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value in settings with its name; values in a list have the name of the list."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from entries(value, name)
    elif isinstance(content, list):
        for value in content:
            yield from entries(value, key)
    else:
        yield key, content


def require_plain_files(name: str) -> None:
    """Refuse a folder with huge settings, or with an entry that is no file, such as a named pipe.

    Args:
        name: A folder or hub id.

    Raises:
        ForeignModelError: If the folder has such an entry.
    """
    if not os.path.isdir(name):
        return
    for path in Path(name).iterdir():
        status = path.stat() if path.exists() else path.lstat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ForeignModelError(f"{path.name}: no regular file; {HINT}", path=path)
        if path.suffix in _SETTINGS and status.st_size > TOKENIZER_BYTES:
            raise ForeignModelError(f"{path.name}: larger than {TOKENIZER_BYTES:,} bytes; {HINT}", path=path)
