"""An index on a server, over HTTP: what is sent and found there, and what is said when something is wrong."""

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import mlcmr
from mlcmr.cli import main
from mlcmr.data.captions import write_captions
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError
from mlcmr.extraction.records import Segment, VideoRecord, write_videos
from mlcmr.search import Filters, Searcher
from mlcmr.search.indexing.payload import CAPTION_FIELDS, FILTER_FIELDS, segment_id
from mlcmr.search.stores import qdrant_server as server
from mlcmr.search.stores.base import Point, VectorQuery
from mlcmr.search.stores.qdrant_server import ServerStore, require_free, whole_address
from tests.helpers import processes
from tests.helpers.indexes import SIZE, content, identity, keep_features, points, vectors
from tests.helpers.qdrant_server import LARGEST, Asked, QdrantServer, shared_server
from tests.helpers.tiny import FEATURE, SCENES, frames, video_name

COLLECTIONS = ("films-segments", "films-captions")


@pytest.fixture(autouse=True)
def no_key(monkeypatch) -> None:
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)


@pytest.fixture
def qdrant() -> Iterator[QdrantServer]:
    with QdrantServer() as one:
        yield one


def index_on(qdrant: QdrantServer, place: Path, to: str = "index", **options):
    options = {"url": qdrant.url, "name": "films", "device": "cpu", **options}
    return mlcmr.index(place / "tiny", place / to, **options)


def said(capfd) -> str:
    """The one line that a command has said of an error."""
    error = capfd.readouterr().err
    assert error.count("\n") == 1, error
    return error


# ─── finding ─────────────────────────────────────────────────────────────────────────────────────────────


def record_videos(collection: Path) -> None:
    """Gives the videos lengths, sizes and files; all but images have two segments."""
    records = []
    for number, (who, does) in enumerate(SCENES):
        rows, image = len(frames(who, does)), does == "sleeps"
        length = 0.0 if image else 1.5 + number
        cuts = [(0.0, length, (0, rows))]
        if not image:
            cuts = [(0.0, 1.0, (0, 1)), (1.0, length, (1, rows))]
        records.append(
            VideoRecord(
                video=video_name(who, does),
                path=f"/films/{who}/{does}.{'jpg' if image else 'mp4'}",
                bytes=number,
                modified_ns=number,
                kind="image" if image else "video",
                duration=length,
                width=320 * (1 + number % 4),
                height=240 * (1 + number % 3),
                times=tuple(map(float, range(rows))),
                segments=tuple(Segment(*cut, thumbnail="") for cut in cuts),
            )
        )
    write_videos(collection, records, FEATURE)


@pytest.fixture(scope="module")
def pair(trained, tmp_path_factory) -> Iterator[tuple[Searcher, Searcher]]:
    """Searchers of one collection: in a folder, and on a server."""
    place = tmp_path_factory.mktemp("pair")
    shutil.copytree(trained.parent / "tiny", place / "tiny")
    record_videos(place / "tiny")
    mlcmr.index(place / "tiny", place / "here", run=trained, device="cpu")
    index_on(shared_server(), place, "there", run=trained, name="pair")
    assert not list((place / "there").glob("vectors-*"))
    searchers = Searcher(place / "here", device="cpu"), Searcher(place / "there", device="cpu")
    yield searchers
    for one in searchers:
        one.close()


