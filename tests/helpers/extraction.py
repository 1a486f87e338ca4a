"""Extraction in tests: a quick run, and tiny models of real architectures."""

from pathlib import Path

import torch

from mlcmr.extraction import ExtractionSummary, extract
from mlcmr.extraction.encoders.histogram import HistogramEncoder

LIGHT = HistogramEncoder()


def run(videos: Path, collection: Path, **options) -> ExtractionSummary:
    return extract(videos, collection, **{"workers": 2, **options})


VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


TEXT = {**VISION, "vocab_size": 99}


SMALL = {"image_size": 32, "patch_size": 16}


def save(folder: Path, model, processor) -> Path:
    torch.manual_seed(0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_model(kind: str, parent: Path) -> Path:
    """A tiny randomly initialised model of a real architecture, as it is shared."""
    import transformers as t

    size = {"size": {"height": 32, "width": 32}}
    clip = t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    vit = t.ViTImageProcessorPil(**size)
    video = t.VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    torch.manual_seed(0)
    match kind:
        case "clip":
            config = t.CLIPConfig(text_config=TEXT, vision_config=VISION | SMALL, projection_dim=12)
            return save(parent / kind, t.CLIPModel(config), clip)
        case "clip-vision":
            model = t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(**VISION, **SMALL, projection_dim=12))
            return save(parent / kind, model, clip)
        case "siglip":
            config = t.SiglipConfig(text_config=TEXT, vision_config=VISION | SMALL)
            return save(parent / kind, t.SiglipModel(config), t.SiglipImageProcessorPil(**size))
        case "vit":
            return save(parent / kind, t.ViTModel(t.ViTConfig(**VISION, **SMALL)), vit)
        case "vit-classifier":  # without the pooler that AutoModel would add
            return save(parent / kind, t.ViTForImageClassification(t.ViTConfig(**VISION, **SMALL)), vit)
        case "dinov2":
            config = t.Dinov2Config(**{**VISION, **SMALL, "patch_size": 8})
            return save(parent / kind, t.Dinov2Model(config), vit)
        case "convnext":
            config = t.ConvNextConfig(hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1])
            return save(
                parent / kind,
                t.ConvNextModel(config),
                t.ConvNextImageProcessorPil(size={"shortest_edge": 384}),
            )
        case "videomae":
            config = t.VideoMAEConfig(**VISION, **SMALL, num_frames=4)
            return save(parent / kind, t.VideoMAEModel(config), video)
        case "timesformer":
            config = t.TimesformerConfig(**VISION, **SMALL, num_frames=4)
            return save(parent / kind, t.TimesformerModel(config), video)
    raise AssertionError(kind)
