"""Files and folders are written whole, by one process at a time; locks are one process's and one thread's."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from mlcmr.errors import InUseError, InvalidValueError, MlcmrError, NotFoundError, OutOfResourcesError, reason
from mlcmr.files import locked, new_folder, remove_unfinished, replacing, writing


def test_what_is_locked_is_refused_until_it_is_left(tmp_path):
    path = tmp_path / "folder/lock"
    with locked(path, "mine"):
        for other in (path, os.path.relpath(path)):
            with pytest.raises(InUseError, match=r"^mine$"), locked(other, "mine"):
                pass
        # The refusal has not let go.
        assert locks_in_another_process(path) == "refused"
    assert locks_in_another_process(path) == "locked"
    with pytest.raises(ZeroDivisionError), locked(path, "mine"):
        1 / 0  # noqa: B018
    with locked(path, "mine"):
        pass


def test_who_fails_before_anything_is_written_leaves_no_new_folder(tmp_path):
    new, old, begun = (tmp_path / name for name in ("new", "old", "begun"))
    old.mkdir()
    for folder in (new, old, new / "deep/er", old / "deep/er"):
        with pytest.raises(ZeroDivisionError), locked(folder / "lock", ""):
            1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), locked(begun / "lock", ""):
        (begun / "work").touch() or 1 / 0
    assert sorted(tmp_path.rglob("*")) == [begun, begun / "lock", begun / "work", old, old / "lock"]


def test_a_lock_that_is_removed_before_it_is_held_is_refused(tmp_path, monkeypatch):
    original = fcntl.lockf

    def late(file, how):
        (tmp_path / "lock").unlink()
        original(file, how)

    monkeypatch.setattr("fcntl.lockf", late)
    with pytest.raises(InUseError, match=r"^taken$"), locked(tmp_path / "lock", "taken"):
        pass


@pytest.mark.parametrize("error", [FileNotFoundError, FileExistsError])
def test_a_folder_that_is_removed_before_the_lock_is_there_is_made_again(tmp_path, monkeypatch, error):
    original, removed = Path.mkdir, iter([True])

    def early(folder, *args, **options):
        original(folder, *args, **options)
        if next(removed, False):
            folder.rmdir()
            if error is FileExistsError:  # as mkdir says where the folder goes between its two looks
                raise FileExistsError(17, "File exists", str(folder))

    monkeypatch.setattr(Path, "mkdir", early)
    with locked(tmp_path / "folder/lock", ""):
        assert (tmp_path / "folder/lock").exists()


def test_no_two_have_a_lock_that_is_removed_again_and_again(tmp_path):
    code = f"""
import os, time
from mlcmr.errors import InUseError, MlcmrError
from mlcmr.files import locked
had, end = 0, time.monotonic() + 2
while time.monotonic() < end:
    place = f"{tmp_path}/{{time.monotonic():.2f}}"  # the same for all, and another soon
    try:
        with locked(f"{{place}}/lock", "taken"):
            os.close(os.open(f"{{place}}.inside", os.O_CREAT | os.O_EXCL))
            os.unlink(f"{{place}}.inside")
            had += 1
            1 / 0
    except ZeroDivisionError:
        pass
    except MlcmrError as error:
        assert str(error) == "taken", error
assert had
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4


def locks_in_another_process(path) -> str:
    code = f"""
from mlcmr.errors import InUseError, MlcmrError
from mlcmr.files import locked
try:
    with locked({str(path)!r}, "refused"):
        print("locked")
except MlcmrError as error:
    print(error)
"""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_process_that_is_killed_lets_go_though_its_workers_live(tmp_path):
    code = f"""
import os, time
from mlcmr.files import locked
with locked({str(tmp_path / "lock")!r}, ""):
    worker = os.fork()
    if worker:
        print(worker, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        try:
            with pytest.raises(InUseError, match=r"taken"), locked(tmp_path / "lock", "taken"):
                pass
            process.kill()
            process.wait()
            os.kill(worker, 0)  # it lives
            with locked(tmp_path / "lock", "taken"):
                pass
        finally:
            os.kill(worker, 9)


@pytest.mark.parametrize(("mode", "expected"), [(0o666, 0o640), (0o600, 0o600)])
def test_a_writer_that_puts_another_file_there_does_not_change_the_mode(tmp_path, mode, expected):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "weights", mode) as temporary:
            (tmp_path / "private").touch(0o600 if mode != 0o600 else 0o644)
            (tmp_path / "private").replace(temporary)  # as safetensors does
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == expected


def test_what_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InvalidValueError, match=r"file: a file, but must be a folder$"),
        locked(tmp_path / "file/lock", ""),
    ):
        pass
    with (
        pytest.raises(MlcmrError, match=r"^here: cannot be written: Permission denied$") as denied,
        writing("here"),
    ):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    assert type(denied.value) is MlcmrError
    with pytest.raises(NotFoundError, match=r"^b: no such file$"), writing("a"):
        raise NotFoundError("b: no such file")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_lack_of_resources(number, tmp_path):
    why = os.strerror(number)
    with pytest.raises(OutOfResourcesError, match=f"^here: cannot be written: {why}$"), writing("here"):
        raise OSError(number, why)

    def refuse(*_):
        raise OSError(number, why)

    (tmp_path / "from").mkdir()
    (tmp_path / "from/file").touch()
    with pytest.raises(OutOfResourcesError, match=why), writing("here"):
        shutil.copytree(tmp_path / "from", tmp_path / "to", copy_function=refuse)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(2, "No such file", "name"), "No such file"),
        (ValueError("first\n  second"), "first second"),
        (MemoryError(), "MemoryError"),
        (ValueError("x" * 999), "x" * 300 + " …"),
    ],
)
def test_what_other_errors_say(error, said):
    assert reason(error) == said


WRITERS = {"file": replacing, "folder": new_folder}


def fill(place: Path, text: str) -> int:
    """Write something into a new file or folder; returns 0."""
    return (place / "inside" if place.is_dir() else place).write_text(text) * 0


def text_of(place: Path) -> str:
    return (place / "inside" if place.is_dir() else place).read_text()


@pytest.mark.parametrize("kind", WRITERS)
def test_what_a_killed_process_left_is_gone_after_the_next_writing(tmp_path, kind):
    code = f"""
