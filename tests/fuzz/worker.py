"""A process that feeds inputs to readers and watches what they do; its parent watches it.

An input is at fault if its reader raises anything but `MlcmrError`, warns, writes to the standard streams of
C libraries, writes outside its folder, starts a process, opens a connection, or takes more time or memory
than its size explains. If the process itself ends or hangs, the parent finds the input in the target's
folder.
"""

import argparse
import ctypes
import hashlib
import importlib
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .mutate import mutate
from .targets import Target

# No downloads, no threads that would blur the measurements, no files beside the code.
os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
sys.dont_write_bytecode = True

CORPUS = Path(__file__).parent / "corpus"
_GROWTH = 4 << 30  # bytes of address space
_PROCESSES = (
    "subprocess.Popen",
    "os.system",
    "os.posix_spawn",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.spawn",
)
_CONNECTIONS = ("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request")
_CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
    "os.chmod",
)


class Watch:
    """Records the side effects that the interpreter reports while an input is read."""

    def __init__(self) -> None:
        self.folder = ""
        self.faults: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.folder:
            return
        if event in _PROCESSES:
            self.faults.append(f"starts a process: {arguments!r:.200}")
        elif event in _CONNECTIONS:
            self.faults.append(f"opens a connection: {arguments!r:.200}")
        elif event in _CHANGES or (event == "open" and _writes(arguments)):
            paths = [path for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike)]
            within = event in _CHANGES and isinstance(arguments[-1], int) and arguments[-1] >= 0
            for path in map(os.fsdecode, paths[:1] if event == "open" else paths):
                place = os.path.abspath(path)  # noqa: PTH100 – without following links
                if within and not path.startswith("/"):
                    continue  # relative to an open folder, as `shutil.rmtree` does it
                if not place.startswith((self.folder, "/dev/", "/proc/self/")):
                    self.faults.append(f"{event} outside: {place}")


def _writes(arguments: tuple[object, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _memory(name: str) -> int:
    """Return a figure of this process from `/proc/self/status`, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0


class Feeder:
    """Feeds one target."""

    def __init__(self, target: Target, folder: Path, watch: Watch, errors: int) -> None:
        self.target = target
        self.folder = folder
        self.watch = watch
        self.errors = errors
        self.pool = [*target.seeds(folder), *corpus(target.name)]
        self.file = folder / target.file
        # Imports what it needs. While warnings are caught, filters that a module adds would not last.
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(self.pool[0])
        with suppress(Exception):
            target.run(self.file)

    def feed(self, content: bytes) -> str | None:
        """Feed one input; return its fault, or None."""
        from mlcmr.errors import MlcmrError

        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(content)
        printed = os.fstat(self.errors).st_size
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the highest use of memory counts from here
        before = _memory("VmRSS")
        self.watch.faults, self.watch.folder = [], str(self.folder)
        start = time.process_time()
        fault = None
        with warnings.catch_warnings(record=True) as warned:
            try:
                self.target.run(self.file)
            except (MlcmrError, *self.target.refusals) as error:
                if "\n" in str(error):
                    fault = f"a message of several lines: {error!r:.200}"
                if len(str(error)) > 5000:
                    fault = f"a message of {len(str(error)):,} characters"
            except BaseException as error:
                fault = _where(error)
        seconds = time.process_time() - start
        self.watch.folder = ""
        grown = _memory("VmHWM") - before
        if self.watch.faults and not (
            self.target.processes and self.watch.faults[0].startswith("starts a process")
        ):
            return self.watch.faults[0]
        if fault is None and warned:
            return f"warns: {warned[0].category.__name__}: {warned[0].message!s:.200}"
        if fault is None and not self.target.prints and os.fstat(self.errors).st_size > printed:
            return f"prints: {_tail(self.errors, printed)}"
        if fault is None and seconds > self.target.seconds:
            return f"takes {seconds:.1f} s"
        if fault is None and grown > self.target.megabytes << 20:
            return f"takes {grown >> 20:,} MiB"
        return fault


def _where(error: BaseException) -> str:
    """Return what was raised and where: the innermost line of this package, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/mlcmr/" in frame.filename]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*ours[-1:], *frames[-1:])]
    said = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__} at {' from '.join(dict.fromkeys(places))}: {said}"


def _tail(errors: int, start: int) -> str:
    return os.pread(errors, 300, start).decode(errors="replace").strip().replace("\n", " | ")


def corpus(name: str) -> list[bytes]:
    """Return the inputs that were at fault before."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*")) if path.is_file()]


def _kind(fault: str) -> str:
    """Return what equal faults have in common."""
    return fault.partition(": ")[0] if " at " in fault else fault[:30]


def minimised(feeder: Feeder, content: bytes, fault: str) -> bytes:
    """Cut out what the fault does not need."""
    kind, end = _kind(fault), time.monotonic() + 20
    step = len(content) // 2
    while step and time.monotonic() < end:
        at = 0
        while at < len(content) and time.monotonic() < end:
            shorter = content[:at] + content[at + step :]
            found = feeder.feed(shorter)
            if found and _kind(found) == kind:
                content = shorter
            else:
                at += step
        step //= 2
    return content


def run(names: Iterable[str], module: str, *, seed: int, count: int, seconds: float) -> None:
    """Feed targets, each `count` inputs or for so many seconds; print one line of JSON for each fault."""
    targets: dict[str, Target] = importlib.import_module(module).TARGETS
    errors = os.open(tempfile.mkstemp(prefix="fuzz-", suffix=".err")[1], os.O_RDWR | os.O_APPEND)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    watch = Watch()
    for name in names:
        target = targets[name]
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            tempfile.tempdir = folder  # the folder of uploads
            print(json.dumps({"target": name, "file": str(Path(folder) / target.file)}), file=out)
            feeder = Feeder(target, Path(folder), watch, errors)
            limit = _memory("VmSize") + _GROWTH
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
            known: set[str] = set()
            fed, start = 0, time.monotonic()
            inputs = iter(feeder.pool)
            while True:
                content = next(inputs, None)
                if content is None:
                    done = fed - len(feeder.pool)
                    if done >= (count * target.share if count else sys.maxsize) or (
                        seconds and time.monotonic() - start > seconds
                    ):
                        break
                    draw = random.Random(f"{seed} {name} {done}")
                    content = mutate(draw, feeder.pool, structured=target.structured)
                fed += 1
                fault = feeder.feed(content)
                if fault and _kind(fault) not in known:
                    known.add(_kind(fault))
                    smaller = content if count else minimised(feeder, content, fault)
                    digest = hashlib.sha256(smaller).hexdigest()[:12]
                    print(
                        json.dumps(
                            {"target": name, "fault": fault, "input": smaller.hex(), "digest": digest}
                        ),
                        file=out,
                    )
            tempfile.tempdir = None
            resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
            print(json.dumps({"target": name, "fed": fed, "seconds": time.monotonic() - start}), file=out)


if __name__ == "__main__":
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(1, 9)  # Linux: this process ends with its parent
    _standard_error = os.fdopen(os.dup(2), "w")
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+")
    parser.add_argument("--module", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    options = parser.parse_args()
    try:
        run(options.names, options.module, seed=options.seed, count=options.count, seconds=options.seconds)
    except BaseException:
        sys.stderr = _standard_error
        raise
