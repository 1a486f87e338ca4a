"""The data that a run trains on, for the folder of its model."""

from mlcmr.errors import MlcmrError
from mlcmr.extraction.feature_writer import read_encoder_settings
from mlcmr.model.provenance import Provenance
from mlcmr.training.config import TrainConfig


def provenance_of(config: TrainConfig) -> Provenance:
    """Return the languages, the collection and the frame feature of a run, and the origin of the feature."""
    try:
        folder = config.open_collection().feature_folder(config.feature)
        extraction = read_encoder_settings(folder)
    except MlcmrError:  # `mlcmr extract` did not make this feature
        extraction = {}
    return Provenance(
        tuple(config.languages),
        config.collection,
        config.feature,
        extraction.get("encoder"),
        extraction.get("rate"),
        extraction.get("count"),
    )
