"""Vector stores: built-in names, `package.module:Name` for a store of another package, or a class."""

import os
from importlib import import_module

from mlcmr.errors import InvalidValueError
from mlcmr.registry import is_importable, name_of, resolve
from mlcmr.search.stores.base import VectorStore

EDGE, SERVER = "qdrant-edge", "qdrant-server"
# Each engine is imported only when it is used.
_BUILT_IN = {
    EDGE: "mlcmr.search.stores.qdrant_edge:EdgeStore",
    SERVER: "mlcmr.search.stores.qdrant_server:ServerStore",
}


def store_name(store: str | type[VectorStore]) -> str:
    """Return the name of a vector store: the built-in name, or `package.module:Name` of its class."""
    if isinstance(store, str):
        return store
    name = name_of(store)
    return next((built_in for built_in, home in _BUILT_IN.items() if home == name), name)


def store_class(
    store: str | type[VectorStore], *, source: str | os.PathLike[str] | None
) -> type[VectorStore]:
    """Return the class of a vector store.

    Args:
        store: `qdrant-edge`, `qdrant-server`, `package.module:Name`, or the class.
        source: The file that the name comes from; None if the user gave the name.

    Raises:
        InvalidValueError: If there is no such store, or a file names code that the user has not named.
        MissingDependencyError: If the engine of the store is not installed.
    """
    found: object = store
    if isinstance(store, str):
        if source is not None and ":" in store and not is_importable(store):
            raise InvalidValueError(
                f"{os.fspath(source)}: the index was made in Python with a `store` that no name opens again, "
                f"{store}; open the index in Python with the same class, as in "
                "`mlcmr.Searcher(index, store=Store)`",
                path=source,
                parameter="store",
            )
        found = resolve(store, _BUILT_IN, parameter="store", source=source)
        if store in _BUILT_IN:
            module, _, class_name = _BUILT_IN[store].partition(":")
            found = getattr(import_module(module), class_name)
    if not isinstance(found, type) or not hasattr(found, "on_server"):
        raise InvalidValueError(
            f"`store` is {store!r}, which is not the class of a vector store; see `VectorStore`",
            parameter="store",
        )
    return found
