"""Training in several processes: the first process, features of all processes, signals."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor

from mlcmr import errors
from mlcmr.errors import InvalidValueError, MlcmrError, reason

_REPORT_SECONDS = 10.0
_REPORTED = "Another process of the training failed first."
# The programs that start processes, and the variables with the number of processes. A batch script of SLURM
# that does not call srun is one process, whatever SLURM_NTASKS says.
_STARTERS: tuple[tuple[str, type[ClusterEnvironment], str], ...] = (
    ("torchrun", TorchElasticEnvironment, "WORLD_SIZE"),
    ("SLURM", SLURMEnvironment, "SLURM_STEP_NUM_TASKS"),
)


def is_first_process() -> bool:
    """Return whether this process writes the files, if several processes train together.

    Lightning, torchrun and SLURM start the command once per device and number the processes.
    """
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def count_devices(devices: int | Literal["auto"]) -> int | Literal["auto"]:
    """Return the number of devices: that of the processes, if torchrun or SLURM has started them.

    With one device, Lightning would train in each process alone; with too many, it would wait forever.

    Args:
        devices: The wanted number, or `auto`.

    Raises:
        InvalidValueError: If the wanted number is not that of the processes.
    """
    for name, environment, variable in _STARTERS:
        if environment.detect():
            started = int(os.environ.get(variable, "1"))
            if devices not in (started, "auto"):
                raise InvalidValueError(
                    f"`devices` is {devices}, but the number of processes that {name} has started is "
                    f"{started}; start one process per device, or set `devices` to auto",
                    parameter="devices",
                )
            return started
    return devices


def gather(features: Tensor, fabric: Fabric) -> Tensor:
    """Return the rows of all processes, in the order of the processes.

    Gradients flow back to the process that each row came from. Every process then computes the loss of the
    whole batch, and the mean of DDP over the processes gives the gradients of one process with that batch.
    With dropout, each process draws its own masks, and the result is the gradient of the mean of the losses.

    Args:
        features: (B, …), the rows of this process; the processes may hold different numbers of rows.
        fabric: The processes.

    Returns:
        (global B, …).
    """
    if fabric.world_size == 1:
        return features
    counts = fabric.all_gather(torch.tensor(len(features), device=features.device))
    assert isinstance(counts, Tensor)
    rows: list[int] = counts.tolist()
    if not any(rows):
        return features
    last_axes = (0, 0) * (features.ndim - 1)
    padded = F.pad(features, (*last_axes, 0, max(rows) - len(features)))
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
def failing_together(fabric: Fabric) -> Iterator[None]:
    """End all processes if one fails; they would wait for it forever, or fail as its connection is lost.

    All raise the error of the process that failed first. `is_reported` is true for the errors of the others.
    If none fails, the processes leave their group together.
    """
    made_by_caller = _in_group()
    try:
        yield
        if _in_group() and not made_by_caller:
            fabric.barrier()
            dist.destroy_process_group()  # its threads abort a process that ends before them
    except BaseException as error:
        earlier = _earlier_failure(error)
        _end_processes(fabric, time.monotonic() + (_REPORT_SECONDS if earlier else 0))
        if earlier is None:
            raise
        earlier.add_note(_REPORTED)
        if earlier is error:
            raise
        raise earlier from error


def _in_group() -> bool:
    """Return whether this process is connected with others."""
    return dist.is_available() and dist.is_initialized()


def _end_processes(fabric: Fabric, end: float) -> None:
    """Let the processes that Lightning has started report an error until the time `end`, then kill them."""
    started: list[subprocess.Popen[bytes]] = getattr(fabric.strategy.launcher, "procs", [])
    processes = list(started)
    started.clear()  # as soon as one of them ends, Lightning would kill this process
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(end - time.monotonic(), 0))
        process.kill()


def is_reported(error: BaseException) -> bool:
    """Return whether another process of the training has failed before, and reports its error."""
    return _REPORTED in getattr(error, "__notes__", ())


def _earlier_failure(error: BaseException) -> BaseException | None:
    """Return the error to raise if another process has failed before; else record `error` for the others."""
    if not _in_group():
        return None
    store = dist.distributed_c10d._get_default_store()
    try:
        if isinstance(error, (MlcmrError, KeyboardInterrupt)):
            if store.add("mlcmr/failures", 1) > 1:
                return error
            facts = {name: getattr(error, name, None) for name in ("path", "line", "parameter")}
            store.set("mlcmr/failure", json.dumps([type(error).__name__, str(error), facts]))
        elif isinstance(error, RuntimeError) and store.check(["mlcmr/failure"]):
            kind, message, facts = json.loads(store.get("mlcmr/failure"))
            if kind == KeyboardInterrupt.__name__:
                return KeyboardInterrupt()
            return getattr(errors, kind, MlcmrError)(message, **facts)
    except RuntimeError:  # the process that holds the store has ended
        return None
    return None
