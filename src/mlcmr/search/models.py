"""The model of an index: a run's, or a pretrained one."""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from mlcmr.data.collection import open_collection
from mlcmr.errors import UserError
from mlcmr.model.device import on_device
from mlcmr.model.hub import fetch_model
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.protocol import SearchModel
from mlcmr.model.two_tower import TwoTower


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model an index was made with.

    Attributes:
        kind: `run`, or `pretrained`.
        name: The run's folder, or the model's (absolute), or its hub id.
        fingerprint: SHA-256 of its weights.
        embedding_size: The size of an embedding.
        feature_size: The size of the frame features that it takes.
    """

    kind: Literal["run", "pretrained"]
    name: str
    fingerprint: str
    embedding_size: int
    feature_size: int


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model ready to embed.

    Attributes:
        model: What embeds.
        info: Which it is.
        feature: The frame feature that it takes, where it says so.
        encoder: What makes that feature from videos, as far as is known.
        rate: How many frames a second that was given for training,
        count: or how many of each video; None and None where that is not known.
        languages: Those that it was trained in; none where that is not known.
    """

    model: SearchModel
    info: ModelInfo
    feature: str | None
    encoder: str | None
    rate: float | None = None
    count: int | None = None
    languages: tuple[str, ...] = ()


def open_run(run: str | Path, *, device: str = "auto") -> OpenModel:
    """Opens the best model of a run.

    Raises:
        UserError: there is no run or no model in it yet, or the device is not there.
    """
    folder = Path(run).expanduser().absolute()
    path = folder / "config.yaml"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        feature, languages = str(settings["feature"]), tuple(map(str, settings["languages"]))
    except OSError as error:
        raise UserError(f"{path}: no such file; name the folder of a run (mlcmr train writes it)") from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not the settings of a run; name the folder of one (mlcmr train writes it)"
        ) from error
    if not os.path.isdir(folder / "model"):
        raise UserError(f"{folder / 'model'}: no model yet; training writes one after its first epoch")
    made = _extraction_of(settings)
    return replace(
        _open_mlcmr("run", str(folder), folder / "model", device),
        feature=feature,
        encoder=made.get("encoder"),
        rate=made.get("rate"),
        count=made.get("count"),
        languages=languages,
    )


def open_pretrained(name: str | Path, *, device: str = "auto") -> OpenModel:
    """Opens a model by folder or hub id: a two-tower model, or an mlcmr model folder without its run.

    Raises:
        UserError: there is no such model, it cannot embed texts and videos, or the device is not there.
    """
    folder = fetch_model(name, "--model")
    known = str(folder.absolute()) if os.path.isdir(Path(name).expanduser()) else str(name)
    if _is_mlcmr(folder):
        return _open_mlcmr("pretrained", known, folder, device)
    from mlcmr.extraction.encoders import feature_name  # noqa: PLC0415 – needs PyAV

    fingerprint = _fingerprint(folder)
    model = on_device(TwoTower.from_pretrained(folder), device)
    info = ModelInfo("pretrained", known, fingerprint, model.feature_size, model.feature_size)
    return OpenModel(model, info, feature_name(known), known)


def open_again(info: ModelInfo, *, device: str = "auto") -> OpenModel:
    """Opens the model of an index.

    Raises:
        UserError: it is gone, or has changed since.
    """
    if Path(info.name).is_absolute() and not os.path.isdir(info.name):
        raise UserError(
            f"{info.name}: the model of the index is no longer there; bring it back, or index once more with "
            f"where it is now (--{'run' if info.kind == 'run' else 'model'})"
        )
    opened = (open_run if info.kind == "run" else open_pretrained)(info.name, device=device)
    if opened.info.fingerprint != info.fingerprint:
        raise UserError(
            f"{info.name}: the model has changed since the index was made with it; bring it back, or index "
            "into another folder (--to)"
        )
    return opened


def same_encoder(one: str, other: str) -> bool:
    """Whether two names mean one encoder: they are the same, or both are folders with the same weights."""
    if one == other:
        return True
    folders = Path(one), Path(other)
    try:
        return all(folder.is_dir() for folder in folders) and len(set(map(_fingerprint, folders))) == 1
    except (UserError, OSError):  # nothing of it is known any more
        return False


def _open_mlcmr(kind: Literal["run", "pretrained"], name: str, folder: Path, device: str) -> OpenModel:
    model = on_device(MLCMR.from_pretrained(folder), device)
    info = ModelInfo(kind, name, _fingerprint(folder), model.config.embedding_size, model.feature_size)
    return OpenModel(model, info, None, None)


def _extraction_of(settings: dict[str, Any]) -> dict[str, Any]:
    """How the features were made that a run was trained on, if the collection is there and was extracted."""
    try:
        collection = open_collection(settings["rootpath"], settings["collection"])
        folder = collection.feature_folder(settings["feature"])
        return dict(json.loads((folder / "encoder.json").read_text(encoding="utf-8")))
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return {}


def _is_mlcmr(folder: Path) -> bool:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / 'config.json'}: not the configuration of a model; name the folder of one (--model)"
        ) from error
    return isinstance(content, dict) and {"model", "feature_size"} <= content.keys()


def _fingerprint(folder: Path) -> str:
    """SHA-256 of the weights: of a model's one file, or of those of all its files."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise UserError(f"{folder}: no weights there (model.safetensors); copy or download the model again")
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
