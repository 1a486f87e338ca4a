"""A small collection drawn by program: clips of moving shapes with captions in four languages.

Importing this needs PyAV (`pip install 'mlcmr[video]'`); without it there is a `UserError`.
"""

from mlcmr.data.sample.make import SampleSettings, SampleSummary, make_sample

__all__ = ["SampleSettings", "SampleSummary", "make_sample"]
