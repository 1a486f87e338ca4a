"""Requests at the same time: queries are encoded together, and nobody waits too long."""

import gc
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import httpx
import pytest

from mlcmr.errors import MlcmrError
from mlcmr.search.filters import Filters
from mlcmr.search.http.batching import Batcher, TextQuery
from mlcmr.search.http.middleware import Overloaded
from tests.helpers.http_api import PNG, running, served, together


def test_queries_that_arrive_together_are_encoded_together(searcher):
    searcher.seconds = 0.3
    with running(searcher) as url:
        assert [status for status, _ in together(url, 24)] == [200] * 24
        assert "mlcmr_batch_size_count" in httpx.get(f"{url}/metrics", timeout=60).text
    assert sum(searcher.batches) == 24
    assert len(searcher.batches) <= 6


def test_more_than_can_wait_is_refused_while_the_others_wait(searcher):
    searcher.gate.clear()
    with (
        running(searcher, waiting=4) as url,
        httpx.Client(timeout=30) as client,
        ThreadPoolExecutor(24) as pool,
    ):
        asked = [pool.submit(client.get, f"{url}/api/search?q=a")]
        until(lambda: searcher.batches)
        asked += [pool.submit(client.get, f"{url}/api/search?q=a") for _ in range(23)]
        refused = [one.result() for one in islice(as_completed(asked, timeout=20), 24 - 4 - 1)]
        waiting = [one for one in asked if not one.done()]
        assert {answer.status_code for answer in refused} == {503}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200
        searcher.gate.set()
        assert [one.result().status_code for one in waiting] == [200] * 5  # the one that is answered, and 4
        assert client.get(f"{url}/api/search?q=a").status_code == 200


def test_a_query_that_takes_too_long_is_given_up(searcher):
    searcher.seconds = 0.5
    with served(searcher, limits={"seconds": 0.1}) as client:
        answer = client.get("/api/search?q=a")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        answer = client.post("/api/search", files={"file": ("a.png", PNG)})
        assert answer.status_code == 422
        assert "more than 0.1 s" in answer.json()["error"]


def test_uploads_at_a_time_are_limited_and_their_places_come_free(searcher):
    searcher.gate.clear()
    with running(searcher, uploads=3) as url, ThreadPoolExecutor(6) as pool:

        def post(_):
            return httpx.post(f"{url}/api/search", files={"file": ("a.png", PNG)}, timeout=30).status_code

        asked = [pool.submit(post, number) for number in range(6)]
        assert [one.result() for one in islice(as_completed(asked, timeout=20), 4)] == [429] * 4
        assert len(searcher.files) == 2
        searcher.gate.set()
        assert sorted(one.result() for one in asked) == [200] * 2 + [429] * 4
        assert [post(0), post(0), post(0)] == [200] * 3


def test_a_slow_upload_is_ended(searcher):
    with running(searcher, seconds=0.3) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(
                b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_an_upload_that_ends_too_late_leaves_nothing_in_the_log(searcher, caplog):
    searcher.seconds, searcher.error = 0.5, TimeoutError()
    with running(searcher, seconds=0.1) as url:
        assert httpx.post(url + "/api/search", files={"file": ("a.png", PNG)}, timeout=60).status_code == 422
        time.sleep(0.6)
        gc.collect()
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_look_ups_that_hang_leave_the_page_and_files_alone(searcher, monkeypatch):
    gate, similar = threading.Event(), type(searcher).similar
    monkeypatch.setattr(
        type(searcher), "similar", lambda *given, **options: gate.wait(20) and similar(*given, **options)
    )
    with running(searcher, waiting=40) as url, ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(httpx.get, f"{url}/api/similar/cat", timeout=30) for _ in range(60)]
        try:
            refused = [one.result() for one in islice(as_completed(asked, timeout=20), 12)]
            for path in ("/", "/page/app.js", "/media/cat", "/thumbnails/cat/0", "/health"):
                assert httpx.get(url + path, timeout=5).status_code == 200, path
        finally:
            gate.set()
        assert {answer.status_code for answer in refused} == {503}
        assert [one.result().status_code for one in asked].count(200) == 48
        assert httpx.get(f"{url}/api/similar/cat", timeout=60).status_code == 200


def test_a_look_up_that_takes_too_long_is_given_up(searcher, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(type(searcher), "video", lambda *_: gate.wait(20))
    with served(searcher, limits={"seconds": 0.1}) as client:
        answer = client.get("/api/videos/cat")
        gate.set()
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def occupied(searcher, **options):
    """A batcher whose thread answers one query until the searcher's gate is opened."""
    searcher.gate.clear()
    batcher = Batcher(searcher, **options)
    batcher.submit(TextQuery("first", None, 1, None))
    until(lambda: searcher.batches)
    return batcher


def test_one_query_that_fails_does_not_fail_its_neighbours(searcher):
    batcher = occupied(searcher)
    answers = [
        batcher.submit(TextQuery(text, language, 1, None))
        for text, language in (("cat", "en"), ("x", "xx"), ("狗", "zh"))
    ]
    searcher.gate.set()
    assert answers[0].result(5)[0].video == "cat"
    assert answers[2].result(5)[0].video == "dog.park-1"
    with pytest.raises(ValueError, match="language xx"):
        answers[1].result(5)
    batcher.close()


def test_queries_with_different_filters_are_one_batch(searcher):
    batcher = occupied(searcher)
    wanted = [None, Filters.parse(["kind=image"]), Filters.parse(["kind=video"]), None]
    answers = [batcher.submit(TextQuery("cat", None, 1, one)) for one in wanted]
    searcher.gate.set()
    assert [len(answer.result(5)) for answer in answers] == [1, 0, 1, 1]
    batcher.close()
    assert searcher.batches == [1, 4]


def test_when_the_index_fails_nobody_waits_for_the_others_to_fail(searcher):
    batcher = occupied(searcher)
    answers = [batcher.submit(TextQuery("cat", None, 1, None)) for _ in range(5)]
    searcher.error = MlcmrError("Qdrant server: connection refused")
    searcher.gate.set()
    for answer in answers:
        with pytest.raises(MlcmrError, match="refused"):
            answer.result(5)
    batcher.close()
    assert searcher.batches == [1, 5]


def test_queries_go_on_after_a_panic_and_health_tells_when_they_do_not(searcher):
    class Panic(BaseException):
        """As the engine's, which is no Exception."""

    with served(searcher, limits={"seconds": 5.0}) as client:
        searcher.error = Panic("index out of range")
        answer = client.get("/api/search?q=a")
        assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
        searcher.error = None
        assert client.get("/api/search?q=a").status_code == 200
        assert client.get("/health").status_code == 200
        client.app.state.service._batcher.close()
        assert client.get("/health").status_code == 503


def test_a_query_that_nobody_waits_for_is_not_answered(searcher):
    batcher = occupied(searcher, capacity=2)
    second = batcher.submit(TextQuery("second", None, 1, None))
    assert second.cancel()
    batcher.submit(TextQuery("third", None, 1, None))
    with pytest.raises(Overloaded):
        batcher.submit(TextQuery("fourth", None, 1, None))
    searcher.gate.set()
    batcher.close()
    assert searcher.batches == [1, 1]
