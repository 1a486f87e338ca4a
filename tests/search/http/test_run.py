"""The process of the server: its addresses, its lines, and how it starts and ends."""

import os
import signal
import socket
import threading
import time

import httpx
import pytest
import uvicorn

from mlcmr.search.http.run import _listen, serve
from mlcmr.search.http.service import ServerLimits
from mlcmr.search.http.uploads import remove_leftovers
from tests.helpers import processes
from tests.helpers.bombs import gif
from tests.helpers.http_api import TOKEN


def ended(command, number):
    start = time.monotonic()
    os.kill(command.process.pid, number)
    status = command.wait()
    assert time.monotonic() - start < 15
    return status


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_it_cleanly(index, tmp_path, number, status):
    with processes.serving(index, tmp_path / "log") as (command, url):
        answer = httpx.get(f"{url}/api/search", params={"q": "一个红色的圆形"}, timeout=60)
        assert len(answer.json()["hits"]) == 10
        assert ended(command, number) == status
        assert "Traceback" not in command.output
        assert command.output.endswith("stop: Ctrl+C\n")
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def begin_upload(url, content):
    """A connection on which an upload has been begun."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), 10)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mkv"\r\n\r\n'
    connection.sendall(
        b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: %d\r\n\r\n" % (len(head) + len(content) + 9) + head + content
    )
    return connection


@pytest.mark.parametrize(("number", "stage"), [(signal.SIGINT, "received"), (signal.SIGTERM, "read")])
def test_a_signal_during_an_upload(index, tmp_path, number, stage):
    temporary = tmp_path / "tmp"
    with processes.serving(index, tmp_path / "log") as (command, url):
        with begin_upload(url, gif(3000, frames=1500)) as connection:
            if stage == "read":
                connection.sendall(b"\r\n--b--\r\n")
                assert command.wait_until(lambda: list(temporary.glob("mlcmr-upload-*")))
            else:
                time.sleep(0.5)
            ended(command, number)
            assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
        assert "Traceback" not in command.output
        assert list(temporary.iterdir()) == []


def test_no_part_of_an_answer_waits_for_a_receipt():
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_every_address_is_of_both_kinds():
    with _listen("::", 0) as listener:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listener.getsockname()[1]), 10).close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_web_server_on_this_machine_tells_clients_apart(index, monkeypatch, host):
    statuses = []

    def run(server, sockets):
        (listener,) = sockets
        thread = threading.Thread(target=run_it, args=(server, sockets))
        thread.start()
        address = (
            f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/api/openapi.json"
        )
        for client in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
            headers = {"X-Forwarded-For": client, "Authorization": f"Bearer {TOKEN}"}
            statuses.append(httpx.get(address, headers=headers, timeout=60).status_code)
        server.should_exit = True
        thread.join(10)

    run_it = uvicorn.Server.run
    monkeypatch.setattr("uvicorn.Server.run", run)
    serve(index, host="::", port=0, token=TOKEN, device="cpu", limits=ServerLimits(rate=0.001))
    assert statuses == [200, 429, 200]


def test_a_browser_in_the_terminal_does_not_keep_the_server_waiting(index, monkeypatch):
    runs, opened = threading.Event(), []
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: runs.set())
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append((address, runs.wait(10))))
    serve(index, port=0, device="cpu", browse=True)
    end = time.monotonic() + 10
    while not opened and time.monotonic() < end:
        time.sleep(0.01)
    ((address, was_served),) = opened
    assert address.startswith("http://127.0.0.1:")
    assert was_served


def test_its_lines_are_not_broken(index, monkeypatch, capfd):
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    monkeypatch.setenv("COLUMNS", "40")
    serve(index, port=0, device="cpu")
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("page: ")
    assert lines[1].endswith("stop: Ctrl+C")


def test_a_port_in_use_is_one_line(index, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = processes.run(["serve", index, "--port", str(port)], tmp_path / "log")
    assert command.process.exitcode == 2
    assert len(command.lines) == 1
    assert f"127.0.0.1:{port}: cannot listen there" in command.output


def test_what_a_killed_server_left_goes_at_the_next_start(index, tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def there():
        return [path for path in temporary.glob("mlcmr-upload-*") if path.stat().st_size]

    with (
        processes.serving(index, tmp_path / "log") as (command, url),
        begin_upload(url, gif(3000, frames=1500)) as connection,
    ):
        connection.sendall(b"\r\n--b--\r\n")
        assert command.wait_until(there)
        remove_leftovers()  # as another server does that starts meanwhile
        assert there()
        command.kill()
    assert there()
    (temporary / "mlcmr-upload-link").symlink_to(tmp_path / "log")
    with processes.serving(index, tmp_path / "second") as (_, url):
        assert [path.name for path in there()] == ["mlcmr-upload-link"]
        assert (tmp_path / "log").exists()


def test_an_upload_that_was_just_made_is_not_taken_for_one_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "mlcmr-upload-new").touch()
    (tmp_path / "mlcmr-upload-old").write_bytes(b"half a film")
    (tmp_path / "of another program").write_bytes(b"x")
    remove_leftovers()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlcmr-upload-new", "of another program"]
