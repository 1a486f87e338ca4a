"""Open connections, over real sockets: many, half-sent and slow ones hold nobody off."""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from mlcmr.search.http.app import create_app
from mlcmr.search.http.connections import HEAD_SECONDS, Connections
from mlcmr.search.http.run import protocol
from mlcmr.search.http.service import ServerLimits

HALF = b"GET /api/index HTTP/1.1\r\nHost: localhost\r\nX: "


@contextmanager
def running(searcher, **options):
    """A real server that listens at all of 127.0.0.0/8; its port."""
    limits = ServerLimits(**{"rate": 0.0, "waiting": 10_000, **options})
    listener = socket.create_server(("0.0.0.0", 0), backlog=512)
    app = create_app(searcher, limits=limits)
    config = uvicorn.Config(app, http=protocol(limits), limit_concurrency=250, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def connect(port, address="127.0.0.1"):
    connection = socket.create_connection(("127.0.0.1", port), source_address=(address, 0), timeout=10)
    connection.settimeout(10)
    return connection


def status(port, address="127.0.0.1", path="/api/index"):
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(transport=transport, timeout=10) as client:
        return client.get(f"http://127.0.0.1:{port}{path}").status_code


def is_ended(connection):
    """Wait for the server to close the connection; return False if it does not."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def drip(connection):
    """Sends a byte now and then for five seconds."""
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "sent", [HALF, b"", b"POST /api/search HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"]
)
def test_half_sent_requests_hold_nobody_off(searcher, sent):
    with running(searcher, connections=16) as port, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connect(port)).sendall(sent)
        assert status(port, "127.0.0.2") == 200
        assert status(port) == 200  # also from the same address


@pytest.mark.parametrize("sent", [HALF, b""])
def test_who_sends_no_whole_head_is_ended(searcher, sent):
    with running(searcher, seconds=0.3) as port, connect(port) as slow:
        began = time.monotonic()
        if sent:
            slow.sendall(sent)
        assert is_ended(slow)
        assert 0.2 < time.monotonic() - began < 5


def test_a_byte_now_and_then_gives_no_more_time(searcher):
    with running(searcher, seconds=0.4) as port, connect(port) as slow:
        slow.sendall(HALF)
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            drip(slow)
        assert time.monotonic() - began < 3


def test_a_body_that_nobody_reads_gives_no_more_time(searcher):
    with running(searcher, seconds=0.4) as port, connect(port) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert b"200" in slow.recv(1000)
        with pytest.raises(ConnectionError):
            drip(slow)


def test_a_query_may_take_longer_than_the_head_of_a_request(searcher, monkeypatch):
    assert ServerLimits().seconds > HEAD_SECONDS
    monkeypatch.setattr("mlcmr.search.http.run.HEAD_SECONDS", 0.2)
    searcher.seconds = 0.5
    with running(searcher) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(2):  # over one connection
            assert client.get("/api/search?q=a").status_code == 200


def test_an_upload_may_arrive_in_pieces(searcher, monkeypatch):
    monkeypatch.setattr("mlcmr.search.http.run.HEAD_SECONDS", 0.2)
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    parts = [b"\x89PNG\r\n\x1a\n", *[b"x" * 10] * 10, b"\r\n--b--\r\n"]
    length = len(body) + sum(map(len, parts))
    with running(searcher) as port, connect(port) as upload:
        upload.sendall(
            b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b"
            b"\r\nContent-Length: %d\r\n\r\n" % length + body
        )
        for part in parts:
            upload.sendall(part)
            time.sleep(0.05)
        assert re.match(rb"HTTP/1.1 (200|415|422)", upload.recv(1000))


def test_one_who_has_too_many_unanswered_requests_is_refused_and_nobody_else(searcher):
    searcher.gate.clear()
    with running(searcher, connections=4) as port, ExitStack() as stack:
        try:
            asked = [stack.enter_context(connect(port)) for _ in range(4)]
            for one in asked:
                one.sendall(b"GET /api/search?q=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.2)
            assert status(port) == 503
            assert status(port, "127.0.0.2", "/health") == 200
        finally:
            searcher.gate.set()
        assert {one.recv(1000)[:12] for one in asked} == {b"HTTP/1.1 200"}
        for one in asked:
            one.close()
        time.sleep(0.1)
        assert status(port) == 200  # its places come free


def test_a_refusal_says_which_limit_was_reached(searcher, monkeypatch):
    searcher.gate.clear()
    connections = Connections(per_client=2, most=3)
    monkeypatch.setattr("mlcmr.search.http.run.Connections", lambda *_, **__: connections)
    asked = b"GET /api/search?q=a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running(searcher) as port, ExitStack() as stack:
        try:
            for number, address in enumerate(("127.0.0.1", "127.0.0.1", "127.0.0.2"), start=1):
                stack.enter_context(connect(port, address)).sendall(asked)
                end = time.monotonic() + 20
                while sum(one.is_answering for one in list(connections._open)) < number:
                    assert time.monotonic() < end
                    time.sleep(0.01)
            said = {}
            for address in ("127.0.0.1", "127.0.0.3"):
                with httpx.Client(transport=httpx.HTTPTransport(local_address=address)) as client:
                    answer = client.get(f"http://127.0.0.1:{port}/health")
                assert answer.status_code == 503
                said[address] = answer.json()["error"]
        finally:
            searcher.gate.set()
    assert "from this address" in said["127.0.0.1"]
    assert "of all clients" in said["127.0.0.3"]


@pytest.mark.parametrize("drips", [False, True])
def test_who_does_not_read_an_answer_is_ended_and_who_reads_slowly_is_not(searcher, drips):
    path = Path(searcher.videos["cat"].hits[0].path)
    path.write_bytes(bytes(16_000_000))
    with running(searcher, seconds=1) as port, connect(port) as slow:
        slow.sendall(b"GET /media/cat HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end, read = time.monotonic() + 3, 0
        while time.monotonic() < end:
            time.sleep(0.05)
            read += len(slow.recv(2**18)) if drips else 0
        try:
            while part := slow.recv(2**20):
                read += len(part)
        except ConnectionError:
            pass
        assert (read >= 16_000_000) == drips


def test_one_client_cannot_take_all_places_of_uploads(searcher):
    form = {"files": {"file": ("a.png", b"\x89PNG\r\n\x1a\n")}, "timeout": 30}
    searcher.gate.clear()

    def post(address):
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address)) as client:
            return client.post(f"http://127.0.0.1:{port}/api/search", **form).status_code

    with running(searcher, uploads=3) as port, ThreadPoolExecutor(4) as pool:
        try:
            first = [pool.submit(post, "127.0.0.1") for _ in range(3)]
            assert next(as_completed(first, timeout=20)).result() == 429
            other = pool.submit(post, "127.0.0.2")
            end = time.monotonic() + 20
            while len(searcher.files) < 3:
                assert time.monotonic() < end
                time.sleep(0.02)
            assert post("127.0.0.3") == 503
        finally:
            searcher.gate.set()
        assert sorted(one.result() for one in (*first, other)) == [200, 200, 200, 429]
        assert post("127.0.0.1") == 200


def test_no_limit_where_none_is_wanted(searcher):
    with running(searcher, connections=0) as port, ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(200)]
        assert status(port) == 200
        held[0].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" in held[0].recv(1000)
