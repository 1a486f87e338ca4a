"""Damaged vectors are found before the engine, which trusts its files, opens them."""

import json
import os
import random
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import mlcmr
from mlcmr.cli import main
from mlcmr.errors import CorruptFileError, MlcmrError
from mlcmr.search import Searcher
from mlcmr.search.http.app import create_app
from mlcmr.search.http.service import ServerLimits
from mlcmr.search.indexing.checksums import CHECKSUMS, DamagedIndex, Guard, write_checksums
from mlcmr.search.indexing.manifest import read_info
from mlcmr.search.indexing.payload import SEGMENT_FIELDS
from mlcmr.search.indexing.storage import IndexWriter, open_published
from mlcmr.search.indexing.storage import _copy as copy_sparsely
from mlcmr.search.stores.base import VectorQuery
from mlcmr.search.stores.qdrant_edge import EdgeStore
from tests.helpers import processes
from tests.helpers.indexes import SIZE, content, copy_index, points, vectors


@pytest.fixture
def index(indexed, tmp_path) -> Path:
    return copy_index(indexed, tmp_path / "index")


def current(index) -> Path:
    return index / f"vectors-{read_info(index).generation}"


def files(index) -> list[Path]:
    names = json.loads((current(index) / CHECKSUMS).read_text())["files"]
    return [current(index) / name for name in names]


def flip(path, draw):
    """Changes one bit of a file, among the bytes that are not zero where there are some."""
    with path.open("r+b") as file:
        start = file.read(4096)
        at = draw.choice([n for n, byte in enumerate(start) if byte] or range(path.stat().st_size))
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << draw.randrange(8)]))


def damage(path, how, draw):
    if how == "flip":
        flip(path, draw)
    elif how == "cut":
        os.truncate(path, draw.randrange(path.stat().st_size))
    elif how == "longer":
        with path.open("ab") as file:
            file.write(b"\0")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "gone":
        path.unlink()
    elif how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize("how", ["flip", "cut", "longer", "empty", "gone", "link", "pipe"])
def test_each_file_that_is_damaged_is_named(indexed, tmp_path, how):
    """The engine is never asked: it might hang, or end the process."""
    draw = random.Random(how)
    index = copy_index(indexed, tmp_path / "index")
    there = [path for path in files(index) if path.stat().st_size]
    assert len(there) > 40
    for path in there if how == "flip" else draw.sample(there, 12):
        copy_sparsely(str(path), str(tmp_path / "aside"))
        damage(path, how, draw)
        with pytest.raises(DamagedIndex, match=path.name):
            Guard(current(index))
        path.with_name("elsewhere").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        (tmp_path / "aside").rename(path)
    Guard(current(index))


def _open_damaged(index: str, log: str) -> None:
    with Path(log).open("w") as lines:
        draw = random.Random(0)
        for path in draw.sample([one for one in files(Path(index)) if one.stat().st_size], 16):
            aside = Path(log).with_name("aside")
            copy_sparsely(str(path), str(aside))
            flip(path, draw)
            for open_it in (open_published, lambda folder: IndexWriter(folder).open_stores()):
                try:
                    open_it(Path(index))
                    lines.write(f"opened {path}\n")
                except MlcmrError as error:
                    lines.write(f"{str(error).count(path.name)} {len(str(error).splitlines())}\n")
            aside.rename(path)
        lines.write("end\n")


def test_neither_readers_nor_writers_open_what_is_damaged(index, tmp_path):
    process = processes.start_function(_open_damaged, str(index), str(tmp_path / "log"))
    process.join(120)
    assert process.exitcode == 0
    *lines, end = (tmp_path / "log").read_text().splitlines()
    assert end == "end"
    assert set(lines) == {"1 1"}


