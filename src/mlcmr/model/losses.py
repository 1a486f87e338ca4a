"""The losses: triplet ranking, InfoNCE, and their sum over the views of a batch. They take embeddings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcmr.model.config import LossConfig


@dataclass(slots=True)
class ViewEmbeddings:
    """The embeddings of a batch of B examples, row i of each belonging to example i; all (B, D).

    Attributes:
        video: The whole videos.
        dropped: The videos with most frames dropped.
        captions: The captions by language.
        masked: The captions with some words masked, by language.
    """

    video: Tensor
    dropped: Tensor
    captions: Mapping[str, Tensor]
    masked: Mapping[str, Tensor]

    def in_full(self) -> "ViewEmbeddings":
        """The same in float32, or in float64 where they are."""
        return ViewEmbeddings(
            _in_full(self.video),
            _in_full(self.dropped),
            {language: _in_full(texts) for language, texts in self.captions.items()},
            {language: _in_full(texts) for language, texts in self.masked.items()},
        )


class TripletRanking(nn.Module):
    """Hinge on the violations of a margin, in both directions (VSE++, Faghri et al. 2018).

    Shape: videos (B, D) and captions (B, D), row i of one belongs to row i of the other; for `cosine` both
    L2-normalised. Every other row is a negative, also another caption of the same video.

    Returns: a scalar, the sum over the batch (or the mean, see `reduction`).

    Args: the fields of `LossConfig` of the same names.
    """

    def __init__(
        self,
        margin: float = 0.2,
        negatives: Literal["hardest", "all"] = "hardest",
        reduction: Literal["sum", "mean"] = "sum",
        direction: Literal["both", "t2v", "v2t"] = "both",
        measure: str = "cosine",
    ) -> None:
        super().__init__()
        self.margin = margin
        self.negatives = negatives
        self.reduction = reduction
        self.direction = direction
        self.similarity = SIMILARITIES[measure]

    def forward(self, videos: Tensor, captions: Tensor) -> Tensor:
        """The loss of a batch."""
        scores = self.similarity(videos, captions)
        positive = scores.diagonal()
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        losses = []
        if self.direction != "t2v":
            losses.append(self._violations(self.margin + scores - positive[:, None], own, dim=1))
        if self.direction != "v2t":
            losses.append(self._violations(self.margin + scores - positive[None, :], own, dim=0))
        return torch.stack(losses).sum()

    def _violations(self, excess: Tensor, own: Tensor, dim: int) -> Tensor:
        violations = excess.clamp(min=0).masked_fill(own, 0)
        if self.negatives == "hardest":
            violations = violations.max(dim).values
        return violations.sum() if self.reduction == "sum" else violations.mean()


class InfoNCE(nn.Module):
    """Cross-entropy of finding each row's own view among the batch (van den Oord et al. 2018).

    Shape: rows (B, D) and columns (B, D), L2-normalised, row i of one is another view of row i of the other.

    Returns: a scalar, the sum over the batch of the mean of both directions, rows → columns and back.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The loss of a batch, both directions."""
        return (self.one_way(rows, columns) + self.one_way(columns, rows)) / 2

    def one_way(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The loss of finding each row's column: −Σᵢ log softmaxⱼ(rowᵢ·columnⱼ / temperature)[i]."""
        logits = rows @ columns.T / self.temperature
        return F.cross_entropy(logits, torch.arange(len(rows), device=rows.device), reduction="sum")


class MLCMRLoss(nn.Module):
    """All losses of a batch: each caption ranks with its video, each view contrasts with its second view.

    With captions in two languages this is the parallel objective, with one caption per example the
    unparallel one; nothing changes for three languages or seven.
    """

    def __init__(self, config: LossConfig | None = None) -> None:
        super().__init__()
        config = config or LossConfig()
        self.ranking = TripletRanking(
            config.margin, config.negatives, config.reduction, config.direction, config.measure
        )
        self.contrast = InfoNCE(config.temperature)

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """The loss terms by name (`zh→v`, `zh~zh'`, `v~v'`); their sum is what training minimises.

        Float32 at least, also under autocast: half precision is too coarse to tell negatives apart.
        """
        with torch.autocast(views.video.device.type, enabled=False):
            return self._terms(views.in_full())

    def _terms(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        terms = {
            f"{language}→v": self.ranking(views.video, texts) for language, texts in views.captions.items()
        }
        for language, texts in views.captions.items():
            terms[f"{language}~{language}'"] = self.contrast(texts, views.masked[language])
        terms["v~v'"] = self.contrast(views.video, views.dropped)
        return terms


def _in_full(embeddings: Tensor) -> Tensor:
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))


def _order(videos: Tensor, captions: Tensor) -> Tensor:
    excess = (captions[None, :, :] - videos[:, None, :]).clamp(min=0)
    return -excess.square().sum(-1).sqrt()


def _jaccard(videos: Tensor, captions: Tensor) -> Tensor:
    video, caption = videos[:, None, :], captions[None, :, :]
    return torch.minimum(video, caption).sum(-1) / torch.maximum(video, caption).sum(-1)


def _l1(videos: Tensor, captions: Tensor) -> Tensor:
    return (videos[:, None, :] - captions[None, :, :]).abs().sum(-1)


def _l2(videos: Tensor, captions: Tensor) -> Tensor:
    return (videos[:, None, :] - captions[None, :, :]).square().sum(-1)


SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda videos, captions: videos @ captions.T,
    "order": _order,
    "euclidean": lambda videos, captions: -_l2(videos, captions),
    "jaccard": _jaccard,
    "l1": lambda videos, captions: -_l1(videos, captions),
    "l2": lambda videos, captions: -_l2(videos, captions),
    # Published as they stand: divided by the dimension, and without the minus, so that the farther of two
    # videos scores higher. Kept to reproduce, not to recommend.
    "l1_norm": lambda videos, captions: _l1(videos, captions) / videos.shape[1],
    "l2_norm": lambda videos, captions: _l2(videos, captions) / videos.shape[1],
}
