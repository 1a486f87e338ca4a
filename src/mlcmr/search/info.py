"""What an index knows of itself: `index.json`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mlcmr.errors import UserError, reason
from mlcmr.files import write_text
from mlcmr.search.models import ModelInfo

INFO = "index.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index knows of itself.

    Attributes:
        id: Whose the collections on a server are.
        model: The model that made its vectors.
        feature: The name of the frame features.
        encoder: What makes these from videos; None where that is not known.
        known_as: What a collection calls that encoder, where a person has said that it is the same.
        rate: How many frames a second it is given,
        count: or how many of each video; None and None for what suits the encoder.
        languages: The languages of its captions.
        generation: Which `vectors-<n>` is valid; 0 before there is one.
        url: The Qdrant server that keeps the vectors, if one does.
        name: What its collections there are called: `<name>-segments`, `<name>-captions`.
    """

    id: str
    model: ModelInfo
    feature: str
    encoder: str | None = None
    known_as: str | None = None
    rate: float | None = None
    count: int | None = None
    languages: tuple[str, ...] = ()
    generation: int = 0
    url: str | None = None
    name: str | None = None


def read_info(folder: Path) -> IndexInfo:
    """What an index knows of itself.

    Raises:
        UserError: there is no index, or it is damaged or of another version.
    """
    path = folder / INFO
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise UserError(f"{path}: of another version of mlcmr; index into another folder (--to)")
        model = ModelInfo(**content.pop("model"))
        return IndexInfo(**{**content, "model": model, "languages": tuple(content["languages"])})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder}: no index there; `mlcmr index … --to {folder}` makes one") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged: {error!r}; index into another folder (--to)") from error


def write_info(folder: Path, info: IndexInfo) -> None:
    """Writes `index.json`, whole or not at all."""
    text = json.dumps({"format": _FORMAT, **asdict(info)}, indent=2, ensure_ascii=False)
    write_text(folder / INFO, text + "\n")
