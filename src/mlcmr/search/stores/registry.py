"""Vector stores by name: the built-in names, and `package.module:Name` for a store of another package."""

import os
from importlib import import_module

from mlcmr.errors import InvalidValueError
from mlcmr.registry import resolve
from mlcmr.search.stores.base import VectorStore

EDGE, SERVER = "qdrant-edge", "qdrant-server"
# Each engine is imported only when it is used.
_BUILT_IN = {
    EDGE: "mlcmr.search.stores.qdrant_edge:EdgeStore",
    SERVER: "mlcmr.search.stores.qdrant_server:ServerStore",
}


def store_class(name: str, *, source: str | os.PathLike[str] | None) -> type[VectorStore]:
    """Return the class of a vector store.

    Args:
        name: `qdrant-edge`, `qdrant-server`, or `package.module:Name`.
        source: The file that the name comes from; None if the user gave the name.

    Raises:
        InvalidValueError: If there is no such store, or a file names code that the user has not named.
        MissingDependencyError: If the engine of the store is not installed.
    """
    found = resolve(name, _BUILT_IN, parameter="store", source=source)
    if name in _BUILT_IN:
        module, _, class_name = _BUILT_IN[name].partition(":")
        found = getattr(import_module(module), class_name)
    if not isinstance(found, type) or not hasattr(found, "on_server"):
        raise InvalidValueError(
            f"`store` is {name!r}, which is not the class of a vector store; see `VectorStore`",
            parameter="store",
        )
    return found
