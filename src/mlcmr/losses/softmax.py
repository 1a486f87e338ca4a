"""The softmax loss, as CLIP is trained."""

from torch import Tensor, nn

from mlcmr.losses.infonce import InfoNCE
from mlcmr.losses.terms import TermWeights
from mlcmr.model.outputs import ViewEmbeddings


class Softmax(nn.Module):
    """Find the video of each caption, and the caption of each video, among the batch (CLIP).

    Use it with large batches: all other videos of the batch are negatives, hard ones weigh most. Captions of
    the same video are no negatives of each other. `cross_lingual` also draws captions of the same example in
    two languages together.

    Formula: Σ over languages l of C(captionsₗ, videos) + views · (Σₗ C(captionsₗ, maskedₗ) + C(videos,
    dropped)) + cross_lingual · Σ over pairs of languages k, l of C(captionsₖ, captionsₗ). C is `InfoNCE`
    without negatives of the same video, divided by B.

    Shape: the views are (B, D), L2-normalised. Returns one scalar per term, the mean over the batch: `zh→v`,
    `zh~zh'`, `v~v'`, `en~zh`.

    Example:
        >>> loss = Softmax(temperature=0.05, cross_lingual=0.5)
        >>> terms = loss(ViewEmbeddings(video, dropped, captions, masked, video_ids))
        >>> total = sum(terms.values())

    Reference: A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
    ICML 2021, arXiv:2103.00020.

    Args:
        temperature: The divisor of the similarities; a lower value weighs hard negatives more.
        cross_lingual: The weight of the contrast between captions in two languages.
        views: The weight of the contrast between two views of the same item.

    Raises:
        InvalidValueError: If the temperature is not a finite number above 0, or a weight is below 0.
    """

    def __init__(self, temperature: float = 0.05, cross_lingual: float = 0.0, views: float = 1.0) -> None:
        super().__init__()
        self.contrast = InfoNCE(temperature)
        self.weights = TermWeights(cross_lingual, views)

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return the terms of the loss by name, weighted; training minimises their sum."""
        return self.weights.terms(views, self._compare)

    def _compare(self, rows: Tensor, columns: Tensor, same_video: Tensor) -> Tensor:
        return self.contrast(rows, columns, same_video) / len(rows)  # type: ignore[no-any-return]
