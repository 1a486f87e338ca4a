"""InfoNCE, the contrastive loss of two views."""

from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcmr.errors import InvalidValueError
from mlcmr.settings import require_type


class InfoNCE(nn.Module):
    """Contrast each row with its own second view among the batch (InfoNCE, van den Oord et al. 2018).

    Use it where each item has two views, such as a caption and the same caption with masked words. The loss
    is a cross-entropy: the second view is the class. Every other row is a negative, unless `same_item` leaves
    the pair out.

    Formula, for one direction: −Σᵢ log softmaxⱼ(rowᵢ · columnⱼ / temperature)[i]. The loss is the mean of
    both directions.

    Shape: rows (B, D) and columns (B, D), L2-normalised; row i of each is a view of item i. `same_item` is
    (B, B) bool and symmetric. Returns a scalar, the sum over the batch.

    Example:
        >>> contrast = InfoNCE(temperature=0.07)
        >>> whole = F.normalize(torch.randn(8, 32), dim=1)
        >>> masked = F.normalize(whole + 0.1 * torch.randn(8, 32), dim=1)
        >>> loss = contrast(whole, masked)

    Reference: A. van den Oord, Y. Li, O. Vinyals, "Representation Learning with Contrastive Predictive
    Coding", 2018, arXiv:1807.03748.

    Args:
        temperature: The divisor of the similarities; a lower value weighs hard negatives more.

    Raises:
        InvalidValueError: If the temperature is not a finite number above 0.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        require_type(temperature, float, "temperature")
        if not temperature > 0:
            message = f"temperature is {temperature}, but must be above 0"
            raise InvalidValueError(message, parameter="temperature")
        self.temperature = temperature

    def forward(self, rows: Tensor, columns: Tensor, same_item: Tensor | None = None) -> Tensor:
        """Return the mean of the losses of both directions, a scalar.

        Args:
            rows: The first views.
            columns: The second views.
            same_item: Whether row i and column j are views of the same item. Such a pair is no negative.
        """
        return (self.one_way(rows, columns, same_item) + self.one_way(columns, rows, same_item)) / 2

    def one_way(self, rows: Tensor, columns: Tensor, same_item: Tensor | None = None) -> Tensor:
        """Return the loss of finding the column of each row, a scalar."""
        logits = rows @ columns.T / self.temperature
        if same_item is not None:
            own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
            logits = logits.masked_fill(same_item & ~own, -inf)
        return F.cross_entropy(logits, torch.arange(len(rows), device=rows.device), reduction="sum")