import os
from mlcmr.files import new_folder, replacing
from tests.test_files import WRITERS, fill
with WRITERS[{kind!r}]({str(tmp_path / "made")!r}) as temporary:
    fill(temporary, "half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [path.name for path in tmp_path.iterdir()] != ["made"]
    with WRITERS[kind](tmp_path / "made") as temporary:
        assert not (temporary / "inside").exists()
        fill(temporary, "whole")
    assert text_of(tmp_path / "made") == "whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "made"]


@pytest.mark.parametrize("kind", WRITERS)
def test_one_that_fails_leaves_nothing(tmp_path, kind):
    with pytest.raises(ZeroDivisionError), WRITERS[kind](tmp_path / "made") as temporary:
        1 / fill(temporary, "half")
    assert not list(tmp_path.iterdir())


def test_what_is_left_can_be_removed_without_writing(tmp_path):
    (tmp_path / "made").write_text("whole")
    for make in (Path.touch, Path.mkdir):
        with replacing(tmp_path / "made") as temporary:
            temporary.write_text("whole")
        make(temporary)
        remove_unfinished(tmp_path / "made")
        assert list(tmp_path.iterdir()) == [tmp_path / "made"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("trap", ["symlink", "hard link", "folder", "folder of a link", "pipe", "dangling"])
def test_what_a_stranger_left_under_the_temporary_name_is_not_followed(tmp_path, kind, trap):
    """An archive may hold any name; what it points to is not written and not removed."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    with WRITERS[kind](inside / "first") as temporary:
        fill(temporary, "")
    place = temporary.with_name(temporary.name.replace("first", "made"))
    if trap == "symlink":
        place.symlink_to(outside / "precious" if kind == "file" else outside)
    elif trap == "hard link":
        place.hardlink_to(outside / "precious")
    elif trap == "pipe":
        os.mkfifo(place)
    elif trap == "dangling":
        place.symlink_to(outside / "new")
    else:
        place.mkdir()
        (place / "link").symlink_to(outside)
    with WRITERS[kind](inside / "made") as temporary:
        assert temporary == place
        fill(temporary, "whole")
    assert text_of(inside / "made") == "whole"
    assert {path.name for path in inside.iterdir()} == {"first", "made"}
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "mine"


def test_writers_of_one_file_leave_each_other_alone_though_many_are_killed(tmp_path):
    code = f"""
import sys, time
from mlcmr.files import replacing
end = time.monotonic() + 2
while time.monotonic() < end:
    with replacing({str(tmp_path / "made")!r}) as temporary:
        for _ in range(20):
            with temporary.open("a") as file:
                file.write(sys.argv[1])
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "abcdef"]
    for process in processes[:3]:
        time.sleep(0.4)
        process.kill()
    assert [process.wait() for process in processes] == [-9] * 3 + [0] * 3
    text = (tmp_path / "made").read_text()
    assert len(text) == 20
    assert len(set(text)) == 1
    remove_unfinished(tmp_path / "made")
    assert list(tmp_path.iterdir()) == [tmp_path / "made"]


def test_many_may_write_at_once(tmp_path):
    with ExitStack() as writers:
        temporaries = {writers.enter_context(replacing(tmp_path / "made")) for _ in range(12)}
        assert len(temporaries) == 12
    assert list(tmp_path.iterdir()) == [tmp_path / "made"]


def test_one_that_fails_after_the_renaming_removes_no_file_of_another(tmp_path, monkeypatch):
    original, others = Path.replace, []

    def replace(path, target):
        original(path, target)
        path.write_text("of another process")
        others.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "made") as temporary:
        temporary.write_text("whole")
    assert [path.read_text() for path in others] == ["of another process"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF])
def test_without_locks_killed_writers_block_nobody(tmp_path, monkeypatch, number):
    """Some network file systems have none, NFS none of files that are open for reading."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    for _ in range(20):
        with pytest.raises(ZeroDivisionError), replacing(tmp_path / "made") as temporary:
            1 / fill(temporary, "half")
        temporary.write_text("left by a kill")
    with replacing(tmp_path / "made") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "made").read_text() == "whole"


def test_without_locks_nothing_is_removed_that_may_be_in_use(tmp_path, monkeypatch):
    """Some network file systems have none."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with replacing(tmp_path / "made") as first, replacing(tmp_path / "made") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "made").read_text() == "first"
    assert list(tmp_path.iterdir()) == [tmp_path / "made"]
