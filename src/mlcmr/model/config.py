"""What a model is made of. Nothing here is heavy to import: the command line reads these classes."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from mlcmr.config import require_within
from mlcmr.errors import UserError


@dataclass
class NewEncoder:
    """A small text encoder that is trained from nothing, its tokenizer included.

    Attributes:
        layers: Transformer layers.
        hidden_size: The size of one token's vector.
        heads: Attention heads.
        vocabulary: Entries of the tokenizer, learnt from the training captions.
        dropout: Inside the transformer.
    """

    layers: int = 2
    hidden_size: int = 256
    heads: int = 4
    vocabulary: int = 8000
    dropout: float = 0.1


@dataclass
class TextConfig:
    """The text encoder.

    Attributes:
        encoder: A Hugging Face encoder, by hub id or folder.
        lowercase: Lower-case before tokenizing; `null` leaves it to the tokenizer. The published system
            lower-cases, with a cased vocabulary.
        trained_layers: How many of the encoder's last layers are trained; the rest stays as it came. `all`
            also trains the token embeddings.
        new: Instead of `encoder`, a small one trained from nothing (with `trained_layers: all`).
    """

    encoder: str = "bert-base-multilingual-cased"
    lowercase: bool | None = True
    trained_layers: int | Literal["all"] = 6
    new: NewEncoder | None = None

    def __post_init__(self) -> None:
        require_within(self, {"trained_layers": (0, inf)})
        if new := self.new:
            sizes = dict.fromkeys(("layers", "hidden_size", "heads", "vocabulary"), (1, inf))
            require_within(new, {**sizes, "dropout": (0, 1)})
            if new.hidden_size % new.heads:
                raise UserError(
                    f"hidden_size is {new.hidden_size}, but must be a multiple of heads, {new.heads}"
                )
            if self.trained_layers != "all":
                raise UserError(
                    "a new text encoder must be trained whole: set model.text.trained_layers to all"
                )


@dataclass
class VideoConfig:
    """The video encoder.

    Attributes:
        gru_size: Units of the recurrent network, per direction.
        gru_pool: How its outputs become one vector: their mean or their maximum over time.
        filters: Convolution filters per window size.
        windows: The window sizes, in frames.
        concate: `full`: temporal, local and global level; `reduced`: without the global one (the mean frame).
        max_frames: Longer videos are cut to their first frames (the mean frame is taken over all).
        dropout: After the temporal and the local level.
    """

    gru_size: int = 512
    gru_pool: Literal["mean", "max"] = "mean"
    filters: int = 512
    windows: tuple[int, ...] = (2, 3, 4, 5)
    concate: Literal["full", "reduced"] = "full"
    max_frames: int = 64
    dropout: float = 0.2

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("gru_size", "filters", "max_frames"), (1, inf))
        require_within(self, {**sizes, "dropout": (0, 1)})
        if not self.windows or min(self.windows) < 1:
            raise UserError(f"windows is {list(self.windows)}, but must be window sizes of at least 1 frame")


@dataclass
class ModelConfig:
    """The model.

    Attributes:
        text: The text encoder.
        video: The video encoder.
        embedding_size: The size of the common space.
        dropout: In both mappings into the common space.
        padding: `masked`: an embedding does not depend on its batch; `published`: padding takes part, as in
            the published code.
    """

    text: TextConfig = field(default_factory=TextConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    embedding_size: int = 1536
    dropout: float = 0.2
    padding: Literal["masked", "published"] = "masked"

    def __post_init__(self) -> None:
        require_within(self, {"embedding_size": (1, inf), "dropout": (0, 1)})


@dataclass
class LossConfig:
    """The losses.

    Attributes:
        margin: Of the triplet ranking loss.
        negatives: The hardest negative of each item only, or the sum over all.
        reduction: Sum or mean over the batch, of the triplet ranking loss.
        direction: Which queries rank: captions (`t2v`), videos (`v2t`), or both.
        measure: The similarity inside the triplet ranking loss.
        temperature: Of the contrast between two views.
    """

    margin: float = 0.2
    negatives: Literal["hardest", "all"] = "hardest"
    reduction: Literal["sum", "mean"] = "sum"
    direction: Literal["both", "t2v", "v2t"] = "both"
    measure: Literal["cosine", "order", "euclidean", "jaccard", "l1", "l2", "l1_norm", "l2_norm"] = "cosine"
    temperature: float = 0.07

    def __post_init__(self) -> None:
        require_within(self, {"margin": (0, inf), "temperature": (1e-4, inf)})
