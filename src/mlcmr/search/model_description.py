"""Models described from their settings, without their weights."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlcmr.data.collection import open_collection
from mlcmr.data.run_settings import RunSettings, read_run
from mlcmr.errors import MlcmrError, NotFoundError
from mlcmr.extraction.feature_writer import read_encoder_settings
from mlcmr.paths import user_path
from mlcmr.reading import read_json
from mlcmr.search.indexing.manifest import ModelInfo


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """The features that a model takes, as far as its settings say.

    Attributes:
        kind: `run` or `pretrained`.
        name: The absolute folder of the run or of the model, or the hub id of the model.
        feature: The name of the frame feature.
        encoder: The frame encoder that makes this feature from videos.
        rate: The sampling rate of the training, in frames per second.
        count: The number of frames per video, instead of `rate`.
        languages: The languages of the training.
    """

    kind: Literal["run", "pretrained"]
    name: str
    feature: str | None = None
    encoder: str | None = None
    rate: float | None = None
    count: int | None = None
    languages: tuple[str, ...] = ()


def describe_run(run: str | os.PathLike[str]) -> ModelDescription:
    """Describe the model of a run.

    Raises:
        MlcmrError: If there is no run.
    """
    folder = user_path(run).absolute()
    settings = read_run(folder)
    encoding = _extraction_of(settings)
    return ModelDescription(
        "run",
        str(folder),
        settings.feature,
        encoding.get("encoder"),
        encoding.get("rate"),
        encoding.get("count"),
        tuple(settings.languages),
    )


def describe_pretrained(name: str | os.PathLike[str], folder: Path | None) -> ModelDescription:
    """Describe a two-tower model or an mlcmr model.

    Args:
        name: Folder or hub id.
        folder: The folder with its files; None if a two-tower model is not on this machine yet.
    """
    is_folder = os.path.isdir(user_path(name))
    known = str(user_path(name).absolute()) if is_folder else os.fspath(name)
    if folder is not None and is_mlcmr_model(folder):
        return ModelDescription("pretrained", known)
    from mlcmr.extraction.encoders.base import feature_name  # noqa: PLC0415 – needs PyAV

    return ModelDescription("pretrained", known, feature_name(known), known)


def is_run(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the folder of a run."""
    folder = user_path(path)
    return os.path.isfile(folder / "config.yaml") and not os.path.isfile(folder / "config.json")


def is_mlcmr_model(folder: Path) -> bool:
    """Return whether a folder holds an mlcmr model, and not a model of another kind."""
    hint = "name the folder of a model (`model`)"
    content = read_json(folder / "config.json", dict[str, Any], hint)
    return {"model", "feature_size"} <= content.keys()


def require_model_folder(info: ModelInfo) -> None:
    """Check that the model of an index is still in its folder.

    Raises:
        NotFoundError: If the folder is gone.
    """
    if Path(info.name).is_absolute() and not os.path.isdir(info.name):
        parameter = "run" if info.kind == "run" else "model"
        raise NotFoundError(
            f"{info.name}: the model of the index is no longer in this folder; move it back, or index again "
            f"with its new folder (`{parameter}`)",
            path=info.name,
        )


def _extraction_of(settings: RunSettings) -> dict[str, Any]:
    """Return encoder and sampling of the features of a run; empty if they are not known."""
    try:
        collection = open_collection(settings.rootpath, settings.collection)
        return read_encoder_settings(collection.feature_folder(settings.feature))
    except MlcmrError:
        return {}
