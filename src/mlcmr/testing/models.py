"""The contract of a model that puts texts and videos into one space."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcmr.model.protocol import Advance, TextVideoModel

_TEXTS = {
    "en": ["A small red circle moves to the left.", "a dog catches a frisbee", "x", "two green stars grow"],
    "zh": ["一个红色的圆向左移动", "一只狗在接飞盘", "人", "两颗绿色的星星变大"],
}
_ROUNDING = 1e-4
"""The largest difference between embeddings from batches of different sizes."""
_Item = TypeVar("_Item")


def check_model(model: TextVideoModel, *, feature_size: int) -> None:
    """Check that a model can be evaluated.

    Embeddings are float32 on the CPU, without gradients, finite and of length 1; those of texts and of videos
    have the same size.

    Args:
        model: The model.
        feature_size: The size of the frame features that the model takes.

    Raises:
        AssertionError: If a property does not hold; the message states the property.
    """
    for method in ("encode_texts", "encode_videos"):
        assert callable(getattr(model, method, None)), f"a model has the method `{method}`"
    sizes = set()
    for language, texts in _TEXTS.items():

        def encode_texts(
            items: Sequence[str], size: int, advance: Advance, language: str = language
        ) -> Tensor:
            return model.encode_texts(list(items), language, batch_size=size, advance=advance)

        sizes.add(_check_embeddings(encode_texts, texts, f"text in '{language}'"))

    def encode_videos(items: Sequence[NDArray[np.float32]], size: int, advance: Advance) -> Tensor:
        return model.encode_videos(iter(items), batch_size=size, advance=advance)

    videos = _draw_videos(feature_size)
    model.encode_videos(iter(videos))
    for video, original in zip(videos, _draw_videos(feature_size), strict=True):
        assert np.array_equal(video, original), "a model does not change frame features"
    sizes.add(_check_embeddings(encode_videos, videos, "video"))
    assert len(sizes) == 1, "embeddings of texts and videos have the same size"


def _check_embeddings(
    encode: Callable[[Sequence[_Item], int, Advance], Tensor], items: Sequence[_Item], what: str
) -> int:
    """Check the embeddings of texts or videos; return their size."""
    done: list[int] = []
    rows = encode(items, 3, done.append)
    where = f"of a {what}"
    assert isinstance(rows, Tensor), f"embeddings {where} are a tensor"
    assert rows.ndim == 2, f"there is one embedding per item, (N, D), {where}"
    assert len(rows) == len(items), f"there is one embedding per item, (N, D), {where}"
    assert rows.dtype == torch.float32, f"embeddings {where} are float32"
    assert rows.device.type == "cpu", f"embeddings {where} are on the CPU"
    assert not rows.requires_grad, f"embeddings {where} have no gradients"
    assert torch.isfinite(rows).all(), f"embeddings {where} are finite numbers"
    torch.testing.assert_close(
        rows.norm(dim=1), torch.ones(len(rows)), rtol=0, atol=_ROUNDING, msg=f"the length {where} is 1"
    )
    assert sum(done) in (0, len(items)), f"the numbers that `advance` gets add up to N, {where}"
    assert not torch.allclose(rows, rows[:1]), f"the embedding {where} depends on the item"
    assert torch.equal(rows, encode(items, 3, done.append)), f"equal items have equal embeddings, {where}"
    alone = torch.cat([encode([item], 1, done.append) for item in items])
    torch.testing.assert_close(
        rows, alone, rtol=0, atol=_ROUNDING, msg=f"the embedding {where} does not depend on its batch"
    )
    return rows.shape[1]


def _draw_videos(size: int) -> list[NDArray[np.float32]]:
    """Draw frame features of videos of different lengths."""
    random = np.random.default_rng(0)
    return [random.normal(size=(frames, size)).astype(np.float32) for frames in (5, 1, 9, 2)]
