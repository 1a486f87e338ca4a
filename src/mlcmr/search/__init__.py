"""Search: indexes of videos, and search in them.

>>> from mlcmr.search import Searcher
>>> searcher = Searcher("index")
>>> searcher.search("a red circle moves left")
"""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.search.default_model import DEFAULT_MODEL as DEFAULT_MODEL
    from mlcmr.search.filters import Filters as Filters
    from mlcmr.search.hits import CaptionHit as CaptionHit
    from mlcmr.search.hits import Hit as Hit
    from mlcmr.search.indexing.index import index as index
    from mlcmr.search.indexing.plan import IndexPlan as IndexPlan
    from mlcmr.search.indexing.plan import plan_index as plan_index
    from mlcmr.search.indexing.request import IndexRequest as IndexRequest
    from mlcmr.search.indexing.summary import IndexSummary as IndexSummary
    from mlcmr.search.searcher import Searcher as Searcher

__all__ = [
    "DEFAULT_MODEL",
    "CaptionHit",
    "Filters",
    "Hit",
    "IndexPlan",
    "IndexRequest",
    "IndexSummary",
    "Searcher",
    "index",
    "plan_index",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DEFAULT_MODEL": "default_model",
        "CaptionHit": "hits",
        "Filters": "filters",
        "Hit": "hits",
        "IndexPlan": "indexing.plan",
        "IndexRequest": "indexing.request",
        "IndexSummary": "indexing.summary",
        "Searcher": "searcher",
        "index": "indexing.index",
        "plan_index": "indexing.plan",
    },
)
