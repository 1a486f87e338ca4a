"""Readers that do what none may do, to see that the watcher sees it."""

import os
import socket
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

from .targets import Target


def _hang() -> None:
    while True:
        pass


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "raises": (lambda: 1 / 0, "ZeroDivisionError at "),
    "warns": (lambda: warnings.warn("so it is", stacklevel=1), "warns: UserWarning: so it is"),
    "prints": (lambda: os.write(2, b"so it is"), "prints: so it is"),
    "starts a process": (lambda: subprocess.run(["true"], check=True), "starts a process: "),
    "writes outside": (lambda: Path(__file__).with_name("outside").open("w").close(), "open outside: "),
    "connects": (lambda: socket.create_connection(("127.0.0.1", 9)), "opens a connection: "),
    "fills memory": (lambda: bytearray(400 << 20), "takes "),
    "asks for too much": (lambda: [0] * 10**10, "MemoryError at "),
    "exits": (lambda: os._exit(3), "the process hangs or ends with status 3"),
    "aborts": (os.abort, "the process hangs or ends with status -6"),
    "hangs": (_hang, "the process hangs or ends with status -9"),
}


def _target(name: str, act: Callable[[], object]) -> Target:
    def run(path: Path) -> None:
        if path.read_bytes() == b"at fault":
            act()

    return Target(name, "in", lambda _: [b"right", b"at fault"], run)


TARGETS = {name: _target(name, act) for name, (act, _) in FAULTS.items()}
