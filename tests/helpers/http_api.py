"""The HTTP API of a searcher: asked directly, or by a real server."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.testclient import TestClient

from mlcmr.search.http.app import create_app
from mlcmr.search.http.service import ServerLimits

TOKEN = "correct-horse-battery"
PNG = b"\x89PNG\r\n\x1a\n"
BYTES = bytes(range(256)) * 4


@contextmanager
def served(searcher, **options):
    limits = ServerLimits(**{"rate": 0.0, **options.pop("limits", {})})
    app = create_app(searcher, limits=limits, **options)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def raw(client, address):
    """An address that is sent as it is written."""
    return type(client.base_url)("http://localhost", raw_path=address.encode())


@contextmanager
def running(searcher, **limits):
    """A real server, asked over real connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(searcher, limits=ServerLimits(rate=0.0, **limits))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def together(url, count, path="/api/search?q=a"):
    """The status and seconds of requests sent at one time."""

    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(count) as pool:

        def ask(_):
            start = time.monotonic()
            return client.get(url + path).status_code, time.monotonic() - start

        return list(pool.map(ask, range(count)))
