"""An index on disk: who reads and who writes it, the killed, and what is damaged."""

import errno
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest
import torch

from indexes import content
from mlcmr.errors import UserError
from mlcmr.search import Searcher, update
from mlcmr.search.edge import EdgeStore
from mlcmr.search.folder import IndexWriter, _copy, open_published
from mlcmr.search.index import index_videos
from mlcmr.search.info import read_info
from mlcmr.search.points import segment_id
from mlcmr.search.store import Point
from processes import start_function, wait_for_bytes


def test_an_index_that_is_not_all_there_says_so(indexed, tmp_path):
    shutil.copytree(indexed, tmp_path / "copy")
    (vectors,) = (tmp_path / "copy").glob("vectors-*")
    shutil.rmtree(vectors)
    with pytest.raises(UserError, match="missing or not whole"):
        Searcher(tmp_path / "copy")


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"[]", b"\xff\xfe", b'{"format": 1}', b'{"format": 99}', b'{"format": 1, "model": 5}'],
)
def test_a_damaged_index(indexed, tmp_path, damage):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "index.json").write_bytes(damage)
    with pytest.raises(UserError, match=r"index\.json: (damaged|of another version)"):
        Searcher(tmp_path / "index")


def test_an_index_that_cannot_be_read_is_there(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match=r"index\.json: cannot be read: Permission denied"):
        read_info(tmp_path)


def test_damaged_vectors(indexed, tmp_path):
    path = Path(shutil.copytree(indexed, tmp_path / "index"))
    (segments,) = path.glob("vectors-*/segments/segments")
    for file in segments.rglob("segment.json"):
        file.write_text("{")
    with pytest.raises(UserError, match="cannot be opened"):
        Searcher(path)


def test_one_writes_at_a_time(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    with (
        IndexWriter(place / "index"),
        pytest.raises(UserError, match="another process writes this index; wait"),
    ):
        index_videos(place / "tiny", place / "index", device="cpu")


def test_reading_goes_on_while_another_writes(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    searcher = Searcher(place / "index", device="cpu")
    before = searcher.search("A dog runs.", k=5)
    with IndexWriter(place / "index") as writer:
        stores = writer.begin()
        stores.segments.delete([segment_id(before[0].video, 0)])
        assert searcher.search("A dog runs.", k=5) == before
        second = Searcher(place / "index", device="cpu")
        assert second.search("A dog runs.", k=5) == before
    # As soon as it is written, both find in the new one; nobody reads the old one any more.
    for reader in (searcher, second):
        assert before[0].video not in {hit.video for hit in reader.search("A dog runs.", k=5)}
        assert reader.size == 35
    index_videos(place / "tiny", place / "index", device="cpu")
    assert searcher.search("A dog runs.", k=5) == before
    second.close()
    searcher.close()
    index_videos(None, place / "index", remove=["dog_runs-1"])
    assert len(list((place / "index").glob("vectors-*"))) == 1


def test_threads_search_while_the_index_changes(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
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
    index_videos(None, place / "index", remove=["dog_runs-1"])
    index_videos(place / "tiny", place / "index", device="cpu")
    stop.set()
    for one in threads:
        one.join()
    assert errors == []
    assert min(done) > 0


def test_what_a_killed_writer_acknowledged_is_found(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
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
        writer.begin().segments.delete([segment_id("dog_runs-1", 0)])
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
    index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
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
        writer.begin()
        assert synced == {place / "index"}
        writer.begin().segments.delete([segment_id("dog_runs-1", 0)])


def test_a_damaged_leftover_is_named_and_stays(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    left = place / "index" / "vectors-2"
    shutil.copytree(place / "index" / "vectors-1", left)
    for file in left.rglob("segment.json"):
        file.write_text("{")
    with pytest.raises(UserError, match=f"cannot be opened: .*; remove {left}, which an interrupted writer"):
        index_videos(None, place / "index", remove=["dog_runs-1"])
    assert left.is_dir()
    assert Searcher(place / "index", device="cpu").size == 36
    shutil.rmtree(left)
    assert index_videos(None, place / "index", remove=["dog_runs-1"]).segments == 35


def test_a_disk_that_gets_full(place, trained, monkeypatch):
    """The engine's process would be killed: so there is room, or it is not begun."""
    room = shutil.disk_usage(place)
    free = iter([2**30, 2**30, 2**20])  # bytes: when it begins, at the first batch, at the second

    def usage(_):
        return room._replace(free=next(free, 2**20))

    monkeypatch.setattr(update, "BATCH", 10)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(UserError, match=r"the disk is nearly full: 1 MB are free, .* needed; make room"):
        index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    monkeypatch.undo()
    assert Searcher(place / "index", device="cpu").size == 10
    summary = index_videos(place / "tiny", place / "index", captions=False, device="cpu")
    assert (summary.added, summary.unchanged) == (26, 10)


def test_an_index_that_is_only_read(indexed, tmp_path, monkeypatch):
    """A superuser may write all the same: so it is told that it may not."""
    folder = Path(shutil.copytree(indexed, tmp_path / "index"))
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
    index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    shutil.rmtree(place / "index" / "vectors-1")
    with pytest.raises(UserError, match="vectors-1: is missing or not whole; index into another folder"):
        index_videos(place / "tiny", place / "index", device="cpu")


def _index_in_small_steps(source: str, to: str, run: str, log: str) -> None:
    update.BATCH = 4
    upsert = EdgeStore.upsert

    def logged(self: EdgeStore, points: list[Point]) -> None:
        upsert(self, points)
        with Path(log).open("a") as acknowledged:
            acknowledged.write("." * len(points))

    EdgeStore.upsert = logged  # type: ignore[method-assign]
    torch.set_num_threads(1)
    index_videos(source, to, run=run, device="cpu")


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
    summary = index_videos(place / "tiny", place / "index", device="cpu")
    assert (summary.added, summary.changed, summary.unchanged) == (0, 0, 36)
    assert content(place / "index") == content(indexed)
    assert not list((place / "index").glob(".*"))
