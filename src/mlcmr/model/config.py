"""The settings of a model. Nothing here is heavy to import: the command line reads these classes."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Len

from mlcmr.errors import InvalidValueError
from mlcmr.reading import Many
from mlcmr.settings import Flag, Within, checked

_Width = Annotated[int, Within(1, 1 << 20)]
_Dropout = Annotated[float, Within(0, 1)]


@checked
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

    layers: Annotated[int, Within(1, 1000)] = 2
    hidden_size: _Width = 256
    heads: _Width = 4
    vocabulary: Annotated[int, Within(1, 10_000_000)] = 8000
    dropout: _Dropout = 0.1

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            raise InvalidValueError(
                f"hidden_size is {self.hidden_size}, but must be a multiple of heads, {self.heads}",
                parameter="hidden_size",
            )


@checked
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
    """

    encoder: str = "bert-base-multilingual-cased"
    lowercase: Flag | None = True
    trained_layers: Annotated[int, Within(0, 1000)] | Literal["all"] = 6
    new: NewEncoder | None = None
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if self.new and self.trained_layers != "all":
            raise InvalidValueError(
                "a new text encoder must be trained whole: set `model.text.trained_layers` to all",
                parameter="model.text.trained_layers",
            )


@checked
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

    gru_size: _Width = 512
    gru_pool: Literal["mean", "max"] = "mean"
    filters: _Width = 512
    windows: Annotated[Many[Annotated[int, Within(1, 10_000)]], Len(1, 100)] = (2, 3, 4, 5)
    concate: Literal["full", "reduced"] = "full"
    max_frames: Annotated[int, Within(1, 10_000_000)] = 64
    dropout: _Dropout = 0.2


@checked
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
    embedding_size: _Width = 1536
    dropout: _Dropout = 0.2
    padding: Literal["masked", "published"] = "masked"

    def __post_init__(self) -> None:
        if self.padding == "published" and self.text.pooling != "mean":
            raise InvalidValueError(
                f"`model.text.pooling` is {self.text.pooling}, but the published code averages: set it to "
                "mean, or `model.padding` to masked",
                parameter="model.text.pooling",
            )
