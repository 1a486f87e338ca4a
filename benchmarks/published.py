"""Figures of the published code.

Measured 2026-11-23 on 2 cores of an AMD EPYC with 24 GiB (torch 2.13.0 for CPU, transformers 5.23), the
published algorithm untouched; medians. Other work on that machine moved its times by 10–30 %.
"""

GFLOPS = 120.0  # of large float32 matrix products on that machine; measured between 110 and 129

DATA_SAMPLES = 107.0  # training examples per second, one process
STEP_S = 33.5
STEP_PEAK_GB = 6.8
EVALUATION_S = 16.0  # 15,000 × 1,500; 15–17
SIMILARITIES_S = 5.6  # for that, of two languages, fused
SIMILARITIES_PEAK_GB = 1.7
SMALL_EVALUATION_S = 0.56  # 1,000 × 1,000
START_S = 22.5  # to the first batch
EMBED_CAPTIONS_S = (
    3.6  # 64 in each of two languages; at 120 GFLOP/s that is 20 tokens each, none of them padding
)
EMBED_VIDEOS_S = 0.72  # 64
