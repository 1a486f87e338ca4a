"""The parameters of `mlcmr.index` as one value, and the rules between them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlcmr.data.collection import Collection
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError, require_list
from mlcmr.extraction.records import VIDEOS, is_utf8
from mlcmr.files import writing
from mlcmr.paths import AnyPath, user_path
from mlcmr.registry import is_code
from mlcmr.search.indexing.manifest import INFO
from mlcmr.search.indexing.storage import COLLECTION, LOCK
from mlcmr.search.stores.base import VectorStore

if TYPE_CHECKING:
    from mlcmr.extraction.encoders.base import FrameEncoder
    from mlcmr.model.protocol import SearchModel

Named = TypeVar("Named")


@dataclass(frozen=True, kw_only=True)
class IndexRequest:
    """The parameters of `mlcmr.index`; see there.

    Raises:
        InvalidValueError: If parameters contradict each other or have no effect.
    """

    source: AnyPath | None = None
    to: AnyPath = "index"
    run: AnyPath | None = None
    model: "AnyPath | SearchModel | None" = None
    dimension: int | None = None
    encoder: "AnyPath | FrameEncoder | None" = None
    feature: str | None = None
    url: str | None = None
    name: str | None = None
    store: str | type[VectorStore] | None = None
    remove: Sequence[str] = ()
    prune: bool = False
    captions: bool = True
    device: str = "auto"
    batch_size: int | None = None
    media_roots: Sequence[AnyPath] = ()

    def __post_init__(self) -> None:
        require_list(self.media_roots, "media_roots")
        for path in (self.to, self.source, self.run, self.model, self.encoder):
            if isinstance(path, (str, os.PathLike)) and not is_utf8(user_path(path).absolute()):
                raise InvalidValueError(
                    f"{os.fspath(path)}: its name, or that of a folder it lies in, is not UTF-8; rename that"
                )
        if self.encoder is not None and not isinstance(self.encoder, (str, os.PathLike)):
            from mlcmr.extraction.encoders.registry import require_encoder  # noqa: PLC0415 – needs PyAV

            require_encoder(self.encoder)
        self._require_removal()
        if self.run is not None and self.model is not None:
            raise _invalid("run", "`run` and `model` both name the model; give only one of them")
        self._require_dimension()
        if self.name is not None and self.url is None:
            raise _invalid("name", "`name` is for the collections on a server; give its `url` too")
        if self.batch_size is not None and self.batch_size < 1:
            raise _invalid("batch_size", f"`batch_size` is {self.batch_size}, but must be 1 or more")
        is_collection = self.collection is not None
        if self.feature is not None and not is_collection:
            raise _invalid(
                "feature", "`feature` is for a collection; videos get the feature of their `encoder`"
            )
        if self.batch_size is not None and is_collection:
            raise _invalid("batch_size", "`batch_size` is for videos; a collection has its features already")

    @property
    def folder(self) -> Path:
        """The folder of the index."""
        return user_path(self.to)

    @property
    def place(self) -> Path | None:
        """The path of the source."""
        return None if self.source is None else user_path(self.source)

    @property
    def collection(self) -> Collection | None:
        """The source if it is a collection; None for a folder of videos."""
        place = self.place
        if place is None:
            return None
        if not any(os.path.exists(place / name) for name in ("FeatureData", "TextData", VIDEOS)):
            return None
        folder = place.resolve()  # one name for a collection, however the user names it
        return Collection(folder, folder.name)

    @property
    def encoder_name(self) -> str | None:
        """The name of the frame encoder, also of one that was given as an object."""
        if self.encoder is None or isinstance(self.encoder, (str, os.PathLike)):
            return None if self.encoder is None else os.fspath(self.encoder)
        return self.encoder.name

    @property
    def named_models(self) -> list[str]:
        """The hub ids and the code that the user has given as a model or an encoder."""
        model = os.fspath(self.model) if isinstance(self.model, (str, os.PathLike)) else None
        encoder = self.encoder_name
        # The name of an object is free text: only that of its class opens the object again.
        if not isinstance(self.encoder, (str, os.PathLike)) and encoder is not None and not is_code(encoder):
            encoder = None
        names = (model, encoder)
        return [name for name in names if name is not None and not os.path.isdir(user_path(name))]

    def absolute(self) -> "IndexRequest":
        """Return the request with absolute paths, which mean the same in every working directory."""
        return replace(
            self,
            source=None if self.source is None else _absolute(self.source),
            to=_absolute(self.to),
            run=None if self.run is None else _absolute(self.run),
            model=_absolute_folder(self.model),
            encoder=_absolute_folder(self.encoder),
            media_roots=[_absolute(root) for root in self.media_roots],
        )

    def require_paths(self) -> None:
        """Check that the source exists, and that the index's folder is an index or can become one.

        Raises:
            NotFoundError: If there is no source.
            InvalidValueError: If the folder holds something else.
        """
        folder, place = self.folder, self.place
        has_index = os.path.exists(folder / INFO)
        if place is not None and not os.path.exists(place) and not (self.prune and has_index):
            raise NotFoundError(
                f"{place}: no such folder; name a folder of videos, or a collection", path=place
            )
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise _invalid("to", f"{folder}: is a file; name a folder (`to`)")
        if has_index or not os.path.isdir(folder):
            return
        with writing(folder):
            names = [path.name for path in folder.iterdir()]
        if any(name not in (LOCK, COLLECTION) and not name.startswith(".") for name in names):
            raise _invalid("to", f"{folder}: exists and is not an index; name another folder (`to`)")

    def _require_dimension(self) -> None:
        """Check the size of the embeddings."""
        if self.dimension is None:
            return
        if self.dimension < 1:
            raise _invalid("dimension", f"`dimension` is {self.dimension}, but must be 1 or more")
        is_object = self.model is not None and not isinstance(self.model, (str, os.PathLike))
        if is_object or self.run is not None:
            raise _invalid("dimension", "`dimension` is for a `model` by hub id or folder; leave it out")

    def _require_removal(self) -> None:
        """Check the videos to remove, and that a request without a source does nothing else."""
        require_list(self.remove, "remove")
        if self.source is not None:
            return
        without_source = {"to", "url", "store", "remove"}
        given = [
            field.name
            for field in fields(self)
            if field.name not in without_source and getattr(self, field.name) not in (field.default, [])
        ]
        if given:
            raise _invalid(
                given[0], f"`{given[0]}` is for videos or a collection; give their folder, or leave it out"
            )


def _absolute(path: AnyPath) -> Path:
    return user_path(path).absolute()


def _absolute_folder(named: Named) -> Named | Path:
    """Return the absolute path of a folder; a hub id, the name of a class, and an object stay as given."""
    if isinstance(named, (str, os.PathLike)) and os.path.isdir(user_path(named)):
        return _absolute(named)
    return named


def _invalid(parameter: str, message: str) -> MlcmrError:
    return InvalidValueError(message, parameter=parameter)
