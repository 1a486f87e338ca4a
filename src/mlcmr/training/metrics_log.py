"""The log of losses and scores: `metrics.jsonl`, and the loggers that a user has chosen."""

import json
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lightning.fabric import Fabric

from mlcmr.errors import OutOfResourcesError
from mlcmr.files import writing


class MetricsLog:
    """Append losses and scores to `metrics.jsonl`, one JSON object per line, and send them to the loggers.

    Args:
        path: The file.
        keep_bytes: The number of bytes to keep. Lines that a killed run has written after its last saved
            state are cut off.
        fabric: Holds the loggers.
    """

    def __init__(self, path: Path, keep_bytes: int, fabric: Fabric) -> None:
        self._path = path
        self._fabric = fabric
        with writing(path):
            # Unbuffered: bytes that could not be written are not tried again when the program ends.
            self._file = path.open("ab", buffering=0)
            self._file.truncate(min(keep_bytes, self.size))

    @property
    def size(self) -> int:
        """The number of bytes in the file."""
        return self._file.seek(0, 2)

    def log(self, place: Mapping[str, int], values: Mapping[str, float], **facts: Any) -> None:
        """Append a line, with the time (UTC, ISO 8601), and send the values to the loggers.

        Args:
            place: The step, the epoch and other counts.
            values: The measured values.
            **facts: Further entries of the line, which no logger receives.

        Raises:
            MlcmrError: If the file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({**place, **values, **facts, "time": now}).encode() + b"\n"
        with writing(self._path):
            whole = self._file.write(line) == len(line)
        if not whole:
            raise OutOfResourcesError(f"{self._path}: cannot be written: the disk is full", path=self._path)
        self._fabric.log_dict(values, place["step"])

    def flush(self) -> None:
        """Let the loggers write their buffered values."""
        if self._fabric.is_global_zero:
            for logger in self._fabric.loggers:
                logger.save()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        for logger in self._fabric.loggers:
            # The error that ended the training matters more than an error of a logger.
            with suppress(Exception) if error else nullcontext():
                logger.finalize("failed" if error else "success")
