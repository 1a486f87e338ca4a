"""The server under load: searches a second, how long one takes, and its memory over many."""

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from benchmarks.measure import CHECKOUT, Options, fresh
from benchmarks.table import Row

CLIENTS = (1, 8, 64)
VIDEOS = 200  # of the sample
SEGMENTS = 100_000  # made up
SECONDS = 2.0  # of each measurement, and repeat
REQUESTS = 20_000  # over which memory is watched, and repeat
LOOKS = 10  # how often it is looked at
LONGEST = 900.0  # seconds that this takes, whatever the number of requests


def rows(options: Options) -> list[Row]:
    """Measure searches over HTTP at 1, 8 and 64 clients, and the memory after many searches."""
    measured = fresh("benchmarks.serving", repeats=options.repeats)
    table = []
    for load in measured["loads"]:
        table += [
            Row(
                work=f"searches over HTTP, {load['segments']:,} segments, clients: {load['clients']}",
                unit="1/s",
                clock=load["rate"],
                limit=load["alone"],
            ),
            Row(work="  half of them within", unit="ms", clock=load["p50"]),
            Row(work="  99 of 100 within", unit="ms", clock=load["p99"]),
        ]
    for when, gb in measured["memory"]:
        table.append(Row(work=f"memory of the server after {when:,} searches", unit="GB", clock=gb))
    return table


def main(*, repeats: int, **_: Any) -> dict[str, Any]:
    """All figures; everything is made in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        index, queries = _make_index(Path(folder))
        loads = list(_loads(index, queries, SECONDS * repeats, VIDEOS))
        with _server(index) as (port, process):
            memory = list(_memory(port, process, queries, REQUESTS * repeats))
        _grow(index)
        loads += _loads(index, queries, SECONDS * repeats, SEGMENTS)
    return {"loads": loads, "memory": memory}


def _make_index(folder: Path) -> tuple[Path, list[str]]:
    """Make an index of the sample with a barely trained model, and return captions as queries."""
    from mlcmr.data.captions import read_captions

    recipe = CHECKOUT / "configs" / "sample" / "parallel.yaml"
    for words in (
        ("sample", folder, "--videos", VIDEOS),
        ("train", recipe, "--rootpath", folder, "--run", folder / "run", "--epochs", 1),
        ("index", folder / "sample", "--run", folder / "run", "--to", folder / "index"),
    ):
        command = [sys.executable, "-m", "mlcmr", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)
    files = (folder / "sample" / "TextData").glob("sampletrain*.caption.txt")
    return folder / "index", [text for file in sorted(files) for text in read_captions(file).texts]


def _grow(index: Path) -> None:
    """Add segments with random vectors until the index has `SEGMENTS`."""
    from mlcmr.search.indexing.payload import segment_id
    from mlcmr.search.indexing.storage import IndexWriter

    random = np.random.default_rng(0)
    with IndexWriter(index) as writer:
        store = writer.open_for_writing().segments
        (model,) = store.get([next(iter(store.scan([])))[0]])
        missing = SEGMENTS - store.count()
        for start in range(0, missing, 5000):
            vectors = random.standard_normal((min(5000, missing - start), len(model.vector)), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            names = [f"made{start + row:06d}" for row in range(len(vectors))]
            store.upsert(
                [
                    replace(
                        model, id=segment_id(name, 0), vector=vector, payload=model.payload | {"video": name}
                    )
                    for name, vector in zip(names, vectors, strict=True)
                ]
            )


@contextmanager
def _server(index: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """`mlcmr serve` in a process of its own."""
    command = [sys.executable, "-m", "mlcmr", "serve", index, "--port", "0", "--rate", "0", "--device", "cpu"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if line.startswith("page: "))
        yield int(line.split("/")[2].rpartition(":")[2]), process
    finally:
        process.terminate()
        process.wait(30)


def _loads(index: Path, queries: list[str], seconds: float, segments: int) -> Iterator[dict[str, Any]]:
    """Each number of clients, beside a searcher without a server that is asked so much at a time."""
    for clients in CLIENTS:
        alone = _alone(index, clients, queries, seconds)
        with _server(index) as (port, _):
            _ask(port, clients, queries, seconds=1.0)
            times, took = _ask(port, clients, queries, seconds=seconds)
        yield {
            "segments": segments,
            "clients": clients,
            "rate": len(times) / took,
            "p50": 1000 * float(np.percentile(times, 50)),
            "p99": 1000 * float(np.percentile(times, 99)),
            "alone": alone,
        }


def _alone(index: Path, at_a_time: int, queries: list[str], seconds: float) -> float:
    """Return the searches per second in this process."""
    from mlcmr.search import Searcher

    searcher = Searcher(index, device="cpu")
    done, start = -at_a_time, time.perf_counter()  # the first time is not counted
    while (took := time.perf_counter() - start) < seconds:
        searcher.search_many([queries[(done + place) % len(queries)] for place in range(at_a_time)])
        done += at_a_time
        start = start if done else time.perf_counter()
    searcher.close()
    return done / took


def _ask(
    port: int, clients: int, queries: list[str], *, seconds: float = 1e9, requests: int = 10**9
) -> tuple[list[float], float]:
    """Let clients search for a time or for a number of requests; return each duration and the total."""
    left = iter(range(requests))
    lock = threading.Lock()
    start = time.perf_counter()

    def client(_: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        times = []
        while time.perf_counter() - start < seconds:
            with lock:
                number = next(left, None)
            if number is None:
                break
            begun = time.perf_counter()
            connection.request("GET", f"/api/search?{urlencode({'q': queries[number % len(queries)]})}")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the server answered {answer.status}")
            times.append(time.perf_counter() - begun)
        connection.close()
        return times

    with ThreadPoolExecutor(clients) as pool:
        times = [one for of_client in pool.map(client, range(clients)) for one in of_client]
    return times, time.perf_counter() - start


def _memory(
    port: int, process: subprocess.Popen[str], queries: list[str], requests: int
) -> Iterator[tuple[int, float]]:
    """Return the server's memory in GB at intervals while the server answers requests."""
    done, end = 0, time.perf_counter() + LONGEST
    while done < requests and (left := end - time.perf_counter()) > 0:
        done += len(_ask(port, 8, queries, requests=requests // LOOKS, seconds=left)[0])
        yield done, _memory_gb(process)
        print(f"{done:,} searches: {1000 * _memory_gb(process):,.0f} MB", file=sys.stderr, flush=True)


def _memory_gb(process: subprocess.Popen[str]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024 / 1e9
