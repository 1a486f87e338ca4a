"""How fast the machine is at this moment: a large matrix product, a memory copy."""

import numpy as np
import torch

from benchmarks.measure import Time, median_time

_SIZE = 4096
_COPY_BYTES = 256 * 2**20


def product_gflops(device: str = "cpu") -> Time:
    """GFLOP/s of a float32 matrix product: by the clock, and by the processor time of its threads."""
    a, b = torch.randn(2, _SIZE, _SIZE, device=device)
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, b, out=out)
        if device == "cuda":
            torch.cuda.synchronize()

    time = median_time(multiply, repeats=5)
    work = 2 * _SIZE**3 / 1e9
    return Time(work / time.wall, work / (time.cpu / torch.get_num_threads()))


def copy_gbs() -> Time:
    """GB/s, reads plus writes, of copying memory in one thread."""
    source = np.ones(_COPY_BYTES // 4, np.float32)
    target = np.empty_like(source)
    time = median_time(lambda: np.copyto(target, source), repeats=5)
    work = 2 * _COPY_BYTES / 1e9
    return Time(work / time.wall, work / time.cpu)
