"""The data that a model was trained on, as its folder says."""

from dataclasses import dataclass

from mlcmr.reading import Many, Name, Rate, Size


@dataclass(frozen=True)
class Provenance:
    """The data that a model was trained on; None or empty where it is unknown.

    Attributes:
        languages: The languages of the training captions.
        collection: The name of the collection.
        feature: The name of the frame feature.
        encoder: The frame encoder that computed the feature: a built-in name, a hub id or a folder.
        fps: The frames per second that were sampled from each video,
        num_frames: or the number of frames.
    """

    languages: Many[Name] = ()
    collection: Name | None = None
    feature: Name | None = None
    encoder: Name | None = None
    fps: Rate | None = None
    num_frames: Size | None = None
