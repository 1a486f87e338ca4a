"""Fails unless a run's t2v R@1, without fusion, is over a number for every target: RUN LEAST."""

import json
import sys
from pathlib import Path

run, least = Path(sys.argv[1]), float(sys.argv[2])
evaluations = json.loads((run / "results.json").read_text(encoding="utf-8"))["evaluations"]
found = {one["target"]: one["metrics"]["target_only"]["t2v"]["R@1"] for one in evaluations}
print(f"{run}: t2v R@1 {found}, required {least}")
sys.exit(not found or min(found.values()) <= least)
