"""A small collection made by a program: clips of moving shapes with captions in four languages.

This package needs PyAV (`pip install 'mlcmr[video]'`).
"""

from mlcmr.sample.make import SampleSettings, SampleSummary, make_sample

__all__ = ["SampleSettings", "SampleSummary", "make_sample"]
