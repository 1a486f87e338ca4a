"""The contents of a folder."""

from pathlib import Path


def contents(collection: Path) -> dict[str, bytes]:
    """All files, but for the cache that readers make."""
    files = (path for path in collection.rglob("*") if path.is_file() and path.suffix != ".npz")
    return {path.relative_to(collection).as_posix(): path.read_bytes() for path in files}
