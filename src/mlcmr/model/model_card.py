"""The model card: the `README.md` of a model folder, which the hub shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from mlcmr.data.languages import language_name
from mlcmr.model.config import ModelConfig
from mlcmr.model.provenance import Provenance

CARD = "README.md"
_TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
_TAGS = ["text-video-retrieval", "video-retrieval", "multilingual"]


def model_card(
    name: str,
    config: ModelConfig,
    feature_size: int,
    provenance: Provenance,
    *,
    address: str,
    scores: Mapping[str, float] | None = None,
) -> str:
    """Return the model card of a model.

    Args:
        name: The title.
        config: The settings of the model.
        feature_size: The size of a frame feature.
        provenance: The data that the model was trained on.
        address: The folder or hub id from which a reader opens the model.
        scores: The scores of the model by metric.
    """
    new = config.text.new
    card: Any = ModelCard.from_template(
        ModelCardData(library_name="mlcmr", language=list(provenance.languages) or None, tags=_TAGS),
        template_path=str(_TEMPLATE),
        name=name,
        address=address,
        size=config.embedding_size,
        languages=[language_name(code) or code for code in provenance.languages],
        known=provenance,
        text_encoder=f"new, {new.layers} layers" if new else _public(config.text.encoder),
        pooling=config.text.pooling,
        feature_size=feature_size,
        frame_encoder=_public(provenance.encoder) if provenance.encoder else None,
        sampling=_sampling(provenance),
        scores=dict(scores or {}),
    )
    return str(card)


def _public(name: str) -> str:
    """Return a hub id as it is, and the last part of a folder: the card may be uploaded."""
    return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name


def _sampling(provenance: Provenance) -> str:
    if provenance.fps is not None:
        return f"{provenance.fps:g} frames per second"
    return f"{provenance.num_frames} frames per video" if provenance.num_frames is not None else ""
