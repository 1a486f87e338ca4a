"""The short form of the fuzz suite: each reader, its corpus and some inputs more; see CONTRIBUTING.md."""

import sys
from pathlib import Path

import pytest

from tests.fuzz import faulty, watch
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import CORPUS, fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the watcher reads /proc")


@pytest.mark.slow
def test_no_reader_does_more_than_refuse():
    result = fuzz(list(TARGETS), count=40)
    assert [f"{fault.target}: {fault.what} ({fault.content[:60]!r})" for fault in result.faults] == []
    assert result.fed > 40 * len(TARGETS) / 2


def test_what_is_kept_has_a_target():
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} <= TARGETS.keys()


def test_each_kind_of_fault_is_seen(monkeypatch):
    monkeypatch.setattr(watch, "_HANGS", 2)
    result = fuzz(list(faulty.TARGETS), count=1, module="tests.fuzz.faulty")
    Path(faulty.__file__).with_name("outside").unlink(missing_ok=True)
    seen = {fault.target: fault.what for fault in result.faults if fault.content == b"at fault"}
    assert seen.keys() == faulty.FAULTS.keys()
    for name, (_, said) in faulty.FAULTS.items():
        assert seen[name].startswith(said), (name, seen[name])
