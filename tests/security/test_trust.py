"""The record of what a user has named: private, bounded, and of no effect where it is missing or damaged."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.errors import MlcmrError
from mlcmr.trust import (
    NotRecordedError,
    is_below,
    is_named_code,
    is_named_model,
    is_named_server,
    remember,
    roots_of_collection,
    roots_of_index,
)


@pytest.fixture
def record(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "mlcmr" / "named.json"


def test_what_is_named_is_known_and_nothing_else(record, tmp_path):
    assert not is_named_server("http://a:1")
    remember(url="http://a:1", models=["who/what"], code=["a:B"], collection=tmp_path / "c", roots=["/v"])
    assert is_named_server("http://a:1")
    assert not is_named_server("http://a:2")
    assert is_named_model("who/what")
    assert not is_named_model("who")
    assert is_named_code("a:B")
    assert not is_named_code("a:C")
    assert not is_named_model("a:B")
    assert roots_of_collection(tmp_path / "c") == ("/v",)
    assert roots_of_collection(tmp_path) == ()


def test_only_its_user_may_read_it(record):
    remember(url="http://a:1")
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.parent.stat().st_mode) == 0o700


def test_an_index_that_moves_keeps_its_folders_and_another_in_its_place_does_not(record, tmp_path):
    here, there = tmp_path / "index", tmp_path / "moved"
    here.mkdir()
    remember(index=(here, "mine"), roots=["/v"])
    assert roots_of_index(here, "mine") == ("/v",)
    assert roots_of_index(here, "another") == ()
    assert roots_of_index(there, "mine") == ()  # a copy: this one is still there
    here.rename(there)
    assert roots_of_index(there, "mine") == ("/v",)
    (tmp_path / "link").symlink_to(there)
    remember(index=(there, "mine"), roots=["/w"])
    assert roots_of_index(tmp_path / "link", "mine") == ("/v", "/w")
    there.rename(here)
    assert roots_of_index(here, "mine") == ("/v",)


def test_a_copy_does_not_get_the_folders_of_an_index_that_is_gone(record, tmp_path):
    """A stranger who was given the index knows its id, which the index itself carries."""
    here, copy = tmp_path / "index", tmp_path / "copy"
    here.mkdir()
    copy.mkdir()
    remember(index=(here, "mine"), roots=["/v"])
    here.rename(tmp_path / "elsewhere")  # or removed, or on a disk that is not there
    assert roots_of_index(copy, "mine") == ()
    remember(index=(copy, "mine"), roots=["/w"])
    assert roots_of_index(copy, "mine") == ("/w",)
    assert roots_of_index(tmp_path / "elsewhere", "mine") == ("/v",)


def test_an_index_recorded_by_an_older_version_keeps_its_folders_where_it_is(record, tmp_path):
    record.parent.mkdir(parents=True)
    here = tmp_path / "index"
    here.mkdir()
    known = {str(here.resolve()): {"identity": "mine", "roots": ["/v"]}}
    record.write_text(json.dumps({"indexes": known}))
    assert roots_of_index(here, "mine") == ("/v",)
    here.rename(tmp_path / "moved")
    assert roots_of_index(tmp_path / "moved", "mine") == ()


def test_who_writes_at_the_same_time_loses_nothing(record):
    threads = [threading.Thread(target=remember, kwargs={"url": f"http://a:{n}"}) for n in range(30)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert all(is_named_server(f"http://a:{n}") for n in range(30))


def test_it_does_not_grow_without_end(record, tmp_path):
    urls = [f"http://a:{n}" for n in range(1200)]
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"urls": urls, "collections": {f"/c/{n}": ["/v"] for n in range(1200)}}))
    remember(url="http://b:1", collection=tmp_path, roots=[f"/v/{k}" for k in range(30)])
    content = json.loads(record.read_text())
    assert content["urls"] == [*urls[-999:], "http://b:1"]
    assert len(content["collections"]) == 1000
    assert len(roots_of_collection(tmp_path)) == 20


def test_a_folder_within_another_is_not_named_twice(record, tmp_path):
    remember(collection=tmp_path, roots=["/v/a", "/w"])
    remember(collection=tmp_path, roots=["/v"])
    assert set(roots_of_collection(tmp_path)) == {"/v", "/w"}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"urls": 3}', '{"urls": ["http://a:1"], "urls": []}', "[" * 100_000, "\0", '{"x": 1}'],
)
def test_a_damaged_record_names_nothing_and_is_mended(record, content):
    record.parent.mkdir(parents=True)
    record.write_text(content)
    assert not is_named_server("http://a:1")
    remember(url="http://a:1")
    assert is_named_server("http://a:1")


@pytest.mark.parametrize(
    "names",
    [{"index": (Path("/caf\udce9"), "mine"), "roots": ["/v"]}, {"collection": Path("/caf\udce9")},
     {"models": ["caf\udce9"]}, {"code": ["caf\udce9:A"]}, {"url": "http://caf\udce9"}, {"models": [""]}],
)  # fmt: skip
def test_a_name_that_cannot_be_recorded_makes_no_other_forgotten(record, names):
    remember(url="http://a:1")
    with pytest.raises(NotRecordedError, match="the names: "):
        remember(**names)
    assert is_named_server("http://a:1")


def test_a_record_that_cannot_be_read_now_is_not_replaced(record, monkeypatch):
    remember(url="http://a:1")
    with monkeypatch.context() as broken:
        broken.setattr("mlcmr.trust.read_json", raise_read_error)
        assert not is_named_server("http://a:1")
        with pytest.raises(NotRecordedError, match="Too many open files"):
            remember(url="http://b:1")
    assert is_named_server("http://a:1")


def raise_read_error(*_):
    raise MlcmrError("named.json: Too many open files")


@pytest.mark.parametrize("closed", ["file", "read-only"])
def test_a_state_folder_that_cannot_be_written_is_a_reason(tmp_path, monkeypatch, closed):
    (tmp_path / "state").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state") if closed == "file" else "/proc/nowhere")
    with pytest.raises(NotRecordedError, match="state" if closed == "file" else "/proc/nowhere"):
        remember(url="http://a:1")
    assert not is_named_server("http://a:1")


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_without_a_home_nothing_is_known_and_nothing_fails(home):
    code = (
        "import os, pwd\n"
        "pwd.getpwuid = lambda _: (_ for _ in ()).throw(KeyError())\n"
        "from mlcmr.trust import *\nfrom mlcmr import trust\n"
        "try:\n    trust.remember(url='http://a:1')\n    raise AssertionError\n"
        "except NotRecordedError as error:\n    assert 'no home folder; XDG_STATE_HOME' in str(error)\n"
        "assert not trust.is_named_server('http://a:1')"
    )
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_STATE_HOME")
    }
    if home is not None:
        environment |= {"HOME": home, "XDG_STATE_HOME": home}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


PART = st.sampled_from(["a", "b", "..", ".", "link"])


@given(st.lists(PART, max_size=6))
def test_a_path_is_below_a_folder_only_if_what_it_leads_to_is(parts):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder))
        (root / "a" / "b").mkdir(parents=True)
        (root / "b").mkdir()
        (root / "a" / "link").symlink_to(root / "b")
        (root / "b" / "link").symlink_to("/")
        path = Path(folder, "a", *parts)
        assert is_below(path, [str(root / "a")]) == Path(os.path.realpath(path)).is_relative_to(root / "a")
        assert not is_below(root / "ab", [str(root / "a")])
        assert not is_below(path, [])
