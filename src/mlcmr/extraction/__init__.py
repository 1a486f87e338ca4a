"""Extraction of frame features, segments and thumbnails from videos and images.

The names below are imported when they are first used. Most need PyAV and Pillow
(`pip install 'mlcmr[video]'`); without these packages they raise `MissingDependencyError`.
"""

import logging
from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.extraction.encoders.base import FrameEncoder
    from mlcmr.extraction.encoders.registry import load_encoder
    from mlcmr.extraction.extract_collection import extract, sample_file
    from mlcmr.extraction.media.sampling import Sampling
    from mlcmr.extraction.records import Segment, VideoRecord, read_videos
    from mlcmr.extraction.summary import ExtractionSummary

__all__ = [
    "ExtractionSummary",
    "FrameEncoder",
    "Sampling",
    "Segment",
    "VideoRecord",
    "extract",
    "load_encoder",
    "read_videos",
    "sample_file",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ExtractionSummary": "summary",
        "FrameEncoder": "encoders.base",
        "Sampling": "media.sampling",
        "Segment": "records",
        "VideoRecord": "records",
        "extract": "extract_collection",
        "load_encoder": "encoders.registry",
        "read_videos": "records",
        "sample_file": "extract_collection",
    },
)

# Errors of damaged images are raised and shown in one line. Pillow's own log adds nothing for users.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
