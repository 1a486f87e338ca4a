"""From the command to the first batch, with a collection of VATEX's size."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import published
from benchmarks.measure import Options, fresh, median_time
from benchmarks.table import Row

TRAIN_VIDEOS, VAL_VIDEOS = 26_000, 1_500
OWN = ("features", "captions", "first batch")

Measured = dict[str, tuple[float, float]]  # seconds of each part: by the clock, of the processor


class _FirstBatch(Exception):  # noqa: N818
    """It is there: nothing is wrong."""


def rows(options: Options) -> list[Row]:
    """`mlcmr train` up to its first batch, in parts; `mlcmr --help`."""
    from benchmarks.material import Sources, make_collection

    with tempfile.TemporaryDirectory() as folder:
        sources = Sources(options.captions, options.encoder)
        root = make_collection(Path(folder), sources, train=TRAIN_VIDEOS, val=VAL_VIDEOS, sparse=True)
        first, *later = (
            fresh("benchmarks.start", root=str(root), encoder=options.encoder)
            for _ in range(1 + options.repeats)
        )
    without_model = [part for part in first if part != "model"]
    return [
        _row("start to first batch, without the model", later, without_model, published.START_S, 12.0),
        *(_row(f"  {part}", later, [part]) for part in without_model),
        _row("  of these our own work: features, captions, first batch", later, OWN, target=1.5),
        _row("  the same at a collection's first use, which makes a cache", [first], OWN),
        _row("  features, first use", [first], ["features"], target=1.0),
        _row("  and a model of this size, with random weights", later, ["model"]),
        _help(options.repeats),
    ]


def main(*, root: str, encoder: str, started: float) -> Measured:
    """Seconds of each part of `mlcmr train`."""
    parts: Measured = {}

    def timed(owner: Any, name: str, part: str, then: Callable[[], None] = lambda: None) -> None:
        function = getattr(owner, name)

        def measured(*arguments: Any, **options: Any) -> Any:
            clock, processor = time.time(), time.process_time()
            result = function(*arguments, **options)
            before = parts.get(part, (0.0, 0.0))
            parts[part] = before[0] + time.time() - clock, before[1] + time.process_time() - processor
            then()
            return result

        setattr(owner, name, measured)

    def stop() -> None:
        raise _FirstBatch

    from mlcmr.cli import main as command
    from mlcmr.data.batches import PairDataset
    from mlcmr.data.collection import Collection
    from mlcmr.model.encoders.text import empty_encoder
    from mlcmr.training import run_training as train

    parts["imports"] = time.time() - started, time.process_time()
    # The weights are no part of this: random ones stand for them.
    vars(train)["pretrained_encoder"] = lambda config: empty_encoder(config.encoder, config.lowercase)
    timed(Collection, "open_features", "features")
    timed(train, "read_training_pairs", "captions")
    timed(train, "read_validation", "captions")
    timed(train, "build_model", "model")
    timed(PairDataset, "__init__", "first batch")
    timed(PairDataset, "__getitem__", "first batch", then=stop)
    try:
        command(["train", f"--rootpath={root}", f"--run={root}/{started}", f"--model.text.encoder={encoder}"])
        raise RuntimeError("the command ended before its first batch")
    except _FirstBatch:
        clock, processor = time.time() - started, time.process_time()
    for other_clock, other_processor in parts.values():
        clock, processor = clock - other_clock, processor - other_processor
    parts["command line, trainer, run folder"] = clock, processor
    return parts


def _row(
    work: str,
    runs: Sequence[Measured],
    parts: Sequence[str],
    published: float | None = None,
    target: float | None = None,
) -> Row:
    clock, alone = (
        statistics.median(sum(run[part][which] for part in parts) for run in runs) for which in (0, 1)
    )
    return Row(work=work, unit="s", clock=clock, alone=alone, published=published, target=target)


def _help(repeats: int) -> Row:
    command = [sys.executable, "-m", "mlcmr", "--help"]
    helped = partial(subprocess.run, command, stdout=subprocess.DEVNULL, check=True)
    time = median_time(helped, 2 * repeats + 1)
    return Row(work="mlcmr --help", unit="s", **vars(time), target=0.5)
