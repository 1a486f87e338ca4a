"""The projection head: from the features of an encoder into the common space."""

import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Project features into the common space: linear, batch norm, dropout, L2 norm.

    The method's paper calls this part the mapping, and so do the names of weights (`text_mapping`).

    Shape: (B, features) → (B, embedding_size), L2-normalised.

    Args:
        features: The size of the features.
        embedding_size: The size of the common space.
        dropout: The share of numbers that are dropped in training.
    """

    def __init__(self, features: int, embedding_size: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(features, embedding_size)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.BatchNorm1d(embedding_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Project a batch of features."""
        projected = self.linear(features)
        if self.training and len(projected) <= 1:
            # A single example has no variance; the running statistics take its place.
            norm = self.norm
            mean, variance = norm.running_mean, norm.running_var
            projected = F.batch_norm(projected, mean, variance, norm.weight, norm.bias, eps=norm.eps)
        else:
            projected = self.norm(projected)
        return F.normalize(self.dropout(projected), dim=1)
