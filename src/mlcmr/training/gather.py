"""Features of all processes, with gradients."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def gather(features: Tensor) -> Tensor:
    """From this process's (B, F) to all processes' (global B, F), in the order of the processes.

    Gradients flow back to the process that each row came from. Every process then computes the loss of the
    whole batch, and DDP's mean over processes gives the gradients of one process with that batch; where there
    is dropout, each has drawn its own, and they are the gradients of the mean of these losses. The processes
    may hold different numbers of rows.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return features
    sizes = [torch.zeros(1, dtype=torch.int64, device=features.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(features)], device=features.device))
    rows = [int(size) for size in sizes]
    padded = F.pad(features, (0, 0, 0, max(rows) - len(features)))
    parts: Tensor = _Gather.apply(padded)  # type: ignore[no-untyped-call]
    return torch.cat([part[:size] for part, size in zip(parts, rows, strict=True)])


class _Gather(torch.autograd.Function):
    """(B, F) to (processes, B, F); the gradient of a row is the sum of what all processes made of it."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:  # noqa: ARG004
        parts = [torch.empty_like(features) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, features.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone()  # it is summed in place
        dist.all_reduce(total)
        return total[dist.get_rank()]
