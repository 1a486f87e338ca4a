"""The terms of a loss that compares all pairs of views in one way."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import inf

import torch
from torch import Tensor

from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.settings import require_valid

PairwiseLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes rows (B, D), columns (B, D) and `same_video` (B, B) bool; returns a scalar."""


@dataclass(frozen=True)
class TermWeights:
    """The weights of terms beside `zh→v`, which has weight 1. A term of weight 0 is not computed.

    Attributes:
        cross_lingual: The weight of the terms between two languages, `en~zh`.
        views: The weight of the terms between two views of the same item, `zh~zh'` and `v~v'`.

    Raises:
        InvalidValueError: If a weight is not a finite number of at least 0.
    """

    cross_lingual: float = 0.0
    views: float = 1.0

    def __post_init__(self) -> None:
        require_valid(self, {"cross_lingual": (0, inf), "views": (0, inf)})

    def terms(self, views: ViewEmbeddings, compare: PairwiseLoss) -> dict[str, Tensor]:
        """Return the weighted terms by name: `zh→v`, `zh~zh'`, `v~v'`, `en~zh`.

        A term compares the examples that have the captions; a term without examples is left out.

        The terms are float32 at least, also under autocast: half precision is too coarse to tell negatives
        apart.
        """
        with torch.autocast(views.video.device.type, enabled=False):
            return self._terms(views.upcast(), compare)

    def _terms(self, views: ViewEmbeddings, compare: PairwiseLoss) -> dict[str, Tensor]:
        own = {language: views.having(language) for language in views.captions}
        terms = {
            f"{language}→v": compare(examples.captions[language], examples.video, examples.same_video())
            for language, examples in own.items()
        }
        if self.views:
            for language, examples in own.items():
                texts, second = examples.captions[language], examples.masked[language]
                terms[f"{language}~{language}'"] = self.views * compare(texts, second, examples.same_video())
            terms["v~v'"] = self.views * compare(views.video, views.dropped, views.same_video())
        if self.cross_lingual:
            for one, other in combinations(views.captions, 2):
                both = views.having(one, other)
                if len(both.video):
                    term = compare(both.captions[one], both.captions[other], both.same_video())
                    terms[f"{one}~{other}"] = self.cross_lingual * term
        return terms
