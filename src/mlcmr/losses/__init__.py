"""Losses. They take embeddings, never models or batches, so that they work on any matrices.

A loss of a training is a function `(ViewEmbeddings) -> dict[str, Tensor]`; training minimises the sum of the
terms. `TripletRanking` and `InfoNCE` are parts to build a loss from.
"""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.losses.config import LossConfig as LossConfig
    from mlcmr.losses.infonce import InfoNCE as InfoNCE
    from mlcmr.losses.mlcmr import MLCMRLoss as MLCMRLoss
    from mlcmr.losses.selection import Loss as Loss
    from mlcmr.losses.selection import select_loss as select_loss
    from mlcmr.losses.sigmoid import Sigmoid as Sigmoid
    from mlcmr.losses.softmax import Softmax as Softmax
    from mlcmr.losses.triplet import TripletRanking as TripletRanking

__all__ = [
    "InfoNCE",
    "Loss",
    "LossConfig",
    "MLCMRLoss",
    "Sigmoid",
    "Softmax",
    "TripletRanking",
    "select_loss",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "InfoNCE": "infonce",
        "Loss": "selection",
        "LossConfig": "config",
        "MLCMRLoss": "mlcmr",
        "Sigmoid": "sigmoid",
        "Softmax": "softmax",
        "TripletRanking": "triplet",
        "select_loss": "selection",
    },
)