def require_equal(hits, expected) -> None:
    """The same hits with the same scores; among equal scores, in any order."""
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    held = {replace(hit, score=0.0): hit.score for hit in hits}
    assert held == pytest.approx({replace(hit, score=0.0): hit.score for hit in expected}, abs=1e-6)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        (["duration<9"], 18), (["duration<=9.5"], 20), (["duration>30"], 12), (["duration>=31.5"], 10),
        (["duration=9.5"], 2), (["start>=1"], 30), (["start=0"], 36), (["end<=1"], 36), (["end>36"], 1),
        (["width>=1280"], 15), (["height=240"], 24), (["kind=image"], 6), (["kind!=image"], 60),
        (["video=dog_runs-1"], 2), (["video!=dog_runs-1"], 64), (["path=/films/dog/runs.mp4"], 2),
        (["path~dog/"], 11), (["path~/Dog"], 0), (["path~og/s", "kind=video", "duration>4", "start<1"], 2),
    ],
)  # fmt: skip
def test_filters_leave_the_same_hits(pair, written, count):
    here, there = (one.search("A dog runs.", k=100, filters=Filters.parse(written)) for one in pair)
    assert len(here) == count
    require_equal(there, here)


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: one.search("一只狗在跑", k=5),
        lambda one: one.search("der Hund", language="de", k=70),
        lambda one: one.similar("dog_runs-1", k=5),
        lambda one: one.similar("dog_runs-1", 1, k=70, filters=Filters.parse(["kind=video"])),
        lambda one: one.captions("dog_runs-1", k=5, language="en"),
        lambda one: one.captions("dog_runs-1", k=200),
        lambda one: one.captions("dog_runs-1", language="fr"),
        lambda one: one.video("cat_eats-1"),
        lambda one: one.video("cat_sleeps-1"),
        lambda one: [one.segment("cat_eats-1", 1)],
    ],
)
def test_the_same_is_found_as_in_a_folder(pair, ask):
    here, there = map(ask, pair)
    require_equal(there, here)


def test_many_are_found_as_in_a_folder(pair):
    wanted = [None, Filters.parse(["video=cat_runs-1"]), Filters.parse(["duration>1000"])]
    here, there = (
        one.search_many(["A dog runs.", "一只猫", "A girl sings."], k=[7, 3, 5], filters=wanted)
        for one in pair
    )
    assert list(map(len, here)) == [7, 2, 0]
    for hits, expected in zip(there, here, strict=True):
        require_equal(hits, expected)
    assert [(one.size, one.exact, one.languages) for one in pair] == [(66, True, ("en", "zh"))] * 2


def test_commands(place, trained, qdrant, capfd, monkeypatch):
    """A search only reads."""
    monkeypatch.chdir(place)
    words = ["--run", str(trained), "--url", qdrant.url, "--device", "cpu"]
    assert main(["index", "tiny", "--to", "my films", *words]) == 0
    assert "36 added" in capfd.readouterr().out
    assert qdrant.engine.count("my films-segments").count == 36
    qdrant.asked.clear()
    assert (
        main(["search", "A dog runs.", "-k", "3", "--index", "my films", "--filter", "video!=dog_runs-1"])
        == 0
    )
    assert {(one.method, one.path.rpartition("/")[2]) for one in qdrant.asked} == {
        ("GET", "exists"), ("GET", "my films-segments"), ("GET", "my films-captions"), ("POST", "count"),
        ("POST", "batch"),
    }  # fmt: skip
    shown = capfd.readouterr()
    assert "dog_" in shown.out
    assert "dog_runs-1" not in shown.out
    assert "exact search in 36 segments" in shown.err
    assert main(["search", "--similar", "dog_runs-1", "--captions", "--json", "--index", "my films"]) == 0
    assert len(json.loads(capfd.readouterr().out)) == 10


# ─── writing ─────────────────────────────────────────────────────────────────────────────────────────────


def test_what_has_come_changed_and_gone(place, trained, qdrant):
    """The server holds what a folder would that was indexed only once, at the end."""
    keep_features(place, SCENES[:20])
    assert index_on(qdrant, place, run=trained).added == 20
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.size == 20
    keep_features(place, SCENES[6:])
    path = place / "tiny" / "TextData" / "tinytest.caption.txt"
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    write_captions(
        path, [(one, "Something else.") if one == lines[0][0] else (one, text) for one, text in lines]
    )
    summary = index_on(qdrant, place, prune=True)
    assert (summary.added, summary.removed, summary.segments, summary.captions) == (16, 6, 30, 120)
    mlcmr.index(place / "tiny", place / "once", run=trained, device="cpu")
    assert content(place / "index") == content(place / "once")
    summary = mlcmr.index(None, place / "index", remove=["cat_runs-1"])
    assert (summary.removed, summary.segments, summary.captions) == (1, 29, 116)
    assert [qdrant.engine.count(name).count for name in COLLECTIONS] == [29, 116]
    # Whoever had it open sees all of this.
    assert searcher.size == 29
    assert "cat_runs-1" not in {hit.video for hit in searcher.search("A cat runs.", k=50)}


