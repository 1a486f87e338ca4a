"""The contract of a text pooling."""

from collections.abc import Callable

import torch
from torch import nn

from mlcmr.model.encoders.pooling import Pooling


def check_pooling(pooling: Pooling | Callable[[int], Pooling], *, size: int = 16) -> None:
    """Check that a pooling can be part of a text encoder.

    Args:
        pooling: The pooling, or a class that takes the size of a state.
        size: The size of the states that the pooling takes.

    Raises:
        AssertionError: If a property of a pooling does not hold.
    """
    pool: Pooling = pooling(size) if isinstance(pooling, type) else pooling  # type: ignore[assignment]
    if isinstance(pool, nn.Module):
        pool.double().eval()
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(4, 7, size, generator=generator, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([7, 1, 4, 2])
    features = pool(states, lengths)
    assert isinstance(features, torch.Tensor), f"a pooling returns a tensor, not {type(features).__name__}"
    assert features.ndim == 2, "a pooling returns one vector per text, (B, F)"
    assert len(features) == 4, "a pooling returns one vector per text, (B, F)"
    assert features.dtype == torch.float64, "features have the type of the states"
    assert torch.isfinite(features).all(), "features are finite numbers"
    assert torch.equal(features, pool(states, lengths)), "the same states give the same features"

    padded = states.detach().clone()
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = 100 + row
    torch.testing.assert_close(
        pool(padded, lengths), features.detach(), rtol=0, atol=1e-9, msg="padding does not change features"
    )
    for row, length in enumerate(lengths.tolist()):
        alone = pool(states[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(
            alone, features[row : row + 1], rtol=0, atol=1e-9, msg="a feature does not depend on its batch"
        )
    (gradient,) = torch.autograd.grad(features.sum(), states, allow_unused=True)
    assert gradient is not None, "features have gradients"
    assert torch.isfinite(gradient).all(), "gradients are finite"
