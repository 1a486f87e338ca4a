"""Vector stores: the protocol, and what an implementation of it needs."""

from mlcmr.search.stores.base import (
    Payload,
    Point,
    ScoredPoint,
    ServerVectorStore,
    StoreConfig,
    Vector,
    VectorQuery,
    VectorStore,
    ordered,
)

__all__ = [
    "Payload",
    "Point",
    "ScoredPoint",
    "ServerVectorStore",
    "StoreConfig",
    "Vector",
    "VectorQuery",
    "VectorStore",
    "ordered",
]
