"""Hugging Face image and video models as encoders."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from mlcmr.errors import UserError
from mlcmr.extraction.encoders import feature_name
from mlcmr.extraction.pictures import Picture
from mlcmr.model.device import enough_memory, on_device
from mlcmr.model.hub import find_model
from mlcmr.model.opening import opening

IMAGE_RATE, VIDEO_RATE = 2.0, 8.0
"""Frames a second for image models, and for video models, whose windows are to see motion."""

_BATCH = {"cpu": 8, "cuda": 64}


class PretrainedEncoder:
    """An image model (CLIP, SigLIP, DINOv2, ViT, ConvNeXt…) or video model (VideoMAE, TimeSformer…).

    A picture's feature is, of these, the first that the model has: the embedding in the space that it shares
    with texts (CLIP, SigLIP); its pooled output, where that was trained; its class token; the mean over its
    patches. Pictures are prepared as the model's own processor says, by Pillow.

    Args:
        name: Hub id or folder.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        UserError: there is no such model, it takes no pictures, or the device is not there.
    """

    looks_back = False

    def __init__(self, name: str, *, device: str = "auto") -> None:
        self.name = name
        self.feature = feature_name(name)
        name = find_model(name, "--encoder", "encoder")
        with _opening(name):
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
            kind = _model_class(config)
            model, loaded = kind.from_pretrained(
                name, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
            processors: Any = AutoImageProcessor
            self._processor = processors.from_pretrained(name, backend="pil", trust_remote_code=False)
        if not model.main_input_name.startswith("pixel_values") and not _embeds_images(model):
            raise UserError(
                f"encoder '{name}': {type(model).__name__} takes no pictures; choose an image model"
            )
        missing = set(loaded["missing_keys"])
        self._pooler_trained = not any("pooler" in key for key in missing)
        if untrained := sorted(key for key in missing if "pooler" not in key):
            raise UserError(
                f"encoder '{name}': weights are missing, {untrained[0]} and {len(untrained) - 1} more"
            )
        self._model = on_device(model.eval(), device)
        self.device: torch.device = model.device
        self._has_class_token = any(
            key.rpartition(".")[2] in {"cls_token", "class_embedding"} for key, _ in model.named_parameters()
        )
        vision = getattr(config, "vision_config", None) or config
        self.frames_per_feature = int(getattr(vision, "num_frames", 0) or 1)
        self.rate = VIDEO_RATE if self.frames_per_feature > 1 else IMAGE_RATE
        self.batch_size = max(_BATCH.get(self.device.type, 64) // self.frames_per_feature, 1)
        blank = np.zeros((64, 64, 3), np.uint8)
        with _opening(name):
            self.dimension = self.encode([blank] * self.frames_per_feature).shape[1]

    def prepare(self, picture: Picture) -> NDArray[np.float32]:
        """What the model's processor makes of a picture: channels × height × width."""
        images: Any = Image.fromarray(picture)  # an array's channels would be guessed from its shape
        if self.frames_per_feature > 1:
            images = [images]
        pixels = self._processor(images=images, return_tensors="np")["pixel_values"]
        return np.asarray(pixels, np.float32).reshape(np.shape(pixels)[-3:])

    def encode_prepared(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Features of prepared pictures, (n, dimension).

        Raises:
            UserError: memory is short.
        """
        several = len(prepared) > self.frames_per_feature
        advice = "choose a smaller --batch-size" if several else "choose another --device, or a smaller model"
        with enough_memory(self.device, advice), torch.inference_mode():
            pixels = torch.from_numpy(np.stack(prepared)).to(self.device)
            if self.frames_per_feature > 1:
                pixels = pixels.reshape(-1, self.frames_per_feature, *pixels.shape[1:])
            numbers: NDArray[np.float32] = self._features(pixels).flatten(1).float().cpu().numpy()
        return numbers

    def encode(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Features of pictures, (n, dimension)."""
        return self.encode_prepared([self.prepare(picture) for picture in pictures])

    def _features(self, pixels: torch.Tensor) -> Any:
        if _embeds_images(self._model):
            output = self._model.get_image_features(pixel_values=pixels)
            return output if isinstance(output, torch.Tensor) else output.pooler_output
        output = self._model(pixel_values=pixels)
        if (embedded := getattr(output, "image_embeds", None)) is not None:
            return embedded
        if self._pooler_trained and (pooled := getattr(output, "pooler_output", None)) is not None:
            return pooled
        hidden: torch.Tensor = output.last_hidden_state
        if hidden.ndim == 4:  # a convolutional network's: channels × height × width
            return hidden.mean(dim=(2, 3))
        return hidden[:, 0] if self._has_class_token else hidden.mean(dim=1)


def _embeds_images(model: Any) -> bool:
    """Whether it has images and texts in one space."""
    return hasattr(model, "get_image_features")


def _model_class(config: Any) -> Any:
    # AutoModel would leave out the projection of such a vision half.
    name = next(iter(config.architectures or []), "")
    return getattr(transformers, name) if name.endswith("VisionModelWithProjection") else AutoModel


def _opening(name: str) -> AbstractContextManager[None]:
    return opening(
        f"encoder '{name}': no image or video model that can be used, by folder or hub id, with its "
        "preprocessor_config.json",
        quiet=True,
    )
