"""Machine translation of captions, for pseudo-parallel training and for queries in two languages.

Only the command `translate` uses this package. It reads and writes captions (`mlcmr.data`) with translation
models, which are not retrieval models.
"""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.translation.translate_collection import TranslatedFile, TranslationSummary, translate
    from mlcmr.translation.translator import Translator


__all__ = ["TranslatedFile", "TranslationSummary", "Translator", "translate"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "TranslatedFile": "translate_collection",
        "TranslationSummary": "translate_collection",
        "Translator": "translator",
        "translate": "translate_collection",
    },
)
