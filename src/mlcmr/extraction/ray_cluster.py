"""Extraction on many machines: Ray Data sends files to processes on them and returns the results.

Every machine needs mlcmr, and the videos and the encoder under the same names. Only the calling process
writes the collection. An interrupted extraction therefore continues as on one machine.
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

from mlcmr.errors import InvalidValueError, MissingDependencyError, MlcmrError, reason
from mlcmr.extraction.encoders.registry import open_encoder
from mlcmr.extraction.pipeline import ExtractedFile, PipelineSettings, extract_files

try:
    import ray
    import ray.data
    import ray.exceptions
except ImportError as error:
    raise MissingDependencyError("`ray` needs the package Ray: pip install 'mlcmr[ray]'") from error

_FILES_PER_TASK = 4
"""The files sent to a process at a time; they are extracted again if the process ends early."""


class _Extractor:
    """The work of a process of the cluster."""

    def __init__(self, encoder: str, device: str, workers: int, **settings: Any) -> None:
        self._encoder = encoder
        self._device = device
        self._workers = workers
        self._other_settings = settings

    @cached_property
    def _settings(self) -> PipelineSettings:
        # The encoder is opened on the machine of this process, which may have another GPU. Ray would turn an
        # error in `__init__` into text; an error here keeps its class.
        # The process that began the extraction has opened the encoder, so the user has named it.
        encoder = open_encoder(self._encoder, device=self._device, source=None)
        return PipelineSettings(encoder, **self._other_settings)

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[np.object_]]]:
        """Extract the files of a batch."""
        for file in extract_files(map(Path, batch["path"]), self._settings, self._workers):
            row = np.empty(1, object)
            row[0] = file
            yield {"file": row}


def extract_on_cluster(
    paths: Iterable[Path],
    settings: PipelineSettings,
    address: str,
    *,
    workers: int | None = None,
    device: str = "auto",
) -> Generator[ExtractedFile, None, None]:
    """Extract files on a Ray cluster; yield each file when it is finished.

    A caller that stops early must close the generator.

    Args:
        paths: The files.
        settings: How the files are extracted.
        address: The address of the cluster; `auto` for the cluster of this machine, `local` for a temporary
            cluster on this machine.
        workers: The number of files that each process decodes at a time; by default 1 on a cluster without
            GPUs, else the number of processors per GPU.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        InvalidValueError: If there is no cluster at the address.
        MlcmrError: If an encoder cannot be opened on a machine of the cluster, or the work fails there.
    """
    others = settings._asdict()
    encoder = others.pop("encoder").name
    with _connected(address):
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
        processors = int(resources.get("CPU", 1))
        processors_each = max(processors // gpus, 1) if gpus else 1
        files = ray.data.from_items([{"path": str(path)} for path in paths]).map_batches(
            _Extractor,
            fn_constructor_args=(encoder, device, workers or processors_each),
            fn_constructor_kwargs=others,
            batch_size=_FILES_PER_TASK,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=gpus or processors),
            num_cpus=processors_each,
            num_gpus=1 if gpus else 0,
        )
        for row in files.iter_rows():
            yield row["file"]


@contextmanager
def _connected(address: str) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a temporary cluster would send usage statistics
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # relevant errors are raised as exceptions
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        _require_listening(address)
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidValueError(
            f"`ray` {address}: no Ray cluster there: {reason(error)}; start one with ray start --head",
            parameter="ray",
        ) from error
    try:
        yield
    except ray.exceptions.RayError as error:
        raise _user_error(error) from error
    finally:
        ray.shutdown()


def _require_listening(address: str) -> None:
    """Connect to `host:port` to see if a server listens: Ray itself would retry for many minutes.

    Raises:
        OSError: If no server listens.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5).close()


def _user_error(error: BaseException) -> MlcmrError:
    """Return the error that ended the work on another machine, without the wrapping of Ray."""
    cause: BaseException | None = error
    while cause is not None:
        # Ray wraps an error in an object of both classes, whose text also holds the traceback.
        if isinstance(cause, MlcmrError) and not isinstance(cause, ray.exceptions.RayError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return MlcmrError(f"`ray`: the work on the cluster failed: {reason(error)}")
