"""Frame features on disk."""

from mlcmr.data.features.frame_features import Features, FrameFeatures, open_features, write_features

__all__ = ["Features", "FrameFeatures", "open_features", "write_features"]
