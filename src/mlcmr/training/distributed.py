"""Training in several processes: the first process, features of all processes, signals."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch import Tensor

from mlcmr.errors import MlcmrError, reason


def is_first_process() -> bool:
    """Return whether this process writes the files, if several processes train together.

    Lightning, torchrun and SLURM start the command once per device and number the processes.
    """
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def gather(features: Tensor, fabric: Fabric) -> Tensor:
    """Return the features of all processes, in the order of the processes.

    Gradients flow back to the process that each row came from. Every process then computes the loss of the
    whole batch, and the mean of DDP over the processes gives the gradients of one process with that batch.
    With dropout, each process draws its own masks, and the result is the gradient of the mean of the losses.

    Args:
        features: (B, F), the rows of this process; the processes may hold different numbers of rows.
        fabric: The processes.

    Returns:
        (global B, F).
    """
    if fabric.world_size == 1:
        return features
    counts = fabric.all_gather(torch.tensor(len(features), device=features.device))
    assert isinstance(counts, Tensor)
    rows: list[int] = counts.tolist()
    padded = F.pad(features, (0, 0, 0, max(rows) - len(features)))
    parts = fabric.all_gather(padded, sync_grads=True)
    return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at SIGTERM, as at Ctrl-C; schedulers end a job in this way."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set a handler
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def slurm_signal() -> Iterator[threading.Event]:
    """Return an event that SIGUSR1 sets in a SLURM job.

    With its option `signal=USR1@90`, sbatch sends SIGUSR1 90 seconds before the time limit.
    """
    received = threading.Event()
    main_thread = threading.current_thread() is threading.main_thread()
    if not (main_thread and SLURMEnvironment.detect() and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL):
        yield received
        return
    signal.signal(signal.SIGUSR1, lambda *_: received.set())
    try:
        yield received
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def requeue_slurm_job() -> None:
    """Put the SLURM job of this process back into the queue.

    Raises:
        MlcmrError: If SLURM refuses.
    """
    variables = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    array = [os.environ[name] for name in variables if name in os.environ]
    job = "_".join(array) if len(array) == 2 else os.environ.get("SLURM_JOB_ID", "")
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=60)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError) as error:
        raise MlcmrError(f"SLURM job {job} cannot be requeued: {reason(error)}; submit it again") from error


@contextmanager
def ending_processes(fabric: Fabric) -> Iterator[None]:
    """Kill the processes that Lightning has started if this process fails: they would wait for it forever."""
    try:
        yield
    except BaseException:
        for process in getattr(fabric.strategy.launcher, "procs", []):
            process.kill()
        raise
