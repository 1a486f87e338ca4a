"""Extraction on many machines: Ray Data hands files to processes on them, and brings back what they made.

Every machine needs mlcmr, the videos and the encoder, under the same names as here. Only this process writes
the collection; so what was interrupted goes on as if it had run on one machine.
"""

import logging
import os
import socket
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import UserError, reason
from mlcmr.extraction.encoders import load_encoder
from mlcmr.extraction.work import Extracted, Settings, extract_files

try:
    import ray
    import ray.data
    import ray.exceptions
except ImportError as error:
    raise UserError("--ray needs Ray: pip install 'mlcmr[ray]'") from error

_FILES = 4
"""How many files a process is handed at a time: so many are lost, and done again, when it ends early."""


class _Extractor:
    """What a process on some machine does."""

    def __init__(self, encoder: str, device: str, workers: int, **settings: Any) -> None:
        self._encoder = encoder
        self._device = device
        self._workers = workers
        self._others = settings

    @cached_property
    def _settings(self) -> Settings:
        # Opened there: it may have a GPU that this machine has not. Not in __init__: of what fails there
        # Ray brings back no error, only its text.
        return Settings(load_encoder(self._encoder, device=self._device), **self._others)

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[np.object_]]]:
        """Extracts the files of a batch."""
        for file in extract_files(map(Path, batch["path"]), self._settings, self._workers):
            row = np.empty(1, object)
            row[0] = file
            yield {"file": row}


def extract_on_cluster(
    paths: Iterable[Path],
    settings: Settings,
    address: str,
    *,
    workers: int | None = None,
    device: str = "auto",
) -> Generator[Extracted, None, None]:
    """Extracts files on a Ray cluster; they come as they get ready. To be closed by who stops before the end.

    Args:
        paths: The files.
        settings: How they are taken apart.
        address: The cluster's; `auto` for the one that this machine belongs to, `local` for one of its own
            that ends with the work.
        workers: How many files each process decodes at a time; by default as many as it has processors: one
            where there are no GPUs, else a share of them for each GPU.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        UserError: there is no such cluster, or an encoder cannot be opened on its machines.
    """
    others = settings._asdict()
    encoder = others.pop("encoder").name
    with _connected(address):
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(there.get("GPU", 0)) if device != "cpu" else 0
        processors = max(int(there.get("CPU", 1)) // gpus, 1) if gpus else 1
        files = ray.data.from_items([{"path": str(path)} for path in paths]).map_batches(
            _Extractor,
            fn_constructor_args=(encoder, device, workers or processors),
            fn_constructor_kwargs=others,
            batch_size=_FILES,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=gpus or int(there.get("CPU", 1))),
            num_cpus=processors,
            num_gpus=1 if gpus else 0,
        )
        for row in files.iter_rows():
            yield row["file"]


@contextmanager
def _connected(address: str) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a cluster of our own would tell its makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters of the rest is raised
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        _require_listening(address)
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"--ray {address}: no Ray cluster there: {reason(error)}; ray start --head starts one"
        ) from error
    try:
        yield
    except ray.exceptions.RayError as error:
        raise _user_error(error) from error
    finally:
        ray.shutdown()


def _require_listening(address: str) -> None:
    """Looks whether somebody listens at `host:port`: Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5).close()


def _user_error(error: BaseException) -> UserError:
    """What ended the work on another machine."""
    cause: BaseException | None = error
    while cause is not None:
        # Ray wraps an error in one that is of both classes, and says where it came from as well.
        if isinstance(cause, UserError) and not isinstance(cause, ray.exceptions.RayError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return UserError(f"--ray: the work on the cluster failed: {reason(error)}")