def test_two_indexes_do_not_share_what_is_on_a_server(place, trained, qdrant):
    index_on(qdrant, place, "first", run=trained)
    before = content(place / "first")
    keep_features(place, SCENES[:3])
    with pytest.raises(
        InvalidValueError,
        match=rf"^Qdrant server {qdrant.url}: .*'films-segments' belongs to another index; .*`name`$",
    ) as caught:
        index_on(qdrant, place, "second", run=trained, prune=True)
    assert caught.value.parameter == "name"
    assert not (place / "second" / "index.json").exists()
    assert content(place / "first") == before
    assert index_on(qdrant, place, "second", run=trained, name="more").segments == 3
    # Also where the other one came later, under the name that this one had.
    for name in COLLECTIONS:
        qdrant.engine.delete_collection(name)
    with pytest.raises(
        NotFoundError,
        match=rf"^Qdrant server {qdrant.url}: has no collection 'films-segments'; run `mlcmr index`",
    ):
        Searcher(place / "first", device="cpu")
    index_on(qdrant, place, "third", run=trained)
    for ask in (
        lambda: index_on(qdrant, place, "first"),
        lambda: Searcher(place / "first", device="cpu"),
    ):
        with pytest.raises(
            MlcmrError, match=rf"^Qdrant server {qdrant.url}: .*belongs to another index; index into another"
        ):
            ask()
    assert Searcher(place / "third", device="cpu").size == 3


class Stop:
    """Lets a request wait, before or instead of doing what it asks, until whoever sent it is gone."""

    def __init__(self, path: str, number: int, *, done: bool) -> None:
        self._path, self._left, self._done = path, number, done
        self.reached, self.gone = threading.Event(), threading.Event()

    def __call__(self, asked: Asked) -> None:
        if asked.method == "PUT" and asked.path.endswith(self._path):
            self._left -= 1
            if self._left == 0:
                self.reached.set()
                assert self.gone.wait(processes.TIMEOUT)
                assert self._done, "nobody is there any more"


@pytest.mark.slow
def test_killed_is_as_not_killed(place, trained, indexed, qdrant, tmp_path):
    """`kill -9` at every kind of write, then the same command to its end."""
    words = ["index", place / "tiny", "--to", place / "index", "--run", trained]
    words += ["--url", qdrant.url, "--name", "films", "--device", "cpu"]
    for stop in (
        Stop(COLLECTIONS[0], 1, done=True),
        Stop("segments/index", 3, done=False),
        Stop("captions/index", 1, done=True),
        Stop("/points", 1, done=False),
        Stop("/points", 2, done=True),
    ):
        qdrant.before = stop
        command = processes.start(words, tmp_path / "log")
        assert command.wait_until(stop.reached.is_set), command.output
        command.kill()
        stop.gone.set()
    last = processes.run(words, tmp_path / "log")
    assert last.process.exitcode == 0, last.output
    assert "36 as before" in last.output
    assert content(place / "index") == content(indexed)
    # The payload indexes, which make filters fast, exist too and were not created twice.
    assert [set(qdrant.indexes[name]) for name in COLLECTIONS] == [set(FILTER_FIELDS), set(CAPTION_FIELDS)]
    qdrant.asked.clear()
    index_on(qdrant, place)
    assert not qdrant.bodies("/index")


