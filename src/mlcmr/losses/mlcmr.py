"""The published objective: ranking of captions and videos, and contrast of their views."""

import torch
from torch import Tensor, nn

from mlcmr.losses.config import LossConfig
from mlcmr.losses.infonce import InfoNCE
from mlcmr.losses.triplet import TripletRanking
from mlcmr.model.outputs import ViewEmbeddings


class MLCMRLoss(nn.Module):
    """Rank captions and videos in each language, and contrast each view with its second view.

    Use it as training does: it is the default of `loss.name`. With captions in two languages it is the
    published parallel objective, with one caption per example the unparallel one. Any number of languages
    works.

    Formula: Σ over languages l of ranking(videos, captionsₗ) + contrast(captionsₗ, maskedₗ), and
    contrast(videos, dropped); ranking is `TripletRanking`, contrast is `InfoNCE`. The terms of a language are
    those of the examples that have a caption in the language.

    Shape: the views are (B, D), L2-normalised. Returns one scalar per term: `zh→v`, `zh~zh'`, `v~v'`.

    Example:
        >>> loss = MLCMRLoss(LossConfig(margin=0.2, temperature=0.07))
        >>> terms = loss(ViewEmbeddings(video, dropped, {"zh": captions}, {"zh": masked}))
        >>> total = sum(terms.values())

    The method, with its reference, is described in `docs/explanation/method.md`.

    Args:
        config: The settings; by default the published ones.
    """

    def __init__(self, config: LossConfig | None = None) -> None:
        super().__init__()
        config = config or LossConfig()
        self.ranking = TripletRanking(
            config.margin, config.negatives, config.reduction, config.direction, config.measure
        )
        self.contrast = InfoNCE(config.temperature)

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return the terms of the loss by name; training minimises their sum.

        The terms are float32 at least, also under autocast: half precision is too coarse to tell negatives
        apart.
        """
        with torch.autocast(views.video.device.type, enabled=False):
            return self._terms(views.upcast())

    def _terms(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        own = {language: views.having(language) for language in views.captions}
        terms = {
            f"{language}→v": self.ranking(examples.video, examples.captions[language])
            for language, examples in own.items()
        }
        for language, texts in views.captions.items():
            terms[f"{language}~{language}'"] = self.contrast(texts, views.masked[language])
        terms["v~v'"] = self.contrast(views.video, views.dropped)
        return terms
