"""The sigmoid loss, as SigLIP is trained."""

import torch.nn.functional as F
from torch import Tensor, nn

from mlcmr.errors import InvalidValueError
from mlcmr.losses.terms import TermWeights
from mlcmr.model.outputs import ViewEmbeddings
from mlcmr.settings import require_type


class Sigmoid(nn.Module):
    """Decide of each pair of a caption and a video whether the two belong together (SigLIP).

    Use it with small batches: each pair is judged by itself, not against the rest of the batch. A caption
    belongs to every row of its video, so that captions of the same video are positives.

    Formula: Σ over languages l of P(captionsₗ, videos) + views · (Σₗ P(captionsₗ, maskedₗ) + P(videos,
    dropped)) + cross_lingual · Σ over pairs of languages k, l of P(captionsₖ, captionsₗ), with
    P(rows, columns) = −1/B Σᵢⱼ log sigmoid(zᵢⱼ (scale · rowᵢ · columnⱼ + bias)); zᵢⱼ is 1 if rows i and j
    belong to the same video, else −1.

    Shape: the views are (B, D), L2-normalised. Returns one scalar per term, the sum over pairs divided by B:
    `zh→v`, `zh~zh'`, `v~v'`, `en~zh`.

    Example:
        >>> loss = Sigmoid(scale=20, bias=-10)
        >>> terms = loss(ViewEmbeddings(video, dropped, captions, masked, video_ids))
        >>> total = sum(terms.values())

    Reference: X. Zhai, B. Mustafa, A. Kolesnikov, L. Beyer, "Sigmoid Loss for Language Image Pre-Training",
    ICCV 2023, arXiv:2303.15343. There, scale and bias are learned; here, they are constants.

    Args:
        scale: The factor of the similarities.
        bias: The number added to the scaled similarities. A pair counts as a match above a cosine of −bias /
            scale, by default 0.5.
        cross_lingual: The weight of the terms between captions in two languages.
        views: The weight of the terms between two views of the same item.

    Raises:
        InvalidValueError: If the scale is not a finite number above 0, the bias is not a finite number, or a
            weight is below 0.
    """

    def __init__(
        self, scale: float = 20.0, bias: float = -10.0, cross_lingual: float = 0.0, views: float = 1.0
    ) -> None:
        super().__init__()
        require_type(scale, float, "scale")
        require_type(bias, float, "bias")
        if not scale > 0:
            raise InvalidValueError(f"scale is {scale}, but must be above 0", parameter="scale")
        self.scale = scale
        self.bias = bias
        self.weights = TermWeights(cross_lingual, views)

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return the terms of the loss by name, weighted; training minimises their sum."""
        return self.weights.terms(views, self._compare)

    def _compare(self, rows: Tensor, columns: Tensor, same_video: Tensor) -> Tensor:
        logits = self.scale * (rows @ columns.T) + self.bias
        return -F.logsigmoid(logits.where(same_video, -logits)).sum() / len(rows)
