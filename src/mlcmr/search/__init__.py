"""Search: an index of videos, and what finds them in it.

>>> from mlcmr.search import Searcher
>>> searcher = Searcher("index")
>>> searcher.search("a red circle moves left")
"""

from typing import TYPE_CHECKING

from mlcmr.search.filters import Filters

if TYPE_CHECKING:
    from mlcmr.search.searcher import CaptionHit as CaptionHit
    from mlcmr.search.searcher import Hit as Hit
    from mlcmr.search.searcher import Searcher as Searcher

__all__ = ["CaptionHit", "Filters", "Hit", "Searcher"]


def __getattr__(name: str) -> object:
    # What only reads filters or prints hits must not wait for torch.
    if name in __all__:
        from mlcmr.search import searcher  # noqa: PLC0415

        return getattr(searcher, name)
    raise AttributeError(f"module 'mlcmr.search' has no attribute {name!r}")