def test_a_server_that_fails_meanwhile(place, trained, indexed, qdrant, capfd):
    def fail(asked: Asked) -> None:
        if asked.method == "PUT" and asked.path == "/collections/films-captions/points":
            raise OSError("the disk is full")

    qdrant.before = fail
    words = ["index", str(place / "tiny"), "--to", str(place / "index"), "--run", str(trained)]
    words += ["--url", qdrant.url, "--name", "films", "--device", "cpu"]
    assert main(words) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert f"Qdrant server {qdrant.url}, collection 'films-captions': answers 500: " in error
    assert error.endswith("the disk is full")
    qdrant.before = lambda _: None
    assert main(words) == 0
    assert "36 as before" in capfd.readouterr().out
    assert content(place / "index") == content(indexed)


# ─── what is sent ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def make(qdrant) -> Callable[..., ServerStore]:
    """Makes an empty store."""

    def made(size: int = SIZE) -> ServerStore:
        return ServerStore(qdrant.url, "store", size, FILTER_FIELDS, "abc", writing=True)

    return made


def test_whatever_filters_are_put_on_is_indexed(make, qdrant):
    make()
    keyword = {"type": "keyword", "prefix": True}  # the option is what path~PART is found by
    texts, numbers = ("video", "kind", "path"), ("duration", "start", "end", "width", "height")
    assert {body["field_name"]: body["field_schema"] for body in qdrant.bodies("/index")} == {
        **dict.fromkeys(texts, keyword),
        **dict.fromkeys(numbers, "float"),
    }


def test_all_vectors_are_compared_while_they_are_few(make, qdrant, monkeypatch):
    store = make()
    store.upsert(points(vectors(20)))
    for most, exact, params in ((20 * SIZE, True, {"exact": True}), (20 * SIZE - 1, False, {"hnsw_ef": 128})):
        monkeypatch.setattr(server, "EXACT_NUMBERS", most)
        qdrant.asked.clear()
        assert store.exact is exact
        store.search([VectorQuery(vectors(1)[0], 3)] * 2)
        (body,) = qdrant.bodies("/query/batch")
        assert [one["params"] for one in body["searches"]] == [params] * 2


def test_requests_stay_well_below_what_servers_refuse(make, qdrant):
    """Without blocks, these points would be 35 MB."""
    rows, store = vectors(800, size=2048), make(2048)
    store.upsert(points(rows))
    sizes = [one.size for one in qdrant.asked if one.path.endswith("/points")]
    assert sum(sizes) > LARGEST
    assert max(sizes) < LARGEST / 2
    assert store.count() == 800
    assert {one.id for one in store.get([identity(n) for n in range(800)])} == set(map(identity, range(800)))
    found = store.search([VectorQuery(row, 1) for row in rows[:300]])
    assert [one.id for (one,) in found] == list(map(identity, range(300)))


def test_points_go_in_blocks(make, qdrant):
    store = make(4)
    rows = vectors(2500, size=4)
    store.upsert([Point(identity(n), row, {"video": str(n)}) for n, row in enumerate(rows)])
    assert [len(body["points"]) for body in qdrant.bodies("/points")] == [1000, 1000, 500]
    assert dict(store.scan(["video"])) == {identity(n): {"video": str(n)} for n in range(2500)}
    assert len(store.get([identity(n) for n in range(2500)])) == 2500
    store.delete([identity(n) for n in range(1, 2500)])
    assert [len(body["points"]) for body in qdrant.bodies("/delete")] == [1000, 1000, 499]
    assert store.count() == 1
    qdrant.asked.clear()
    store.upsert([])
    store.delete([])
    assert (store.get([]), store.search([])) == ([], [])
    assert {one.path.rpartition("/")[2] for one in qdrant.asked} <= {"count"}


