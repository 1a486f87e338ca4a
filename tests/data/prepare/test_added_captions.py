"""Languages and splits that are added to a collection with captions."""

import errno
import shutil
import signal
import subprocess
import sys
import unicodedata
from contextlib import nullcontext
from itertools import count

import pytest

from mlcmr.cli import main
from mlcmr.data.captions import read_captions
from mlcmr.data.check import check
from mlcmr.data.collection import open_collection
from mlcmr.data.prepare import prepare
from mlcmr.data.scenarios import Scenario, ScenarioKind, read_training_pairs
from mlcmr.errors import CorruptFileError, InUseError, InvalidValueError, OutOfResourcesError
from mlcmr.files import locked
from tests.helpers.annotations import by_split, contents, in_language, problems, write


def test_captions_that_are_all_left_out_are_not_called_missing(tmp_path):
    chinese = in_language(tmp_path / "zh.csv", "zh", [1])
    with pytest.raises(CorruptFileError, match=r"zh\.csv: no captions of the videos in `split_lists`$"):
        prepare([chinese], tmp_path / "a", split_lists={"test": write(tmp_path / "test.txt", "v2")})
    text = tmp_path / "b" / "TextData"
    text.mkdir(parents=True)
    write(text / "btrain.caption.txt", "v1#enc#first a dog\n")
    with pytest.raises(
        CorruptFileError, match=r"zh\.csv: no captions with a counterpart in another language$"
    ):
        prepare([chinese], tmp_path / "b", pair=True)


def test_a_number_too_long_to_be_read_makes_no_pair(tmp_path):
    text = tmp_path / "c" / "TextData"
    text.mkdir(parents=True)
    write(text / "ctrain.caption.txt", f"v1#enc#{'9' * 5000} a dog\n")
    prepare([in_language(tmp_path / "zh.csv", "zh", [1])], tmp_path / "c")
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"] == "v1#zh#0 zh 1 0\nv1#zh#1 zh 1 1\n"


def test_a_second_language_is_added_later(tmp_path):
    prepare([in_language(tmp_path / "en.csv", "en", range(30))], tmp_path / "c")
    before, splits = contents(tmp_path / "c"), by_split(tmp_path / "c")
    words = [
        "prepare",
        str(in_language(tmp_path / "zh.csv", "zh", range(28))),
        "--collection",
        str(tmp_path / "c"),
    ]
    assert main(words) == 0
    after = contents(tmp_path / "c")
    assert {name: after[name] for name in before} == before
    assert sorted(after.keys() - before.keys()) == [
        "ctest_zh.caption.txt", "ctrain_half.caption.txt", "ctrain_zh.caption.txt", "cval_zh.caption.txt",
    ]  # fmt: skip
    assert by_split(tmp_path / "c") == splits
    pairs = read_training_pairs(
        open_collection(tmp_path, "c"), Scenario(ScenarioKind.PARALLEL), missing_captions="skip"
    )
    for english, chinese in zip(pairs.captions["en"].texts, pairs.captions["zh"].texts, strict=True):
        assert english.replace("en", "zh") == chinese
    halves = read_captions(tmp_path / "c/TextData/ctrain_half.caption.txt")
    assert set(halves.videos) == splits["train"]
    assert set(halves.languages) == {"en", "zh"}
    assert not [one for one in problems(tmp_path / "c") if "caption" in one and "no zh" not in one]
    with pytest.raises(InvalidValueError, match=r"ctrain_zh.caption.txt: there are captions already"):
        prepare([tmp_path / "zh.csv"], tmp_path / "c")
    assert contents(tmp_path / "c") == after


KILLED = """
import os, pathlib, shutil, sys
from mlcmr.data.prepare import prepare

calls = [0]
def killing(function):
    def count(*arguments, **options):
        calls[0] += 1
        if calls[0] == int(sys.argv[3]):
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    return count

pathlib.Path.replace = killing(pathlib.Path.replace)
pathlib.Path.rename = killing(pathlib.Path.rename)
shutil.copyfile = killing(shutil.copyfile)
prepare([sys.argv[1]], sys.argv[2])
print("done", calls[0])
"""


