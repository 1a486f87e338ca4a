"""Models: encoders of texts and videos, projection heads, weights on disk and on the hub."""

from typing import TYPE_CHECKING

from mlcmr.lazy import lazy_names

if TYPE_CHECKING:
    from mlcmr.model.config import ModelConfig as ModelConfig
    from mlcmr.model.config import NewEncoder as NewEncoder
    from mlcmr.model.config import TextConfig as TextConfig
    from mlcmr.model.config import VideoConfig as VideoConfig
    from mlcmr.model.encoders.pooling import Pooling as Pooling
    from mlcmr.model.legacy_checkpoint import import_checkpoint as import_checkpoint
    from mlcmr.model.legacy_checkpoint import read_legacy_checkpoint as read_legacy_checkpoint
    from mlcmr.model.mlcmr import MLCMR as MLCMR
    from mlcmr.model.outputs import ViewEmbeddings as ViewEmbeddings
    from mlcmr.model.protocol import TextVideoModel as TextVideoModel
    from mlcmr.model.provenance import Provenance as Provenance
    from mlcmr.model.sentence import SentenceTower as SentenceTower
    from mlcmr.model.two_tower import TwoTower as TwoTower

__all__ = [
    "MLCMR",
    "ModelConfig",
    "NewEncoder",
    "Pooling",
    "Provenance",
    "SentenceTower",
    "TextConfig",
    "TextVideoModel",
    "TwoTower",
    "VideoConfig",
    "ViewEmbeddings",
    "import_checkpoint",
    "read_legacy_checkpoint",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MLCMR": "mlcmr",
        "ModelConfig": "config",
        "NewEncoder": "config",
        "Pooling": "encoders.pooling",
        "Provenance": "provenance",
        "SentenceTower": "sentence",
        "TextConfig": "config",
        "TextVideoModel": "protocol",
        "TwoTower": "two_tower",
        "VideoConfig": "config",
        "ViewEmbeddings": "outputs",
        "import_checkpoint": "legacy_checkpoint",
        "read_legacy_checkpoint": "legacy_checkpoint",
    },
)
