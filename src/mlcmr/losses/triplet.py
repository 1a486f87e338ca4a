"""The triplet ranking loss."""

from typing import Literal

import torch
from torch import Tensor, nn

from mlcmr.errors import InvalidValueError
from mlcmr.losses.similarity import SIMILARITIES
from mlcmr.settings import require_type

Negatives = Literal["hardest", "all"]
Reduction = Literal["sum", "mean"]
RetrievalDirection = Literal["both", "t2v", "v2t"]


class TripletRanking(nn.Module):
    """Rank each caption's video above other videos by a margin, and each video's caption likewise (VSE++).

    Use it to align captions with videos. Every other row of the batch is a negative, also another caption of
    the same video. `negatives="hardest"` is the loss of VSE++, `negatives="all"` the older sum over all
    violations.

    Formula, for scores s between videos i and captions j, one direction, hardest negative:
    Σᵢ maxⱼ≠ᵢ max(0, margin + sᵢⱼ − sᵢᵢ). The loss is the sum of the directions.

    Shape: videos (B, D) and captions (B, D); row i of one belongs to row i of the other; for `cosine` both
    are L2-normalised. Returns a scalar, the sum over the batch (or the mean, see `reduction`).

    Example:
        >>> ranking = TripletRanking(margin=0.2)
        >>> videos = F.normalize(torch.randn(8, 32), dim=1)
        >>> captions = F.normalize(videos + 0.1 * torch.randn(8, 32), dim=1)
        >>> loss = ranking(videos, captions)

    Reference: F. Faghri, D. J. Fleet, J. R. Kiros, S. Fidler, "VSE++: Improving Visual-Semantic Embeddings
    with Hard Negatives", BMVC 2018, arXiv:1707.05612.

    Args:
        margin: How much higher the own pair must score.
        negatives: Use the hardest negative of each item only, or the sum over all negatives.
        reduction: Sum over the batch, or average over all violations.
        direction: The queries that rank: captions (`t2v`), videos (`v2t`), or both.
        similarity: The similarity between videos and captions, a name in `SIMILARITIES`.

    Raises:
        InvalidValueError: If an argument is not among its values, or the margin is below 0.
    """

    def __init__(
        self,
        margin: float = 0.2,
        negatives: Negatives = "hardest",
        reduction: Reduction = "sum",
        direction: RetrievalDirection = "both",
        similarity: str = "cosine",
    ) -> None:
        super().__init__()
        require_type(margin, float, "margin")
        require_type(negatives, Negatives, "negatives")
        require_type(reduction, Reduction, "reduction")
        require_type(direction, RetrievalDirection, "direction")
        require_type(similarity, Literal[tuple(SIMILARITIES)], "similarity")
        if margin < 0:
            raise InvalidValueError(f"margin is {margin}, but must be at least 0", parameter="margin")
        self.margin = margin
        self.negatives = negatives
        self.reduction = reduction
        self.direction = direction
        self.similarity = SIMILARITIES[similarity]

    def forward(self, videos: Tensor, captions: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
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
