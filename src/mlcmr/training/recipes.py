"""Recipes: the settings of a training in a YAML file."""

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from mlcmr.errors import NotFoundError
from mlcmr.paths import user_path
from mlcmr.reading import read_settings
from mlcmr.settings import as_data, from_dict
from mlcmr.training.config import TrainConfig

# A wheel keeps the recipes inside the package, a checkout at its top.
_FOLDERS = (Path(__file__).parents[1] / "configs", Path(__file__).parents[3] / "configs")
RECIPES = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
_HINT = "write settings as in configs/"


def find_recipe(name: str | Path) -> Path:
    """Return the path of a recipe.

    Args:
        name: A YAML file, or the name of a recipe that comes with mlcmr, as `vatex/parallel`.

    Raises:
        MlcmrError: If there is no such recipe, or the file is no YAML.
    """
    path = user_path(name)
    bundled = (RECIPES / str(name).removeprefix("configs/").removesuffix(".yaml")).with_suffix(".yaml")
    if not path.exists() and bundled.exists():
        return bundled
    if not path.is_file():
        message = f"{path}: no such recipe; see configs/, or write a YAML file of settings"
        raise NotFoundError(message, path=path)
    read_settings(path, _HINT)
    return path


def read_recipe(name: str | Path, changes: dict[str, Any]) -> TrainConfig:
    """Return the settings of a recipe.

    Args:
        name: The recipe, see `find_recipe`.
        changes: Settings that replace those of the recipe. A dictionary replaces only the settings that it
            holds: `{"optimizer": {"clip": 1.0}}`.

    Raises:
        MlcmrError: If there is no such recipe, or a setting is unknown or has a wrong value.
    """
    return from_dict(TrainConfig, _merged(read_settings(find_recipe(name), _HINT), changes))


def change_settings(config: TrainConfig, changes: dict[str, Any]) -> TrainConfig:
    """Return settings with changes; for the changes see `read_recipe`.

    Raises:
        InvalidValueError: If a setting is unknown or has a wrong value.
    """
    if not changes:
        return config
    return from_dict(TrainConfig, _merged(_merged({}, asdict(config)), changes))


def _merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in changes.items():
        before = merged.get(name)
        if is_dataclass(value) and not isinstance(value, type):
            merged[name] = asdict(value)
        elif isinstance(before, dict) and isinstance(value, dict):
            merged[name] = _merged(before, value)
        else:
            merged[name] = as_data(value)
    return merged
