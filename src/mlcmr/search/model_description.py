"""Models described from their settings: a folder or a hub id is described without its weights."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlcmr.data.collection import open_collection
from mlcmr.data.run_settings import RunSettings, read_run
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError, unreadable
from mlcmr.extraction.feature_writer import read_encoder_settings
from mlcmr.model.provenance import Provenance
from mlcmr.model.sentence_files import is_sentence_model, module_folders
from mlcmr.paths import user_path
from mlcmr.reading import open_regular, parse_json, read_bytes, read_json
from mlcmr.registry import name_of
from mlcmr.search.indexing.manifest import ModelInfo

if TYPE_CHECKING:
    from mlcmr.model.protocol import SearchModel

_HINT = "name the folder of a model (`model`)"


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """The features that a model takes, as far as its settings say.

    Attributes:
        kind: `run`, `pretrained`, or `object` for a model that no folder holds.
        name: The absolute folder of the run or of the model, the hub id of the model, or the class of an
            object.
        feature: The name of the frame feature.
        encoder: The frame encoder that makes this feature from videos.
        rate: The sampling rate of the training, in frames per second.
        count: The number of frames per video, instead of `rate`.
        languages: The languages of the training.
    """

    kind: Literal["run", "pretrained", "object"]
    name: str
    feature: str | None = None
    encoder: str | None = None
    rate: float | None = None
    count: int | None = None
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _TrainedModel:
    """The part of an mlcmr model's `config.json` that describes its training."""

    provenance: Provenance = field(default_factory=Provenance)


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
    """Describe a pretrained model or an mlcmr model.

    Args:
        name: Folder or hub id.
        folder: The folder with its files; None if a pretrained model is not on this machine yet.
    """
    is_folder = os.path.isdir(user_path(name))
    known = str(user_path(name).absolute()) if is_folder else os.fspath(name)
    if folder is not None and is_mlcmr_model(folder):
        path = folder / "config.json"
        model = parse_json(read_bytes(path, _HINT), _TrainedModel, str(path), _HINT)
        return _trained_on("pretrained", known, model.provenance)
    from mlcmr.extraction.encoders.base import feature_name  # noqa: PLC0415 – needs PyAV

    return ModelDescription("pretrained", known, feature_name(known), known)


def describe_object(model: "SearchModel") -> ModelDescription:
    """Describe an opened model, by the folder or the hub id that holds it if there is one.

    Raises:
        InvalidValueError: If the object is not a `SearchModel`.
    """
    members = ("encode_texts", "encode_videos", "can_encode", "fingerprint", "feature_size")
    if missing := [name for name in members if not hasattr(model, name)]:
        raise InvalidValueError(
            f"`model` is a {type(model).__name__}, which is not a model for search: it has no "
            f"{', '.join(missing)}; see `SearchModel`",
            parameter="model",
        )
    name = model.saved_in() if hasattr(model, "saved_in") else None
    if name is None:
        return _trained_on("object", name_of(model), getattr(model, "provenance", Provenance()))
    return describe_pretrained(name, local_folder(name))


def local_folder(name: str) -> Path | None:
    """Return the folder of a model that is on this machine; None if it must be downloaded first."""
    if os.path.isdir(folder := user_path(name)):
        return folder
    from mlcmr.model.hub import cached_model  # noqa: PLC0415 – not needed for a run

    try:
        return cached_model(name, "model")
    except MlcmrError:
        return None


def is_run(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the folder of a run."""
    folder = user_path(path)
    return os.path.isfile(folder / "config.yaml") and not os.path.isfile(folder / "config.json")


def is_mlcmr_model(folder: Path) -> bool:
    """Return whether a folder holds an mlcmr model, and not a model of another kind."""
    if is_sentence_model(folder):
        return False
    content = read_json(folder / "config.json", dict[str, Any], _HINT)
    return {"model", "feature_size"} <= content.keys()


def require_recorded_model(info: ModelInfo) -> None:
    """Check that the model of an index can be opened again by the name that the index records.

    Raises:
        InvalidValueError: If no folder held the model.
        NotFoundError: If the folder is gone.
    """
    if info.kind == "object":
        raise InvalidValueError(
            f"the index was made in Python with a model that no folder holds, a {info.name}; open the index "
            "in Python with the same model, as in `mlcmr.Searcher(index, model=model)`"
        )
    if Path(info.name).is_absolute() and not os.path.isdir(info.name):
        parameter = "run" if info.kind == "run" else "model"
        raise NotFoundError(
            f"{info.name}: the model of the index is no longer in this folder; move it back, or index again "
            f"with its new folder (`{parameter}`)",
            path=info.name,
        )


def require_same_weights(info: ModelInfo, fingerprint: str) -> None:
    """Check that the model of an index, opened by the name that the index records, has not changed.

    Raises:
        InvalidValueError: If it has other weights.
    """
    if fingerprint != info.fingerprint:
        raise InvalidValueError(
            f"{info.name}: the model has changed since the index was made; restore the model, or index into "
            "another folder (`to`)"
        )


def run_weights(description: ModelDescription) -> Path:
    """Return the folder of the best model of a run.

    Raises:
        NotFoundError: If the run has no model yet.
    """
    folder = Path(description.name) / "model"
    if not os.path.isdir(folder):
        raise NotFoundError(f"{folder}: no model yet; training writes it after its first epoch", path=folder)
    return folder


def local_fingerprint(description: ModelDescription) -> str | None:
    """Return the SHA-256 of the weights of a run or a pretrained model; None if they are not on this machine.

    Raises:
        MlcmrError: If there are no weights, or they cannot be read.
    """
    folder = run_weights(description) if description.kind == "run" else local_folder(description.name)
    return None if folder is None else hash_weights(folder)


def same_encoder(name: str, other: str) -> bool:
    """Return whether two names are equal, or name two folders with the same weights."""
    if name == other:
        return True
    folders = Path(name), Path(other)
    try:
        return all(folder.is_dir() for folder in folders) and len(set(map(hash_weights, folders))) == 1
    except (MlcmrError, OSError):
        return False


def hash_weights(folder: Path) -> str:
    """Return the SHA-256 of the weights of a model; for several files, the SHA-256 of their digests.

    Raises:
        NotFoundError: If there are no weights.
        MlcmrError: If the weights cannot be read.
    """
    files = [file for part in dict.fromkeys([folder, *module_folders(folder)]) for file in _weights_in(part)]
    if not files:
        raise NotFoundError(
            f"{folder}: has no weights (model.safetensors); copy or download the model again", path=folder
        )
    digests = []
    for path in files:
        try:
            with open_regular(path) as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise MlcmrError(f"{path}: {unreadable(error)}", path=path) from error
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _weights_in(folder: Path) -> list[Path]:
    """Return the files of weights in a folder."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _trained_on(kind: Literal["pretrained", "object"], name: str, data: Provenance) -> ModelDescription:
    """Describe a model by the data that it was trained on."""
    return ModelDescription(
        kind, name, data.feature, data.encoder, data.fps, data.num_frames, tuple(data.languages)
    )


def _extraction_of(settings: RunSettings) -> dict[str, Any]:
    """Return encoder and sampling of the features of a run; empty if they are not known."""
    try:
        collection = open_collection(settings.rootpath, settings.collection)
        return read_encoder_settings(collection.feature_folder(settings.feature))
    except MlcmrError:
        return {}