@pytest.mark.slow
def test_a_command_that_was_killed_while_it_adds_a_language_can_be_run_again(tmp_path):
    chinese = in_language(tmp_path / "zh.csv", "zh", range(10))
    prepare([in_language(tmp_path / "en.csv", "en", range(10))], tmp_path / "before" / "c")
    shutil.copytree(tmp_path / "before" / "c", tmp_path / "whole" / "c")
    prepare([chinese], tmp_path / "whole" / "c")
    expected = contents(tmp_path / "whole" / "c")
    before, partial = contents(tmp_path / "before" / "c"), 0
    for call in count(1):
        folder = tmp_path / str(call) / "c"
        shutil.copytree(tmp_path / "before" / "c", folder)
        words = [sys.executable, "-c", KILLED, str(chinese), str(folder), str(call)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        partial += contents(folder) not in (before, expected)
        problems = check(folder).problems
        if contents(folder) not in (before, expected):
            assert any("or was stopped while it did: then run it again" in one for one in problems)
        prepare([chinese], folder)
        assert contents(folder) == expected
        assert not list(folder.glob(".TextData.added"))
    assert call > 8
    assert partial > 2


def test_two_commands_do_not_add_captions_at_once(tmp_path):
    prepare([in_language(tmp_path / "en.csv", "en", range(10))], tmp_path / "c")
    before = contents(tmp_path / "c")
    chinese = in_language(tmp_path / "zh.csv", "zh", range(10))
    with (
        locked(tmp_path / "c" / ".prepare.lock", ""),
        pytest.raises(InUseError, match="another process prepares captions there"),
    ):
        prepare([chinese], tmp_path / "c")
    assert contents(tmp_path / "c") == before
    prepare([chinese], tmp_path / "c")


@pytest.mark.parametrize("failing", range(4))
def test_a_disk_that_is_full_while_a_language_is_added_leaves_what_was_there(failing, tmp_path, monkeypatch):
    prepare([in_language(tmp_path / "en.csv", "en", range(10))], tmp_path / "c")
    before = contents(tmp_path / "c")
    copy, copied = shutil.copyfile, []

    def copyfile(source, target):
        if len(copied) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(source)
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(
        OutOfResourcesError, match=r"TextData/c.*: cannot be written: No space left on device"
    ):
        prepare([in_language(tmp_path / "zh.csv", "zh", range(10))], tmp_path / "c")
    assert contents(tmp_path / "c") == before
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"TextData", ".prepare.lock"}


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_language_is_added_to_a_collection_that_writes_accents_otherwise(forms, tmp_path):
    there, new = (unicodedata.normalize(form, "café") for form in forms)
    (tmp_path / "c" / "TextData").mkdir(parents=True)
    write(tmp_path / "c/TextData/ctrain.caption.txt", f"{there}#enc#0 a\n")
    prepare([write(tmp_path / "de.csv", f"video,caption\n{new},b\n")], tmp_path / "c", language=["de"])
    assert by_split(tmp_path / "c") == {"train": {"café"}}


def test_all_at_once_and_one_after_the_other_are_the_same(tmp_path):
    files = [in_language(tmp_path / f"{one}.csv", one, range(12)) for one in ("en", "zh", "de")]
    prepare(files, tmp_path / "at once" / "c")
    for file in files:
        prepare([file], tmp_path / "apart" / "c")
    at_once, apart = contents(tmp_path / "at once" / "c"), contents(tmp_path / "apart" / "c")
    del at_once["ctrain_half.caption.txt"], apart["ctrain_half.caption.txt"]
    assert at_once == apart


def test_an_added_language_with_other_numbers_of_captions_makes_no_wrong_pairs(tmp_path):
    prepare([in_language(tmp_path / "en.csv", "en", range(3))], tmp_path / "c", split=["train"])
    more = in_language(tmp_path / "zh.csv", "zh", range(3), captions=3)
    summary = prepare([more], tmp_path / "c")
    assert summary.unpaired == ["zh"]
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"].startswith("v0#zh#2 zh 0 0\n")
    (tmp_path / "c/TextData/ctrain_zh.caption.txt").unlink()
    assert prepare([more], tmp_path / "c", pair=True).without_counterpart == 3
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"].startswith("v0#zh#0 zh 0 0\nv0#zh#1 zh 0 1\nv1")


def test_a_language_that_makes_no_pairs_is_not_added_twice(tmp_path):
    prepare([in_language(tmp_path / "en.csv", "en", range(3), captions=3)], tmp_path / "c", split=["train"])
    for expected in (
        nullcontext(),
        pytest.raises(InvalidValueError, match=r"ctrain_zh.*: there are captions already"),
    ):
        with expected:
            prepare([in_language(tmp_path / "zh.csv", "zh", range(3))], tmp_path / "c")
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"].startswith("v0#zh#3 zh 0 0\n")


def test_a_split_is_added_later(tmp_path):
    files = [in_language(tmp_path / f"{split}.csv", "en", [i]) for i, split in enumerate(("train", "test"))]
    for file in files:
        prepare([file], tmp_path / "c")
    assert by_split(tmp_path / "c") == {"train": {"v0"}, "test": {"v1"}}
    other = in_language(tmp_path / "de.csv", "de", [0, 1, 2])
    summary = prepare([other], tmp_path / "c")
    assert summary.unplaced == 1
    assert any("videos that the collection has no captions of" in note for note in summary.lines())
    with pytest.raises(InvalidValueError, match="video 'v1' is in test there, but in train in the new files"):
        prepare([in_language(tmp_path / "it.csv", "it", [1])], tmp_path / "c", split=["train"])
    with pytest.raises(InvalidValueError, match="has captions of other videos; say with `split`"):
        prepare([in_language(tmp_path / "fr.csv", "fr", [7])], tmp_path / "c")
    with pytest.raises(InvalidValueError, match="has splits already"):
        prepare([other], tmp_path / "c", shares=[1, 0, 0])


def test_clips_are_added_under_the_names_that_they_have(tmp_path):
    both = write(tmp_path / "en.csv", "video,start,end,caption\nv,1,2,a dog\nv,2,3,a cat\n")
    prepare([both], tmp_path / "c", language=["en"], split=["train"])
    one = write(tmp_path / "de.csv", "video,start,end,caption\nv,2,3,eine Katze\n")
    prepare([one], tmp_path / "c", language=["de"])
    assert contents(tmp_path / "c")["ctrain_de.caption.txt"] == "v_2_3#de#0 eine Katze\n"
