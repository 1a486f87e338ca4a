"""The present speed of the machine: a large matrix product, a memory copy."""

from typing import Any

import numpy as np
import torch

from benchmarks import published
from benchmarks.measure import Options, Time, fresh, median_time
from benchmarks.table import Row

_SIZE = 4096
_COPY_BYTES = 256 * 2**20


def rows(options: Options) -> list[Row]:
    """Measure the yardsticks, which every benchmark also measures beside its own work."""
    measured = fresh("benchmarks.yardstick", device=options.device)
    size = f"{_SIZE:,}"
    return [
        Row(
            work=f"yardstick: matrix product, {size} × {size} × {size}, float32",
            unit="GFLOP/s",
            **measured["product"],
            published=published.GFLOPS,
        ),
        Row(work="yardstick: memory copy, reads plus writes", unit="GB/s", **measured["copy"]),
    ]


def main(*, device: str, **_: Any) -> dict[str, Any]:
    """Both."""
    return {"product": vars(product_gflops(device)), "copy": vars(copy_gbs())}


def product_gflops(device: str = "cpu") -> Time:
    """GFLOP/s of a float32 matrix product on all threads."""
    a, b = torch.randn(2, _SIZE, _SIZE, device=device)
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, b, out=out)
        if device == "cuda":
            torch.cuda.synchronize()

    return _rate(2 * _SIZE**3, median_time(multiply, repeats=5, threads=torch.get_num_threads()))


def copy_gbs() -> Time:
    """GB/s, reads plus writes, of copying memory in one thread."""
    source = np.ones(_COPY_BYTES // 4, np.float32)
    target = np.empty_like(source)
    return _rate(2 * _COPY_BYTES, median_time(lambda: np.copyto(target, source), repeats=5))


def _rate(work: float, time: Time) -> Time:
    return Time(work / 1e9 / time.clock, work / 1e9 / time.alone)
