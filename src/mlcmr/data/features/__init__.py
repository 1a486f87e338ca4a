"""Frame features on disk: read, written, and converted from and to other forms."""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.data.features.convert import FeatureSize as FeatureSize
    from mlcmr.data.features.convert import arrays_to_features as arrays_to_features
    from mlcmr.data.features.convert import features_to_arrays as features_to_arrays
    from mlcmr.data.features.convert import join_features as join_features
    from mlcmr.data.features.convert import select_videos as select_videos
    from mlcmr.data.features.convert import text_to_features as text_to_features
    from mlcmr.data.features.convert import write_video2frames as write_video2frames
    from mlcmr.data.features.frame_features import Features as Features
    from mlcmr.data.features.frame_features import FrameFeatures as FrameFeatures
    from mlcmr.data.features.frame_features import open_features as open_features
    from mlcmr.data.features.frame_features import write_features as write_features

__all__ = [
    "FeatureSize",
    "Features",
    "FrameFeatures",
    "arrays_to_features",
    "features_to_arrays",
    "join_features",
    "open_features",
    "select_videos",
    "text_to_features",
    "write_features",
    "write_video2frames",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "FeatureSize": "convert",
        "Features": "frame_features",
        "FrameFeatures": "frame_features",
        "arrays_to_features": "convert",
        "features_to_arrays": "convert",
        "join_features": "convert",
        "open_features": "frame_features",
        "select_videos": "convert",
        "text_to_features": "convert",
        "write_features": "frame_features",
        "write_video2frames": "convert",
    },
)
