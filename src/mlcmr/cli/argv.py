"""The spelling of options: what users type, what the parser reads, what messages show."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlcmr.errors import CorruptFileError
from mlcmr.paths import user_path
from mlcmr.reading import read_settings, show
from mlcmr.settings import require_data

_REQUIRED = "the following arguments are required: "


def spelled(words: Sequence[str]) -> list[str]:
    """Convert a command line for the parser: dashes to underscores, the recipe of `train` to `--config`.

    `shown` converts options in messages back.
    """
    result = []
    for word in words:
        name, equals, value = word.partition("=")
        option = name.startswith("--") and len(name) > 2
        if option:
            name = name[2:].replace("-", "_")
            require_data({name: value})
        result.append(f"--{name}{equals}{value}" if option else word)
    if len(result) > 1 and result[0] == "train" and not result[1].startswith("-"):
        result[1:2] = ["--config", result[1]]
    find = _find_recipe if result[:1] == ["train"] else _find_options
    for place, word in enumerate(result):
        if word == "--config" and place + 1 < len(result):
            result[place + 1] = str(find(result[place + 1]))
        elif word.startswith("--config="):
            result[place] = f"--config={find(word.removeprefix('--config='))}"
    return result


def _find_recipe(name: str) -> Path:
    from mlcmr.training.recipes import find_recipe

    return find_recipe(name)


def _find_options(name: str) -> Path:
    """Return the path of a file of options.

    Raises:
        MlcmrError: If there is no such file, it is no YAML, or a value is a mapping.
    """
    path = user_path(name)
    hint = "write options as `--print-config` does"
    options = read_settings(path, hint)
    require_data(options)
    for option, value in options.items():
        if isinstance(value, dict):  # jsonargparse fails on them
            message = f"{path}: {option} is {show(value)}, but must be a value or a list; {hint}"
            raise CorruptFileError(message, path=path)
    return path


def shown(text: str) -> str:
    """Return a message with options as users type them: `--batch-size`, not `--batch_size`.

    If an option lacks its value, the message also says how to write a value that begins with a dash.
    """
    if asked := re.fullmatch(r"argument (--\w+): expected .*one argument", text):
        text += f"; a value that begins with a dash is written {asked[1]}=-…"
    return re.sub(r"(?<![\w.-])--[a-z][\w.]*", lambda option: option[0].replace("_", "-"), text)


def with_options(message: str, options: Mapping[str, str]) -> str:
    """Replace the parameters in a message by the options of a command: `` `batch_size` `` by `--batch-size`.

    Args:
        message: A message that names parameters in backticks, or a list of required ones.
        options: The options of the command that failed, by parameter.
    """
    if message.startswith(_REQUIRED):
        missing = message.removeprefix(_REQUIRED).split(", ")
        return _REQUIRED + ", ".join(options.get(name.rpartition(".")[2], name) for name in missing)
    typed = {name: option.replace("_", "-") for name, option in options.items()}
    return re.sub(r"`(\w[\w.]*)`", lambda name: typed.get(name[1], name[0]), message)


def without_other_options(error: str) -> str:
    """Remove the parameters of `mlcmr index` from an error of a command that lacks them: ` (`to`)`."""
    return re.sub(r" \(`(?:to|encoder|feature|model|name|rootpath)`\)|; lower `rate`", "", error)
