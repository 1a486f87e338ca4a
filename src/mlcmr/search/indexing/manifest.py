"""The description of an index: `index.json`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mlcmr.errors import CorruptFileError
from mlcmr.files import write_text
from mlcmr.reading import Count, Many, Name, Rate, Size, parse_json, read_bytes
from mlcmr.search.stores.registry import EDGE, SERVER

INFO = "index.json"
_FORMAT = 1
_HINT = "index into another folder (`to`)"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that an index was made with.

    Attributes:
        kind: `run`, `pretrained`, or `object` for a model that no folder holds.
        name: The absolute folder of the run or of the model, the hub id of the model, or the class of an
            object.
        fingerprint: The SHA-256 of the files of its weights; of an object, its own fingerprint.
        embedding_size: The size of an embedding.
        feature_size: The size of the frame features that the model takes.
        dimension: The number of first coordinates of an embedding that are kept; None for all.
    """

    kind: Literal["run", "pretrained", "object"]
    name: Name
    fingerprint: Name
    embedding_size: Size
    feature_size: Size
    dimension: Size | None = None


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The description of an index.

    Attributes:
        id: A random id; the collections on a server carry the id of their index.
        model: The model that made the vectors.
        feature: The name of the frame features.
        encoder: The frame encoder that makes these features from videos; None if it is not known.
        known_as: Another name of the encoder, in a collection whose encoder the user has declared the same.
        rate: The sampling rate, in frames per second; None for `count`, or for the encoder's own rate.
        count: The number of frames per video, instead of `rate`.
        languages: The languages of the captions.
        generation: The number of the valid `vectors-<n>`; 0 before there is one.
        url: The address of the server that keeps the vectors; None for a store in the index's folder.
        name: The prefix of the collections on the server: `<name>-segments`, `<name>-captions`.
        store: The vector store; None for Qdrant Edge, or for a Qdrant server if there is a `url`.
    """

    id: Name
    model: ModelInfo
    feature: Name
    encoder: Name | None = None
    known_as: Name | None = None
    rate: Rate | None = None
    count: Size | None = None
    languages: Many[Name] = ()
    generation: Count = 0
    url: Name | None = None
    name: Name | None = None
    store: Name | None = None

    def __post_init__(self) -> None:
        if (self.url is None) != (self.name is None):
            raise CorruptFileError("url and name belong together, but only one of them is given")

    @property
    def store_name(self) -> str:
        """The name of the vector store."""
        return self.store or (EDGE if self.url is None else SERVER)


@dataclass(frozen=True, slots=True)
class _Version:
    format: Count


def read_info(folder: Path) -> IndexInfo:
    """Read the description of an index.

    Raises:
        NotFoundError: If there is no index.
        CorruptFileError: If the description is damaged, or of another version of mlcmr.
    """
    path = folder / INFO
    missing = f"{folder}: there is no index in this folder; `mlcmr index … --to {folder}` makes one"
    content = read_bytes(path, _HINT, missing=missing)
    if parse_json(content, _Version, str(path), _HINT).format != _FORMAT:
        raise CorruptFileError(f"{path}: written by another version of mlcmr; {_HINT}", path=path)
    return parse_json(content, IndexInfo, str(path), _HINT)


def write_info(folder: Path, info: IndexInfo) -> None:
    """Write `index.json` atomically."""
    text = json.dumps({"format": _FORMAT, **asdict(info)}, indent=2, ensure_ascii=False)
    write_text(folder / INFO, text + "\n")