def test_commands_say_it_in_one_line(index, trained, capfd):
    path = max(files(index), key=lambda one: one.stat().st_blocks)
    os.truncate(path, path.stat().st_size // 2)
    source = str(trained.parent / "tiny")
    for words in (["search", "a dog", "--index"], ["serve", "--port", "0"], ["index", source, "--to"],
                  ["index", "--remove", "dog_runs-1", "--to"]):  # fmt: skip
        assert main([*words, str(index)]) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert f"{path}: is damaged: not as it was written; restore the index" in error


@pytest.mark.parametrize("how", ["flip", "cut"])
def test_serving_says_503_and_why_and_goes_on_when_it_is_mended(index, how, monkeypatch):
    logged = []
    monkeypatch.setattr("mlcmr.search.http.app._log.warning", lambda text, *rest: logged.append(text % rest))
    searcher = Searcher(index, device="cpu")
    path = max(files(index), key=lambda one: one.stat().st_blocks)
    whole = path.read_bytes()
    app = create_app(searcher, limits=ServerLimits(rate=0.0))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        before = client.get("/api/search?q=a dog runs").json()["hits"]
        for mend in ("in place", "by a new file"):
            damage(path, how, random.Random(1))
            for address in ("/api/search?q=a", "/api/videos/dog_runs-1", "/api/similar/dog_runs-1"):
                answer = client.get(address)
                assert answer.status_code == 503
                assert answer.json() == {
                    "error": "a file of the index is damaged; the server's log says which"
                }
            assert client.get("/health").status_code == 200
            assert str(path) in logged[-1]
            if mend == "in place":
                path.write_bytes(whole)
            else:
                path.with_name("new").write_bytes(whole)
                path.with_name("new").replace(path)
            assert client.get("/api/search?q=a dog runs").json()["hits"] == before
    searcher.close()


def test_readers_change_nothing_that_is_checked(index):
    """Else one reader would take another's traces for damage."""
    for _ in range(3):
        _, stores = open_published(index)
        list(stores.segments.scan(["video"]))
        stores.segments.search(
            [VectorQuery(stores.segments.get([next(stores.segments.scan([]))[0]])[0].vector, 3)]
        )
        stores.close()
        Guard(current(index))


@pytest.mark.parametrize("graph", [False, True])
def test_what_is_sealed_stays_as_it_is(tmp_path, monkeypatch, graph):
    if graph:
        monkeypatch.setattr("mlcmr.search.stores.qdrant_edge.EXACT_NUMBERS", 100 * SIZE)
    draw = random.Random(3)
    for _ in range(3):
        (tmp_path / CHECKSUMS).unlink(missing_ok=True)
        store = EdgeStore(tmp_path / "segments", SIZE, SEGMENT_FIELDS, writing=True)
        for _ in range(3):
            store.upsert(points(vectors(draw.randrange(1, 400), draw.randrange(99)), draw.randrange(900)))
            store.delete([point.id for point in points(vectors(draw.randrange(1, 200)), draw.randrange(900))])
        store.optimize()
        store.seal()
        write_checksums(tmp_path)
        for _ in range(2):
            guard = Guard(tmp_path)
            readers = [EdgeStore(tmp_path / "segments", SIZE, SEGMENT_FIELDS) for _ in range(2)]
            for one in readers:
                one.search([VectorQuery(vectors(1)[0], 10)])
            guard.check()
            for one in readers:
                one.close()
            guard.check()


def test_an_index_without_checksums_opens_and_gets_them_with_the_next_write(index, indexed):
    (current(index) / CHECKSUMS).unlink()
    assert content(index) == content(indexed)
    mlcmr.index(None, index, remove=["dog_runs-1"])
    assert len(files(index)) > 40
    Guard(current(index))


def test_without_checksums_a_file_that_gets_shorter_is_found(index):
    path = max(files(index), key=lambda one: one.stat().st_blocks)
    (current(index) / CHECKSUMS).unlink()
    guard = Guard(current(index))
    os.truncate(path, 10)
    with pytest.raises(DamagedIndex, match=path.name):
        guard.check()


def test_damage_gets_no_new_checksums(index):
    path = max(files(index), key=lambda one: one.stat().st_blocks)
    flip(path, random.Random(2))
    with IndexWriter(index) as writer, pytest.raises(DamagedIndex):
        writer.open_for_writing()
    assert read_info(index).generation == 1
    assert not (index / "vectors-2").exists()


def test_zeros_count_as_holes(tmp_path):
    for name, hole in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "file").open("wb") as file:
            file.write(b"x")
            if hole:
                file.seek(5_000_000)
            else:
                file.write(bytes(4_999_999))
            file.write(b"y")
            file.truncate(9_000_000)
        write_checksums(tmp_path / name)
    assert (tmp_path / "a" / CHECKSUMS).read_text() == (tmp_path / "b" / CHECKSUMS).read_text()


def test_it_is_quick_where_nothing_has_changed(index):
    guard = Guard(current(index))
    start = time.perf_counter()
    for _ in range(100):
        guard.check()
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": {"a": 3}}', '{"files": {"../x": {"bytes": 1}}}'])
def test_damaged_checksums_are_damage(index, text):
    (current(index) / CHECKSUMS).write_text(text)
    with pytest.raises(DamagedIndex, match=CHECKSUMS):
        open_published(index)


class PanicException(BaseException):
    """As the engine's bindings raise it."""


@pytest.mark.parametrize(
    ("call", "use"),
    [
        ("query_batch", lambda store: store.search([VectorQuery(vectors(1)[0], 3)])),
        ("retrieve", lambda store: store.get(["00000000-0000-0000-0000-000000000001"])),
        ("scroll", lambda store: list(store.scan(["video"]))),
    ],
)
def test_a_panic_of_the_engine_is_one_line(index, call, use):
    _, stores = open_published(index)

    def panic(*_, **__):
        raise PanicException("index out of bounds")

    store = stores.segments
    shard = store._shard
    store._shard = type("Shard", (), {call: panic, "count": lambda *_: 3})()
    with pytest.raises(CorruptFileError, match=r"segments: cannot be (searched|read): index out of bounds"):
        use(store)
    store._shard = type("Shard", (), {call: lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt())})()
    with pytest.raises(KeyboardInterrupt):
        use(store)
    store._shard = shard
    stores.close()