def test_connections_are_closed(place, trained, qdrant, monkeypatch):
    """Also those of an index that a newer one has followed, once nobody searches in it."""
    open_now: set[int] = set()

    class Counted(server.QdrantClient):
        def __init__(self, **options) -> None:
            super().__init__(**options)
            open_now.add(id(self))

        def close(self, **options) -> None:
            super().close(**options)
            open_now.discard(id(self))

    monkeypatch.setattr(server, "QdrantClient", Counted)
    index_on(qdrant, place, run=trained)
    assert not open_now
    searcher = Searcher(place / "index", device="cpu")
    for video in ("dog_runs-1", "dog_eats-1", "cat_eats-1"):
        in_use = searcher._index.state
        mlcmr.index(None, place / "index", remove=[video])
        assert searcher.search("a")
        assert len(open_now) == 4
        assert in_use.stores.segments.get([segment_id("cat_runs-1", 0)])
        del in_use
        assert len(open_now) == 2
    searcher.close()
    assert not open_now
    with pytest.raises(MlcmrError, match="belongs to another index"):
        ServerStore(qdrant.url, "films-segments", 32, FILTER_FIELDS, "other")
    assert not open_now


# ─── servers that are not there, or want something else ──────────────────────────────────────────────────


def test_a_server_that_is_away(place, trained, qdrant, capfd, monkeypatch):
    monkeypatch.chdir(place)
    words = ["index", "tiny", "--run", str(trained), "--url", qdrant.url, "--device", "cpu"]
    line = f"Qdrant server {qdrant.url}"
    qdrant.stop()
    assert main(words) == 2
    error = said(capfd)
    assert line in error
    assert error.endswith("Connection refused; check that the server runs, and its address\n")
    assert not (place / "index" / "index.json").exists()
    qdrant.start()
    assert main(words) == 0
    qdrant.stop()
    capfd.readouterr()
    for again in (
        words,
        ["index", "--remove", "dog_runs-1"],
        ["search", "A dog runs."],
        ["serve", "--port", "0", "--device", "cpu"],
    ):
        assert main(again) == 2
        assert line in said(capfd)
    qdrant.start()
    assert main(["search", "A dog runs."]) == 0


def test_a_server_that_hangs(place, trained, monkeypatch):
    monkeypatch.setattr(server, "_TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url, start = f"http://127.0.0.1:{silent.getsockname()[1]}", time.monotonic()
        with pytest.raises(MlcmrError, match=rf"^Qdrant server {url}: timed out; check that the server runs"):
            require_free(url, ["films"])
        assert time.monotonic() - start < 30


def test_serving_goes_on_when_the_server_is_back(place, trained, qdrant, tmp_path):
    index_on(qdrant, place, run=trained)
    addresses = [
        "/api/search?q=A dog runs.&k=3", "/api/similar/dog_runs-1", "/api/videos/dog_runs-1",
        "/thumbnails/dog_runs-1/0",
    ]  # fmt: skip
    with processes.serving(place / "index", tmp_path / "log") as (command, url):
        before = [httpx.get(url + address, timeout=60) for address in addresses]
        assert [one.status_code for one in before] == [200, 200, 200, 404]
        assert before[0].json()["hits"][0]["video"] == "dog_runs-1"
        qdrant.stop()
        for address in addresses:
            answer = httpx.get(url + address, timeout=60)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert "127.0.0.1" not in answer.text
        assert f"cannot answer: Qdrant server {qdrant.url}, collection 'films-segments'" in command.output
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200
        qdrant.start()
        after = [httpx.get(url + address, timeout=60) for address in addresses]
        assert [one.status_code for one in after] == [200, 200, 200, 404]
        assert after[0].json()["hits"] == before[0].json()["hits"]
        assert "Traceback" not in command.output


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("key", "words"), [(None, "Must provide an API key"), ("wrong", "Invalid API key")])
def test_the_key(place, trained, capfd, monkeypatch, key, words):
    monkeypatch.chdir(place)
    with QdrantServer(key="right") as qdrant:
        command = ["index", "tiny", "--run", str(trained), "--url", qdrant.url, "--device", "cpu"]
        if key is not None:
            monkeypatch.setenv("QDRANT_API_KEY", key)
        assert main(command) == 2
        error = said(capfd)
        assert f"Qdrant server {qdrant.url}: answers 401: {words}" in error
        assert error.endswith("; set the environment variable QDRANT_API_KEY to its API key\n")
        monkeypatch.setenv("QDRANT_API_KEY", "right\n")  # as files with keys end
        assert main(command) == 0
        assert main(["search", "A dog runs."]) == 0
        capfd.readouterr()
        monkeypatch.setenv("QDRANT_API_KEY", "old")
        assert main(["search", "A dog runs."]) == 2
        assert "QDRANT_API_KEY" in said(capfd)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://qdrant", "http://qdrant:6333"),
        ("http://qdrant:80/", "http://qdrant:80"),
        ("https://x.cloud.qdrant.io", "https://x.cloud.qdrant.io:6333"),
        ("https://host:443/vectors/", "https://host:443/vectors"),
        ("http://[::1]", "http://[::1]:6333"),
    ],
)
def test_an_address_has_a_port(url, whole):
    assert whole_address(url) == whole
    assert server.connect(whole)._client.rest_uri == whole  # as the client reads it


