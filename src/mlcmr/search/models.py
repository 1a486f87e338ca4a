"""The model of an index: the model of a run, or a pretrained model."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlcmr.errors import InvalidValueError
from mlcmr.model.device import on_device
from mlcmr.model.hub import cached_model, fetch_model
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.protocol import SearchModel
from mlcmr.model.sentence import SentenceTower
from mlcmr.model.sentence_files import is_sentence_model
from mlcmr.model.two_tower import TwoTower
from mlcmr.progress import SILENT, Progress
from mlcmr.search.indexing.manifest import ModelInfo
from mlcmr.search.model_description import (
    ModelDescription,
    describe_object,
    describe_pretrained,
    describe_run,
    hash_weights,
    is_mlcmr_model,
    is_run,
    require_recorded_model,
    require_same_weights,
    run_weights,
)
from mlcmr.trust import is_named_model

if TYPE_CHECKING:
    from mlcmr.extraction.encoders.base import FrameEncoder


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model that is ready to embed.

    Attributes:
        model: The model.
        info: The description that an index keeps.
        description: The features that the model takes.
    """

    model: SearchModel
    info: ModelInfo
    description: ModelDescription


def open_model(
    model: str | os.PathLike[str] | SearchModel,
    *,
    dimension: int | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> OpenModel:
    """Open the model that a user gives.

    Args:
        model: A run, a pretrained model or a model of mlcmr, by folder or hub id; or an opened model, which
            stays on its device.
        dimension: The size of an embedding, for a model of sentence-transformers by folder or hub id.
        device: `cpu`, `cuda` or `auto`.
        progress: Gets the size of a model before it is downloaded.

    Raises:
        MlcmrError: If there is no such model, it cannot embed texts and videos, or the device does not exist.
    """
    if not isinstance(model, (str, os.PathLike)):
        return _take_object(model)
    if is_run(model):
        return open_run(model, device=device)
    return open_pretrained(model, dimension=dimension, device=device, progress=progress)


def open_run(run: str | os.PathLike[str], *, device: str = "auto") -> OpenModel:
    """Open the best model of a run.

    Raises:
        MlcmrError: If there is no run, the run has no model yet, or the device does not exist.
    """
    description = describe_run(run)
    return _open_mlcmr("run", run_weights(description), description, device)


def open_pretrained(
    name: str | os.PathLike[str],
    *,
    dimension: int | None = None,
    device: str = "auto",
    fetch: bool = True,
    parameter: str = "model",
    progress: Progress = SILENT,
) -> OpenModel:
    """Open a pretrained model, or a model folder of mlcmr, by folder or hub id.

    Args:
        name: Folder or hub id.
        dimension: The size of an embedding, for a model of sentence-transformers.
        device: `cpu`, `cuda` or `auto`.
        fetch: Whether the model may be downloaded.
        parameter: The parameter with which the user can name the model.
        progress: Gets the size of the model before it is downloaded.

    Raises:
        MlcmrError: If there is no such model, it cannot embed texts and videos, or the device does not exist.
    """
    text = os.fspath(name)
    folder = fetch_model(text, parameter, progress=progress) if fetch else cached_model(text, parameter)
    description = describe_pretrained(name, folder)
    if is_sentence_model(folder):
        return _open_sentence(folder, description, dimension, device)
    if dimension is not None:
        raise InvalidValueError(
            f"`dimension` is for models of sentence-transformers, which '{text}' is not; leave it out",
            parameter="dimension",
        )
    if is_mlcmr_model(folder):
        return _open_mlcmr("pretrained", folder, description, device)
    fingerprint = hash_weights(folder)
    model = on_device(TwoTower.from_pretrained(folder), device)
    info = ModelInfo("pretrained", description.name, fingerprint, model.feature_size, model.feature_size)
    return OpenModel(model, info, description)


def open_again(
    info: ModelInfo,
    model: str | os.PathLike[str] | SearchModel | None = None,
    *,
    device: str = "auto",
    models: Sequence[str] = (),
    parameter: str = "model",
) -> OpenModel:
    """Open the model of an index.

    Args:
        info: The model.
        model: The same model as the user gives it; by default it is opened by the name in `info`.
        device: `cpu`, `cuda` or `auto`.
        models: Models of the hub that may be downloaded, besides those that this user has named before.
        parameter: The parameter with which the user can name a model of the hub.

    Raises:
        MlcmrError: If the model is gone or has changed, or is on the hub and this user has not named it.
    """
    if model is not None:
        opened = open_model(model, dimension=info.dimension, device=device)
        if not is_model_of(info, opened):
            raise InvalidValueError(
                f"{opened.info.name}: this model has other weights than the model of the index, {info.name}; "
                "give that model, or leave it out",
                parameter="model",
            )
        return opened
    require_recorded_model(info)
    if info.kind == "run":
        opened = open_run(info.name, device=device)
    else:
        opened = open_pretrained(
            info.name,
            dimension=info.dimension,
            device=device,
            fetch=_may_open(info.name, models),
            parameter=parameter,
        )
    require_same_weights(info, opened.info.fingerprint)
    return opened


def is_model_of(info: ModelInfo, opened: OpenModel) -> bool:
    """Return whether an index was made with a model of the same weights."""
    same_files = opened.info.fingerprint == info.fingerprint
    return same_files or (info.kind == "object" and opened.model.fingerprint() == info.fingerprint)


def open_named_encoder(
    name: str, *, device: str = "auto", models: Sequence[str] = (), parameter: str = "model"
) -> "FrameEncoder":
    """Open a frame encoder that a file names.

    Args:
        name: The encoder.
        device: `cpu`, `cuda` or `auto`.
        models: Models of the hub that may be downloaded; see `open_again`.
        parameter: The parameter with which the user can name the encoder.

    Raises:
        MlcmrError: If the encoder cannot be opened, or is on the hub and this user has not named it.
    """
    from mlcmr.extraction.encoders.trusted import load_named_encoder  # noqa: PLC0415 – needs PyAV

    return load_named_encoder(name, source="the index", parameter=parameter, device=device, models=models)


def _may_open(name: str, models: Sequence[str]) -> bool:
    """Return whether a model that an index names may be opened: a folder, or a hub id that the user gave."""
    return os.path.isdir(name) or name in models or is_named_model(name)


def _take_object(model: SearchModel) -> OpenModel:
    description = describe_object(model)
    if description.kind == "object":
        fingerprint = model.fingerprint()
    else:
        fingerprint = hash_weights(fetch_model(description.name, "model"))
    size = model.encode_texts(["a"], "en").shape[1]
    dimension = getattr(model, "dimension", None)
    info = ModelInfo(description.kind, description.name, fingerprint, size, model.feature_size, dimension)
    return OpenModel(model, info, description)


def _open_sentence(
    folder: Path, description: ModelDescription, dimension: int | None, device: str
) -> OpenModel:
    model = on_device(SentenceTower.from_pretrained(folder, dimension=dimension), device)
    name, fingerprint, size = description.name, hash_weights(folder), model.feature_size
    return OpenModel(
        model, ModelInfo("pretrained", name, fingerprint, dimension or size, size, dimension), description
    )


def _open_mlcmr(
    kind: Literal["run", "pretrained"], folder: Path, description: ModelDescription, device: str
) -> OpenModel:
    model = on_device(MLCMR.from_pretrained(folder), device)
    fingerprint = hash_weights(folder)
    info = ModelInfo(kind, description.name, fingerprint, model.config.embedding_size, model.feature_size)
    return OpenModel(model, info, description)
