"""A locked file is one process's at a time, and one thread's in it."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlcmr.errors import MlcmrError, NotFoundError, OutOfResourcesError, reason
from mlcmr.files import locked, writing


def test_what_is_locked_is_refused_until_it_is_left(tmp_path):
    path = tmp_path / "folder/lock"
    with locked(path, "mine"):
        for other in (path, os.path.relpath(path)):
            with pytest.raises(MlcmrError, match=r"^mine$"), locked(other, "mine"):
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
    with pytest.raises(MlcmrError, match=r"^taken$"), locked(tmp_path / "lock", "taken"):
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
from mlcmr.errors import MlcmrError
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
from mlcmr.errors import MlcmrError
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
            with pytest.raises(MlcmrError, match=r"taken"), locked(tmp_path / "lock", "taken"):
                pass
            process.kill()
            process.wait()
            os.kill(worker, 0)  # it lives
            with locked(tmp_path / "lock", "taken"):
                pass
        finally:
            os.kill(worker, 9)


def test_what_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(MlcmrError, match=r"file: a file, but must be a folder$"),
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
        (ValueError("x" * 999), "x" * 300),
    ],
)
def test_what_other_errors_say(error, said):
    assert reason(error) == said
