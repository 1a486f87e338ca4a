"""Hugging Face image and video models as frame encoders."""

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoVideoProcessor

from mlcmr.data.features.finite import require_finite
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.extraction.encoders.base import feature_name
from mlcmr.extraction.encoders.histogram import HISTOGRAM
from mlcmr.extraction.media.images import Picture
from mlcmr.model.device import enough_memory, on_device
from mlcmr.model.foreign import open_config, open_foreign_model, read_shapes, require_small_pictures
from mlcmr.model.hf_errors import opening
from mlcmr.model.hub import find_model
from mlcmr.model.repeatable import require_repeatable

IMAGE_FPS, VIDEO_FPS = 2.0, 8.0
"""Frames per second for image models, and for video models, whose windows show motion."""

_BATCH = {"cpu": 8, "cuda": 64}
_PROBES = ((64, 64), (48, 96), (120, 40))
"""Heights and widths of the pictures with which an encoder is tried when it is opened."""


class HuggingFaceEncoder:
    """An image model (CLIP, SigLIP, DINOv2, ViT, ConvNeXt…) or video model (X-CLIP, VideoMAE, TimeSformer…).

    The feature of a picture, or of a window of pictures, is the first of these that the model has: the
    embedding in the common space with texts (CLIP, SigLIP, X-CLIP, VideoPrism); the pooled output, if its
    weights were trained; the class token; the mean over patches. The model's own processor prepares pictures,
    with Pillow. A processor of videos needs torchvision.

    Args:
        name: Hub id or folder.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        InvalidValueError: If the model takes no pictures, computes no single vector per picture or another
            one each time, its processor returns pictures of several shapes, or the device does not exist.
        CorruptFileError: If weights are missing.
        MlcmrError: If there is no such model, or it cannot be opened.
    """

    needs_previous_frame = False

    def __init__(self, name: str, *, device: str = "auto") -> None:
        self.name = name
        self.feature = feature_name(name)
        name = find_model(name, "encoder", "encoder", built_in=[HISTOGRAM])
        with _opening_frame_encoder(name):
            config = open_config(name, read_shapes(name))
            model, missing = open_foreign_model(name, _model_class(config), config, role="encoder")
            _require_pictures(model, name)
            require_small_pictures(name)
            self._takes_videos = _takes_videos(model)
            self._processor = _open_processor(name, videos=self._takes_videos)
        self._pooler_trained = not any("pooler" in key for key in missing)
        if untrained := sorted(key for key in missing if "pooler" not in key):
            raise CorruptFileError(
                f"encoder '{name}': weights are missing, {untrained[0]} and {len(untrained) - 1} more"
            )
        self._model = on_device(model.eval(), device)
        self._compute = _embedding_method(model) or self._model
        accepted = inspect.signature(getattr(self._compute, "forward", self._compute)).parameters
        # Besides the pixels, some models take a mask of padded pixels (SigLIP 2 NaFlex).
        self._inputs = [key for key in self._processor.model_input_names if key in accepted]
        self._pixels = "pixel_values_videos" if self._takes_videos else "pixel_values"
        self.device: torch.device = model.device
        self._has_class_token = any(
            key.rpartition(".")[2] in {"cls_token", "class_embedding"} for key, _ in model.named_parameters()
        )
        vision = getattr(config, "vision_config", None) or config
        self.frames_per_feature = int(getattr(vision, "num_frames", 0) or 1)
        self.fps = VIDEO_FPS if self.frames_per_feature > 1 else IMAGE_FPS
        self.batch_size = max(_BATCH.get(self.device.type, 64) // self.frames_per_feature, 1)
        with _opening_frame_encoder(name):
            self.dimension = self._probe(f"encoder '{name}'")

    def _probe(self, subject: str) -> int:
        """Return the size of a feature; find now what would otherwise fail in the middle of the work."""
        draw = np.random.default_rng(0)
        prepared = [self.prepare(draw.integers(0, 256, (*size, 3), np.uint8)) for size in _PROBES]
        if len({(picture.shape, picture.dtype) for picture in prepared}) > 1:
            shapes = ", ".join(" × ".join(map(str, picture.shape)) for picture in prepared)
            raise InvalidValueError(
                f"{subject}: its processor makes pictures of several shapes ({shapes}), but the model takes "
                "batches of one shape; set crop_size and do_center_crop in a copy of its "
                "preprocessor_config.json, or choose another",
                parameter="encoder",
            )
        window = prepared[:1] * self.frames_per_feature
        features = require_repeatable(lambda: torch.from_numpy(self.encode_prepared(window)), subject)
        require_finite(
            features.numpy(), lambda _: f"{subject}: the feature of any picture", "the weights are damaged"
        )
        return features.shape[1]

    def prepare(self, picture: Picture) -> NDArray[np.generic]:
        """Prepare a picture with the model's processor.

        Returns:
            Channels × height × width; if the model takes several arrays, one structured element.
        """
        if self._takes_videos:
            video = picture.transpose(2, 0, 1)[None]  # one frame, without the sampling of longer videos
            options = {"do_sample_frames": False, "input_data_format": "channels_first"}
            prepared = self._processor(videos=[video], return_tensors="pt", **options)[self._pixels]
            one: NDArray[np.float32] = np.asarray(prepared, np.float32).reshape(prepared.shape[-3:])
            return one
        images: Any = Image.fromarray(picture)  # for an array the processor would guess which axis is colour
        if self.frames_per_feature > 1:
            images = [images]
        arrays = self._processor(images=images, return_tensors="np", input_data_format="channels_last")
        if len(self._inputs) > 1:
            return _one_element({key: np.asarray(arrays[key])[0] for key in self._inputs if key in arrays})
        pixels = np.asarray(arrays["pixel_values"], np.float32)
        return pixels.reshape(pixels.shape[-3:])

    def encode_prepared(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Compute the features of prepared pictures, (n, dimension).

        Raises:
            OutOfResourcesError: If there is not enough memory.
        """
        is_batch = len(prepared) > self.frames_per_feature
        advice = (
            "choose a smaller `batch_size`" if is_batch else "choose another `device`, or a smaller model"
        )
        with enough_memory(self.device, advice), torch.inference_mode():
            stacked = np.stack(prepared)
            fields: Mapping[str, Any] = stacked.dtype.fields or {}
            arrays = {key: stacked[key] for key in fields} or {"pixel_values": stacked}
            inputs = {
                key: torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
                for key, array in arrays.items()
            }
            if self.frames_per_feature > 1:
                pixels = inputs["pixel_values"]
                inputs["pixel_values"] = pixels.reshape(-1, self.frames_per_feature, *pixels.shape[1:])
            numbers: NDArray[np.float32] = self._vectors(**inputs).float().cpu().numpy()
        return numbers

    def encode(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Compute the features of pictures, (n, dimension)."""
        return self.encode_prepared([self.prepare(picture) for picture in pictures])

    def _vectors(self, pixel_values: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        """Return a vector per picture or window, (n, dimension)."""
        features = self._features(pixel_values, **others)
        # Convolutional networks may leave two axes of length 1, and VideoPrism leaves one before the vector.
        if isinstance(features, torch.Tensor) and features.ndim > 1:
            sizes = features.shape[1:]
            if math.prod(sizes) == max(sizes):
                return features.flatten(1)
        raise InvalidValueError(
            f"encoder '{self.name}': the picture features of {type(self._model).__name__} are not one vector "
            "per picture; choose a model such as CLIP or DINOv2",
            parameter="encoder",
        )

    def _features(self, pixels: torch.Tensor, **others: torch.Tensor) -> Any:
        if self._model.config.model_type == "vit_mae":
            # The model masks patches in random order. Here it sees all patches, in their own order.
            self._model.config.mask_ratio = 0.0
            patches = int(self._model.embeddings.patch_embeddings.num_patches)
            others["noise"] = torch.arange(patches, device=self.device).expand(len(pixels), -1)
        output = self._compute(**{self._pixels: pixels}, **others)
        if _embedding_method(self._model) is not None:
            return output if isinstance(output, torch.Tensor) else output.pooler_output
        if (embedded := getattr(output, "image_embeds", None)) is not None:
            return embedded
        if self._pooler_trained and (pooled := getattr(output, "pooler_output", None)) is not None:
            return pooled
        hidden: torch.Tensor = output.last_hidden_state
        if hidden.ndim == 4:  # of a convolutional network: channels × height × width
            return hidden.mean(dim=(2, 3))
        return hidden[:, 0] if self._has_class_token else hidden.mean(dim=1)


def _one_element(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.generic]:
    """Return arrays of any types and shapes as the fields of one structured element."""
    element = np.empty((), [(key, array.dtype, array.shape) for key, array in arrays.items()])
    for key, array in arrays.items():
        element[key] = array
    return element


def _embedding_method(model: Any) -> Any:
    """Return the method that embeds pictures or videos into a common space with texts; None without any."""
    return getattr(model, "get_image_features", None) or getattr(model, "get_video_features", None)


def _takes_videos(model: Any) -> bool:
    """Return whether a model embeds videos, and takes them in the form of a processor of videos."""
    method = _embedding_method(model)
    return method is not None and "pixel_values_videos" in inspect.signature(method).parameters


def _open_processor(name: str, *, videos: bool) -> Any:
    """Open the processor of a model: of pictures, by Pillow, or of videos, by torchvision."""
    processors: Any = AutoVideoProcessor if videos else AutoImageProcessor
    options = {} if videos else {"backend": "pil"}
    return processors.from_pretrained(name, trust_remote_code=False, **options)


def _require_pictures(model: Any, name: str) -> None:
    """Refuse a model that takes texts or sound, or videos without a space shared with texts (V-JEPA 2).

    Raises:
        InvalidValueError: If the model takes no pictures.
    """
    if _embedding_method(model) is not None:
        return
    main_input = model.main_input_name
    if main_input == "pixel_values_videos":
        raise InvalidValueError(
            f"encoder '{name}': {type(model).__name__} reads videos, not pictures, and is not supported; "
            "choose an image model such as CLIP or DINOv2, or VideoMAE or TimeSformer",
            parameter="encoder",
        )
    if not main_input.startswith("pixel_values"):
        raise InvalidValueError(
            f"encoder '{name}': {type(model).__name__} takes no pictures; choose an image model",
            parameter="encoder",
        )


def _model_class(config: Any) -> Any:
    # AutoModel would drop the projection of such an image tower.
    name = next(iter(config.architectures or []), "")
    return getattr(transformers, name) if name.endswith("VisionModelWithProjection") else AutoModel


def _opening_frame_encoder(name: str) -> AbstractContextManager[None]:
    return opening(
        f"encoder '{name}'",
        "not a supported image or video model with its preprocessor_config.json, by folder or hub id",
        quiet=True,
    )