@pytest.mark.parametrize(
    "url",
    ["qdrant", "127.0.0.1:6333", "localhost:6333", "htp://host:6333", "http:/host:6333", "http://", "http://[",
     "http://host:port", "http://host:99999", "http://me:password@host:6333", "nonsense://"],
)  # fmt: skip
def test_what_is_no_address(place, trained, capfd, url):
    words = [
        "index",
        str(place / "tiny"),
        "--to",
        str(place / "index"),
        "--run",
        str(trained),
        "--device",
        "cpu",
    ]
    assert main([*words, "--url", url]) == 2
    assert (
        f"--url is {url}, which is not the address of a Qdrant server; expected http://HOST:6333 or https"
        in said(capfd)
    )
    assert not (place / "index" / "index.json").exists()


def test_whoever_has_mistyped_an_address_says_it_anew(place, trained, qdrant):
    for url in ("http://127.0.0.1:1", "nonsense://"):
        with pytest.raises(MlcmrError):
            index_on(qdrant, place, run=trained, url=url)
    assert index_on(qdrant, place, run=trained).segments == 36
    assert index_on(qdrant, place, url=f"{qdrant.url}/").unchanged == 36  # however it is written
    with pytest.raises(
        InvalidValueError,
        match=f"are on the server {qdrant.url}, with `name` films, .*; index into another folder",
    ):
        index_on(qdrant, place, url="http://127.0.0.1:1")


def test_a_name_that_no_collection_can_have(place, trained, qdrant):
    with pytest.raises(
        InvalidValueError, match=r"a collection cannot contain '/': 'a/b-segments'; choose another"
    ):
        index_on(qdrant, place, run=trained, name="a/b")
    with pytest.raises(InvalidValueError, match=r"cannot contain ':'.*; choose another `name`"):
        index_on(qdrant, place, "films: new", run=trained, name=None)
    assert qdrant.asked == []


def test_another_server_at_that_address(qdrant):
    with pytest.raises(MlcmrError, match=r"/vectors: answers 404: .*") as caught:
        require_free(f"{qdrant.url}/vectors", ["films"])
    assert qdrant.asked[-1].path == "/vectors/"
    assert "\n" not in str(caught.value)
    with (
        QdrantServer(version="") as other,
        pytest.raises(MlcmrError, match="or check its address"),
    ):
        require_free(other.url, ["films"])


def test_an_old_server_is_refused_before_anything_is_made(place, trained):
    with QdrantServer(version="1.19.2") as old:
        with pytest.raises(
            MlcmrError,
            match=rf"^Qdrant server {old.url}: has version '1\.19\.2', but must have 1\.20 or newer",
        ):
            index_on(old, place, run=trained)
        assert old.engine.get_collections().collections == []
    assert not (place / "index" / "index.json").exists()
