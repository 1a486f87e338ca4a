"""Models of sentence-transformers as frame encoders."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlcmr.data.features.finite import require_finite
from mlcmr.errors import InvalidValueError
from mlcmr.extraction.encoders.base import feature_name
from mlcmr.extraction.media.images import Picture, resize
from mlcmr.model.device import enough_memory, find_device
from mlcmr.model.hub import fetch_model
from mlcmr.model.sentence import open_sentence_model

WINDOW = 8
"""The number of frames in a window, for models that take videos."""
_FPS = 2.0
_LONGEST, _SHORTEST = 448, 32  # sides of a picture in pixels; the model's own processor resizes further
_BATCH = {"cpu": 1, "cuda": 8}  # windows


class SentenceEncoder:
    """A model that sentence-transformers opens, with images or videos (extra `omni`).

    The feature of a window of frames is the embedding of this window as a video. Frames have the time stamps
    of 2 frames a second, and the processor does not sample them again. A window of equal pictures, such as a
    photograph, is embedded as an image if the model takes images. A model without videos embeds each frame.

    Args:
        name: Hub id or folder.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        MissingDependencyError: If the extra `omni`, or a package that the model needs, is not installed.
        MlcmrError: If there is no such model, or it cannot be opened.
    """

    fps = _FPS
    needs_previous_frame = False

    def __init__(self, name: str, *, device: str = "auto") -> None:
        self.name = name
        self.feature = feature_name(name)
        self._sentence = open_sentence_model(fetch_model(name, "encoder"))
        self.device = find_device(device)
        with enough_memory(self.device, "choose another `device`, such as cpu"):
            self._sentence.model.to(self.device)
        self.dimension = self._sentence.size
        self.frames_per_feature = WINDOW if self._sentence.takes_videos else 1
        pictures = 1 if self._sentence.takes_videos else WINDOW  # as many as windows hold
        self.batch_size = _BATCH.get(self.device.type, 8) * pictures
        self._require_one_space()

    def _require_one_space(self) -> None:
        """Find now what would otherwise fail in the middle of the work.

        Raises:
            InvalidValueError: If pictures cannot be embedded, or not in the space of texts.
        """
        draw = np.random.default_rng(0)
        window = draw.integers(0, 256, (self.frames_per_feature, 64, 64, 3), np.uint8)
        for as_images in {self._sentence.takes_images, not self._sentence.takes_videos}:
            found = self._embed([window], as_images=as_images)
            if found.shape != (1, self.dimension):
                raise InvalidValueError(
                    f"encoder '{self.name}': embeds texts in {self.dimension:,} numbers, but pictures in "
                    f"{found.shape[-1]:,}; choose another model",
                    parameter="encoder",
                )
            require_finite(found, lambda _: f"encoder '{self.name}': the feature of any picture")

    def prepare(self, picture: Picture) -> NDArray[np.uint8]:
        """Make a large picture smaller, in its own aspect ratio."""
        height, width = picture.shape[:2]
        scale = min(1, _LONGEST / max(height, width))
        return resize(picture, max(round(width * scale), _SHORTEST), max(round(height * scale), _SHORTEST))

    def encode_prepared(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Compute the features of prepared pictures, (n, dimension).

        Raises:
            OutOfResourcesError: If there is not enough memory.
        """
        size = self.frames_per_feature
        windows = [np.stack(prepared[start : start + size]) for start in range(0, len(prepared), size)]
        still = [self._sentence.takes_images and (window == window[:1]).all() for window in windows]
        features = np.empty((len(windows), self.dimension), np.float32)
        for is_still in {*still}:
            rows = [row for row, one in enumerate(still) if one == is_still]
            features[rows] = self._embed([windows[row] for row in rows], as_images=is_still)
        return features

    def encode(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Compute the features of pictures, (n, dimension)."""
        return self.encode_prepared([self.prepare(picture) for picture in pictures])

    def _embed(self, windows: Sequence[NDArray[Any]], *, as_images: bool) -> NDArray[np.float32]:
        """Embed windows of frames, each (frames, height, width, 3), as videos or by their first frames."""
        with enough_memory(self.device, "choose a smaller `batch_size`, or another `device`"):
            if as_images:
                images = [{"image": Image.fromarray(window[0])} for window in windows]
                found = self._sentence.documents(images)
            else:
                videos = [{"video": _timed(window)} for window in windows]
                options = {"video": {"do_sample_frames": False}}
                found = self._sentence.documents(videos, processing_kwargs=options)
        numbers: NDArray[np.float32] = found.numpy()
        return numbers


def _timed(window: NDArray[Any]) -> Mapping[str, Any]:
    """Return a window with the time stamps of its frames, as sentence-transformers takes a video."""
    count = len(window)
    times = {"fps": _FPS, "total_num_frames": count, "frames_indices": list(range(count))}
    return {"array": window.transpose(0, 3, 1, 2), "video_metadata": {**times, "duration": count / _FPS}}
