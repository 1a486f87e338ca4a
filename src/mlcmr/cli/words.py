"""The words of a command line as the parser reads them: dashes as good as underscores, recipes by name."""

import re
from collections.abc import Sequence
from pathlib import Path

from mlcmr.errors import UserError

# A wheel keeps the recipes inside the package, a checkout at its top.
_PLACES = (Path(__file__).parents[1] / "configs", Path(__file__).parents[3] / "configs")
RECIPES = next((place for place in _PLACES if place.is_dir()), _PLACES[0])


def spelled(words: Sequence[str]) -> list[str]:
    """The command line as the parser reads it: a recipe as the first word; dashes as good as underscores."""
    result = []
    for word in words:
        name, equals, value = word.partition("=")
        option = name.startswith("--") and len(name) > 2
        result.append(f"--{name[2:].replace('-', '_')}{equals}{value}" if option else word)
    if len(result) > 1 and result[0] == "train" and not result[1].startswith("-"):
        result[1:2] = ["--config", str(_recipe(result[1]))]
    return result


def shown(text: str) -> str:
    """Text for people, who are told of options with dashes, and know what command they gave."""
    if text.startswith("the following arguments are required: "):
        text = re.sub(r" [\w-]+\.(?=\w)", " ", text)
    if asked := re.fullmatch(r"argument (--\w+): expected .*one argument", text):
        text += f"; what begins with a dash is written {asked[1]}=-…"
    return re.sub(r"(?<![\w.-])--[a-z][\w.]*", lambda option: option[0].replace("_", "-"), text)


def _recipe(name: str) -> Path:
    """A recipe by file, or by the name that it has in `configs/`, as in a wheel."""
    path = Path(name)
    bundled = RECIPES / name.removeprefix("configs/").removesuffix(".yaml")
    if not path.exists() and bundled.with_suffix(".yaml").exists():
        return bundled.with_suffix(".yaml")
    if not path.is_file():
        raise UserError(f"{path}: no such recipe; see configs/, or write a YAML file of settings")
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(f"{path}: not UTF-8: byte {byte:#04x}; save it as UTF-8") from error
    return path
