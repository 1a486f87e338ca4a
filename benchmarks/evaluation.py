"""Similarities, ranks and metrics of a test split of VATEX's size."""

from typing import Any

import numpy as np

from benchmarks.measure import median_time
from mlcmr.evaluation.metrics import compute_metrics
from mlcmr.evaluation.scores import MatrixScores, embedding_scores
