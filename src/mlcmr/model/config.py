"""The settings of a model. Nothing here is heavy to import: the command line reads these classes."""

from dataclasses import dataclass, field
from typing import Literal

from mlcmr.errors import InvalidValueError
from mlcmr.settings import require_valid

_WIDEST = 1 << 20


@dataclass
class NewEncoder:
    """A small text encoder that is trained from random weights, and its tokenizer from the captions.

    Attributes:
        layers: The number of transformer layers.
        hidden_size: The size of the vector of a token.
        heads: The number of attention heads.
        vocabulary: The number of entries of the tokenizer, learnt from the training captions.
        dropout: The dropout inside the transformer.
    """

    layers: int = 2
    hidden_size: int = 256
    heads: int = 4
    vocabulary: int = 8000
    dropout: float = 0.1

    def __post_init__(self) -> None:
        sizes = {"layers": (1, 1000), "vocabulary": (1, 10_000_000), "dropout": (0, 1)}
        require_valid(self, {**sizes, **dict.fromkeys(("hidden_size", "heads"), (1, _WIDEST))})
        if self.hidden_size % self.heads:
            raise InvalidValueError(
                f"hidden_size is {self.hidden_size}, but must be a multiple of heads, {self.heads}",
                parameter="hidden_size",
            )


@dataclass
class TextConfig:
    """The text encoder.

    Attributes:
        encoder: A Hugging Face encoder, by hub id or folder.
        lowercase: Lower-case texts before tokenization; `null` leaves them to the tokenizer. The published
            system lower-cases, with a cased vocabulary.
        trained_layers: The number of last layers of the encoder that are trained; the other layers are
            frozen. `all` also trains the token embeddings.
        new: A small encoder that is trained from random weights, instead of `encoder` (with
            `trained_layers: all`).
        pooling: How the states of a text's tokens become one vector: `mean`, `cls` (the first token), `last`
            (the last token), `max`, or `package.module:Name`, a function or class of your own.
        prefix: A text before each caption and query; multilingual E5 takes "query: ", with the space.
    """

    encoder: str = "bert-base-multilingual-cased"
    lowercase: bool | None = True
    trained_layers: int | Literal["all"] = 6
    new: NewEncoder | None = None
    pooling: str = "mean"
    prefix: str = ""

    def __post_init__(self) -> None:
        require_valid(self, {"trained_layers": (0, 1000)})
        if self.new and self.trained_layers != "all":
            raise InvalidValueError(
                "a new text encoder must be trained whole: set `model.text.trained_layers` to all",
                parameter="model.text.trained_layers",
            )


@dataclass
class VideoConfig:
    """The video encoder.

    Attributes:
        gru_size: The number of units of the recurrent network, per direction.
        gru_pool: The pooling of the outputs of the recurrent network over time: mean or maximum.
        filters: The number of convolution filters per window size.
        windows: The window sizes of the convolutions, in frames.
        concate: The levels that are concatenated: `full`, the temporal, the local and the global level; or
            `reduced`, without the global level (the mean frame).
        max_frames: The number of frames to which longer videos are cut. The mean frame is taken over all.
        dropout: The dropout after the temporal and the local level.
    """

    gru_size: int = 512
    gru_pool: Literal["mean", "max"] = "mean"
    filters: int = 512
    windows: tuple[int, ...] = (2, 3, 4, 5)
    concate: Literal["full", "reduced"] = "full"
    max_frames: int = 64
    dropout: float = 0.2

    def __post_init__(self) -> None:
        sizes = {"max_frames": (1, 10_000_000), **dict.fromkeys(("gru_size", "filters"), (1, _WIDEST))}
        require_valid(self, {**sizes, "dropout": (0, 1)})
        if len(self.windows) > 100 or max(self.windows, default=1) > 10_000:
            raise InvalidValueError(
                "windows must be at most 100 window sizes of at most 10,000 frames", parameter="windows"
            )
        if not self.windows or min(self.windows) < 1:
            raise InvalidValueError(
                f"windows is {list(self.windows)}, but must be window sizes of at least 1 frame",
                parameter="windows",
            )


@dataclass
class ModelConfig:
    """The model.

    Attributes:
        text: The text encoder.
        video: The video encoder.
        embedding_size: The size of the common space.
        dropout: The dropout in the projection heads into the common space.
        padding: With `masked`, an embedding does not depend on its batch. With `published`, padding counts
            like text and frames, as in the published code.
    """

    text: TextConfig = field(default_factory=TextConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    embedding_size: int = 1536
    dropout: float = 0.2
    padding: Literal["masked", "published"] = "masked"

    def __post_init__(self) -> None:
        require_valid(self, {"embedding_size": (1, _WIDEST), "dropout": (0, 1)})
        if self.padding == "published" and self.text.pooling != "mean":
            raise InvalidValueError(
                f"`model.text.pooling` is {self.text.pooling}, but the published code averages: set it to "
                "mean, or `model.padding` to masked",
                parameter="model.text.pooling",
            )
