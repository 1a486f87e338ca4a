"""An index on disk: who reads and who writes it, the killed, and what is damaged."""

import errno
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

import mlcmr
from mlcmr.errors import (
    CorruptFileError,
    InUseError,
    MissingDependencyError,
    MlcmrError,
    NotFoundError,
    OutOfResourcesError,
)
from mlcmr.search import Searcher
from mlcmr.search.indexing import storage, update
from mlcmr.search.indexing.manifest import read_info
from mlcmr.search.indexing.payload import segment_id
from mlcmr.search.indexing.storage import IndexWriter, _copy, open_published, open_stores
from mlcmr.search.stores.base import Point
from mlcmr.search.stores.qdrant_edge import EdgeStore
from tests.helpers.indexes import content, copy_index
from tests.helpers.processes import start_function, wait_for_bytes


def test_an_index_that_is_not_all_there_says_so(indexed, tmp_path):
    copy_index(indexed, tmp_path / "copy")
    (vectors,) = (tmp_path / "copy").glob("vectors-*")
    shutil.rmtree(vectors)
    with pytest.raises(MlcmrError, match="missing or incomplete"):
        Searcher(tmp_path / "copy")


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"[]", b"\xff\xfe", b'{"format": 1}', b'{"format": 99}', b'{"format": 1, "model": 5}'],
)
def test_a_damaged_index(indexed, tmp_path, damage):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "index.json").write_bytes(damage)
    with pytest.raises(CorruptFileError, match=r"index\.json: .*; index into another folder \(`to`\)$"):
        Searcher(tmp_path / "index")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": 5}, "model is 5"),
        ({"languages": "en"}, "languages is 'en', but must be a list"),
        ({"languages": [5]}, r"languages\.0 is 5, but must be a text"),
        ({"generation": -1}, "generation is -1"),
        ({"generation": "../../x"}, "generation is '../../x', but must be a whole number"),
        ({"generation": 10**400}, "generation"),
        ({"rate": 0}, "rate is 0"),
        ({"rate": True}, "rate is true"),
        ({"count": 1.5}, "count is 1.5"),
        ({"url": ["http://a"]}, "url"),
        ({"feature": ""}, "feature"),
        ({"feature": "x" * 10**6}, "feature"),
        ({"id": None}, "id is null"),
        ({"format": "1"}, "format is '1'"),
        ({"url": "http://a"}, ".*url and name belong together"),
    ],
    ids=range(15),
)
def test_an_index_of_wrong_types_or_sizes(indexed, tmp_path, change, says):
    content = json.loads((indexed / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(content | change))
    with pytest.raises(
        CorruptFileError, match=rf"index\.json: {says}.*; index into another folder"
    ) as refused:
        read_info(tmp_path)
    assert len(str(refused.value)) < 500
    for name, value in (("kind", "other"), ("name", 5), ("embedding_size", 0), ("feature_size", 10**30)):
        wrong = content | {"model": content["model"] | {name: value}}
        (tmp_path / "index.json").write_text(json.dumps(wrong))
        with pytest.raises(CorruptFileError, match=rf"index\.json: model\.{name} is "):
            read_info(tmp_path)


def test_an_index_that_cannot_be_read_is_there(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(MlcmrError, match=r"index\.json: cannot be read: Permission denied"):
        read_info(tmp_path)


def test_damaged_vectors(indexed, tmp_path):
    path = copy_index(indexed, tmp_path / "index")
    (segments,) = path.glob("vectors-*/segments/segments")
    for file in segments.rglob("segment.json"):
        file.write_text("{")
    with pytest.raises(CorruptFileError, match=r"segment\.json: is damaged"):
        Searcher(path)
    (sums,) = path.glob("vectors-*/checksums.json")
    sums.unlink()  # an older version has none
    with pytest.raises(CorruptFileError, match="cannot be opened"):
        Searcher(path)


@pytest.mark.parametrize("kind", [InUseError, MissingDependencyError, CorruptFileError])
def test_a_store_that_cannot_be_opened_keeps_its_error(indexed, tmp_path, kind):
    """The first store is closed; only damage gets the advice to remove the files."""
    closed = []

    class Store:
        on_server = None

        @classmethod
        def open(cls, config):
            if config.name == "captions":
                raise kind("the reason", parameter="store")
            return cls()

        def close(self):
            closed.append(self)

    with pytest.raises(kind) as caught:
        open_stores(read_info(indexed), Store, tmp_path, "the advice", writing=False)
    assert len(closed) == 1
    damaged = kind is CorruptFileError
    assert str(caught.value) == ("the reason; the advice" if damaged else "the reason")
    assert caught.value.parameter == (None if damaged else "store")


def test_an_error_at_the_end_of_a_writer_is_kept(place, trained, monkeypatch):
    mlcmr.index(place / "tiny", place / "index", run=trained, captions=False, device="cpu")

    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_checksums", refuse)
        with pytest.raises(OutOfResourcesError, match="index: cannot be written: No space left"):
            mlcmr.index(None, place / "index", remove=["dog_runs-1"])
    (place / "index/index.json").rename(place / "index/away")
    with (
        pytest.raises(NotFoundError, match="there is no index in this folder"),
        IndexWriter(place / "index") as writer,
    ):
        writer._writable, writer._stores = True, Mock()
    (place / "index/away").rename(place / "index/index.json")


def test_one_writes_at_a_time(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    with (
        IndexWriter(place / "index"),
        pytest.raises(InUseError, match="another process writes this index; wait"),
    ):
        mlcmr.index(place / "tiny", place / "index", device="cpu")


def test_reading_goes_on_while_another_writes(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    searcher = Searcher(place / "index", device="cpu")
    before = searcher.search("A dog runs.", k=5)
    with IndexWriter(place / "index") as writer:
        stores = writer.open_for_writing()
        stores.segments.delete([segment_id(before[0].video, 0)])
        assert searcher.search("A dog runs.", k=5) == before
        second = Searcher(place / "index", device="cpu")
        assert second.search("A dog runs.", k=5) == before
    # As soon as it is written, both find in the new one; nobody reads the old one any more.
    for reader in (searcher, second):
        assert before[0].video not in {hit.video for hit in reader.search("A dog runs.", k=5)}
        assert reader.size == 35
    mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert searcher.search("A dog runs.", k=5) == before
    second.close()
    searcher.close()
    mlcmr.index(None, place / "index", remove=["dog_runs-1"])
    assert len(list((place / "index").glob("vectors-*"))) == 1


@pytest.mark.slow
def test_threads_search_while_the_index_changes(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    searcher = Searcher(place / "index", device="cpu")
    stop, errors, done = threading.Event(), [], [0] * 4

    def search(thread: int) -> None:
        try:
            while not stop.is_set():
                assert len(searcher.search("A dog runs.", k=3)) == 3
                assert searcher.video("cat_eats-1")
                assert searcher.captions("cat_eats-1", k=2)
                done[thread] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    mlcmr.index(None, place / "index", remove=["dog_runs-1"])
    mlcmr.index(place / "tiny", place / "index", device="cpu")
    stop.set()
    for one in threads:
        one.join()
    assert errors == []
    assert min(done) > 0


def test_what_a_killed_writer_acknowledged_is_found(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    writer = start_function(_take_out_and_hang, str(place / "index"), str(place / "done"))
    while not (place / "done").exists():
        assert writer.is_alive()
        time.sleep(0.001)
    assert len(Searcher(place / "index", device="cpu").search("A dog runs.", k=50)) == 36  # it still writes
    writer.kill()
    writer.join()
    hits = Searcher(place / "index", device="cpu").search("A dog runs.", k=50)
    assert len(hits) == 35
    assert "dog_runs-1" not in {hit.video for hit in hits}


def _take_out_and_hang(path: str, done: str) -> None:
    with IndexWriter(Path(path)) as writer:
        writer.open_for_writing().segments.delete([segment_id("dog_runs-1", 0)])
        Path(done).touch()
        time.sleep(600)


def test_copies_have_no_more_on_disk_than_there_is(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sendfile", raising=False)  # of two files it is Linux' own
    file, copy = tmp_path / "file", tmp_path / "copy"
    with file.open("wb") as made:
        for at in (0, 20_000_000):
            made.seek(at)
            made.write(bytes(range(1, 256)) * 10_000)
        made.truncate(90_000_000)
    _copy(str(file), str(copy))
    assert copy.read_bytes() == file.read_bytes()
    assert copy.stat().st_blocks <= file.stat().st_blocks + 16
    (tmp_path / "empty").touch()
    _copy(str(tmp_path / "empty"), str(copy))
    assert copy.read_bytes() == b""


def test_what_a_power_cut_may_leave_is_whole(place, trained, monkeypatch):
    """All of a copy is on the disk before it has the name that the next writer goes by."""
    mlcmr.index(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    synced: set[Path] = set()
    fsync, rename = os.fsync, Path.rename

    def noted(handle):
        fsync(handle)
        synced.add(Path(f"/proc/self/fd/{handle}").readlink())

    def checked(self, target):
        if Path(target).name == "vectors-2":
            assert {self, *self.rglob("*")} <= synced
            synced.clear()
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "rename", checked)
    with IndexWriter(place / "index") as writer:
        writer.open_for_writing()
        assert synced == {place / "index"}
        writer.open_for_writing().segments.delete([segment_id("dog_runs-1", 0)])


def test_a_damaged_leftover_is_named_and_stays(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    left = place / "index" / "vectors-2"
    copy_index(place / "index" / "vectors-1", left)
    for file in left.rglob("segment.json"):
        file.write_text("{")
    with pytest.raises(
        CorruptFileError, match=f"cannot be opened: .*; remove {left}, which an interrupted writer"
    ):
        mlcmr.index(None, place / "index", remove=["dog_runs-1"])
    assert left.is_dir()
    assert Searcher(place / "index", device="cpu").size == 36
    shutil.rmtree(left)
    assert mlcmr.index(None, place / "index", remove=["dog_runs-1"]).segments == 35


def test_a_disk_that_gets_full(place, trained, monkeypatch):
    """The engine's process would be killed: so there is room, or it is not begun."""
    room = shutil.disk_usage(place)
    free = iter([2**30, 2**30, 2**20])  # bytes: when it begins, at the first batch, at the second

    def usage(_):
        return room._replace(free=next(free, 2**20))

    monkeypatch.setattr(update, "BATCH", 10)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(
        OutOfResourcesError, match=r"the disk is nearly full: 1 MB are free, .* needed; free some space"
    ):
        mlcmr.index(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    monkeypatch.undo()
    assert Searcher(place / "index", device="cpu").size == 10
    summary = mlcmr.index(place / "tiny", place / "index", captions=False, device="cpu")
    assert (summary.added, summary.unchanged) == (26, 10)


def test_an_index_that_is_only_read(indexed, tmp_path, monkeypatch):
    """A superuser may write all the same: so it is told that it may not."""
    folder = copy_index(indexed, tmp_path / "index")
    (vectors,) = folder.glob("vectors-*")
    before = sorted(vectors.rglob("*"))
    for path in [*folder.rglob("*"), folder]:
        path.chmod(path.stat().st_mode & ~0o222)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        reader, expected = Searcher(folder, device="cpu"), Searcher(indexed, device="cpu")
        assert reader.search("A dog runs.", k=5) == expected.search("A dog runs.", k=5)
        assert len(reader.captions("dog_runs-1", k=200)) == 144
        assert sorted(vectors.rglob("*")) == before
        _, stores = open_published(folder)
        assert not stores.segments.folder.is_relative_to(
            folder
        )  # the engine writes there, or would be refused
        stores.close()
        assert {path.name for path in tmp_path.iterdir()} == {"index"}
    finally:
        for path in [folder, *folder.rglob("*/")]:
            path.chmod(0o755)


def test_vectors_that_are_gone_are_missed_by_a_writer_too(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    shutil.rmtree(place / "index" / "vectors-1")
    with pytest.raises(MlcmrError, match="vectors-1: missing or incomplete; index into another folder"):
        mlcmr.index(place / "tiny", place / "index", device="cpu")


def _index_in_small_steps(source: str, to: str, run: str, log: str) -> None:
    update.BATCH = 4
    upsert = EdgeStore.upsert

    def logged(self: EdgeStore, points: list[Point]) -> None:
        upsert(self, points)
        with Path(log).open("a") as acknowledged:
            acknowledged.write("." * len(points))

    EdgeStore.upsert = logged  # type: ignore[method-assign]
    torch.set_num_threads(1)
    mlcmr.index(source, to, run=run, device="cpu")


@pytest.mark.slow
def test_killed_is_as_not_killed(place, trained, indexed):
    """`kill -9` at any moment, again and again, then the same command to its end; nothing is done twice."""
    draw = random.Random(3)
    words = [str(path) for path in (place / "tiny", place / "index", trained, place / "log")]
    kills = done = 0
    while True:
        command = start_function(_index_in_small_steps, *words)
        wait_for_bytes(place / "log", done + draw.randrange(1, 80), command)
        time.sleep(draw.uniform(0, 0.02))
        command.kill()
        command.join()
        if command.exitcode == 0:
            break
        assert command.exitcode == -signal.SIGKILL
        kills += 1
        done = (place / "log").stat().st_size
    assert kills > 2
    assert done <= 36 + 144 + 4 * kills  # at most what it was at when it was killed
    summary = mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert (summary.added, summary.changed, summary.unchanged) == (0, 0, 36)
    assert content(place / "index") == content(indexed)
    assert not list((place / "index").glob(".*"))
