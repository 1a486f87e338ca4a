"""`python -m benchmarks`: how fast the work is, beside what the published code took."""

import argparse
import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from benchmarks.measure import Options
from benchmarks.table import markdown
from mlcmr.errors import MlcmrError
from mlcmr.model.hub import find_model

NAMES = (
    "yardstick",
    "training_data",
    "step",
    "languages",
    "evaluation",
    "hubness",
    "start",
    "embedding",
    "serving",
    "extraction",
)
WITH_ENCODER = {"training_data", "step", "start", "embedding"}
ON_GPU = ("yardstick", "step", "embedding")
SHARED = Path(__file__).parents[2] / "shared" / "data"
VATEX = SHARED / "published-captions" / "vatex" / "TextData"
ENCODER = SHARED / "bert-base-multilingual-cased"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(NAMES)}; all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--captions", help="folder with VATEX's caption files; without, captions are made up")
    parser.add_argument(
        "--encoder", help="bert-base-multilingual-cased: folder or hub id; weights are not read"
    )
    parser.add_argument("--repeats", type=int, default=5, help="how often each work is measured (default 5)")
    parser.add_argument("--gpu", action="store_true", help=f"on the GPU: {', '.join(ON_GPU)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there is {', '.join(NAMES)}")
    options = Options(
        captions=arguments.captions or (str(VATEX) if VATEX.is_dir() else None),
        encoder=arguments.encoder or (str(ENCODER) if ENCODER.is_dir() else ENCODER.name),
        repeats=arguments.repeats,
        device="cuda" if arguments.gpu else "cpu",
    )
    names = arguments.names or (ON_GPU if arguments.gpu else NAMES)
    try:
        if WITH_ENCODER.intersection(names):
            find_model(options.encoder, "encoder", "encoder")
    except MlcmrError as error:
        raise SystemExit(f"python -m benchmarks: {error}") from error
    captions = options.captions or "made up"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}, captions: {captions}", flush=True)
    rows = []
    for name in names:
        rows += import_module(f"benchmarks.{name}").rows(options)
        print(f"{name}: done", flush=True)
    print(markdown(rows))
    if arguments.json:
        figures = {"machine": _machine(), "options": asdict(options), "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False), encoding="utf-8")


def _machine() -> str:
    """Return the processor and its number of cores, as far as they are known."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores of {model or platform.processor() or platform.machine()}"


if __name__ == "__main__":
    main()
