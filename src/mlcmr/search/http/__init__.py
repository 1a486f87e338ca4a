"""The search page and the HTTP API."""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.search.http.app import create_app as create_app
    from mlcmr.search.http.run import serve as serve
    from mlcmr.search.http.service import ServerLimits as ServerLimits

__all__ = ["ServerLimits", "create_app", "serve"]

__getattr__, __dir__ = lazy_names(__name__, {"ServerLimits": "service", "create_app": "app", "serve": "run"})
