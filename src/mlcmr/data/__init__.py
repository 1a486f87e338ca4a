"""Files and arrays: collections, captions, languages, scenarios, frame features and batches. No models.

The names below are for use from elsewhere. `mlcmr.data.features`, `mlcmr.data.check` and `mlcmr.data.prepare`
are packages of their own; `mlcmr.data.batches` needs torch, so it is imported by itself.
"""

from mlcmr.data.captions import Captions, read_captions, write_captions
from mlcmr.data.collection import Collection, open_collection
from mlcmr.data.config import DataConfig
from mlcmr.data.features import FrameFeatures, open_features, write_features
from mlcmr.data.languages import LanguageProfile, language_code, language_profile
from mlcmr.data.scenarios import Scenario, ScenarioKind, read_queries, read_training_pairs

__all__ = [
    "Captions",
    "Collection",
    "DataConfig",
    "FrameFeatures",
    "LanguageProfile",
    "Scenario",
    "ScenarioKind",
    "language_code",
    "language_profile",
    "open_collection",
    "open_features",
    "read_captions",
    "read_queries",
    "read_training_pairs",
    "write_captions",
    "write_features",
]
