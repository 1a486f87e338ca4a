"""The settings of the loss. Nothing here is heavy to import: the command line reads this class."""

from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from mlcmr.settings import require_plain, require_valid


@dataclass
class LossConfig:
    """The loss. Margin to temperature are settings of `mlcmr`; another loss has its own, in `options`.

    Attributes:
        margin: The margin of the triplet ranking loss.
        negatives: Use the hardest negative of each item only, or the sum over all negatives.
        reduction: Sum or average the triplet ranking loss over the batch.
        direction: The queries that rank: captions (`t2v`), videos (`v2t`), or both.
        measure: The similarity inside the triplet ranking loss.
        temperature: The temperature of the contrast between two views.
        name: `mlcmr`, the published loss; `softmax`; `sigmoid`; or `package.module:Name`, a class or function
            of your own.
        options: The arguments of any loss but `mlcmr`: numbers, texts, true, false, null, lists and mappings.
    """

    margin: float = 0.2
    negatives: Literal["hardest", "all"] = "hardest"
    reduction: Literal["sum", "mean"] = "sum"
    direction: Literal["both", "t2v", "v2t"] = "both"
    measure: Literal["cosine", "order", "euclidean", "jaccard", "l1", "l2", "l1_norm", "l2_norm"] = "cosine"
    temperature: float = 0.07
    name: str = "mlcmr"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_plain(self.options, "loss.options")
        require_valid(self, {"margin": (0, inf), "temperature": (1e-4, inf)})
