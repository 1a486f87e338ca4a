"""Paths that begin with `~`, wherever a user gives one, also where there is no home folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlcmr.errors import InvalidValueError
from mlcmr.paths import user_path

SOURCE = Path(__file__).parents[2] / "src"


def test_home_is_that_of_the_environment_or_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~") == tmp_path
    assert user_path("~/a/b") == tmp_path / "a/b"
    monkeypatch.delenv("HOME")
    assert user_path("~/a").is_absolute()


@pytest.mark.parametrize("name", ["~tmp.mp4", "~$report.docx", "~nobody-of-this-name/a", "a/~", "a~b"])
def test_other_names_stand_for_themselves(name):
    assert user_path(name) == Path(name)


@pytest.mark.parametrize("name", ["~", "~/a", "~tmp.mp4", "./~", "./~root", "plain"])
def test_asking_twice_changes_nothing(name):
    assert user_path(user_path(name)) == user_path(name)


def test_dot_slash_keeps_a_file_called_as_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert user_path("./~") == tmp_path / "~"


def test_no_home_folder_is_one_line(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError()))
    with pytest.raises(InvalidValueError, match="HOME is not set"):
        user_path("~/videos")


def test_nothing_else_expands_paths():
    """One function decides, so that no command reads `~` in another way."""
    users = [
        path
        for path in SOURCE.rglob("*.py")
        if path.name != "paths.py" and re.search(r"\.expanduser\(|pwd\.getpw", path.read_text())
    ]
    assert users == []


COMMANDS = {
    "check": ["check", "~/none"],
    "compare": ["compare", "~/none", "~/none"],
    "evaluate": ["evaluate", "~/none"],
    "extract": ["extract", "~/none", "--collection", "~/c"],
    "features": ["features", "from-arrays", "~/none", "~/c"],
    "features to": ["features", "from-arrays", "{here}", "~/none"],
    "import": ["import-checkpoint", "~/none", "--to", "~/c"],
    "index": ["index", "~/none", "--run", "~/r"],
    "prepare": ["prepare", "~/none.csv", "--collection", "~/c"],
    "search": ["search", "x", "--index", "~/none"],
    "search video": ["search", "--video", "~/none.mp4", "--index", "~/none"],
    "serve": ["serve", "~/none"],
    "train": ["train", "--rootpath=~/none"],
    "train recipe": ["train", "~/none.yaml"],
    "translate": ["translate", "~/none", "--from", "en", "--to", "zh", "--model", "~/m"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_expands_the_home_folder(words, tmp_path, monkeypatch, capsys):
    from mlcmr.cli import main

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    assert main([word.format(here=tmp_path) for word in words]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "~" not in said.replace("home/", "")
    assert not (tmp_path / "~").exists()


NOBODY = """
import pwd, sys

def unknown(number):
    raise KeyError(number)

pwd.getpwuid = unknown
from mlcmr.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("words", "status"), [(["--help"], 0), (["check", "no"], 2), (["search", "x", "--index", "no"], 2)]
)
def test_commands_work_for_a_user_without_home_and_name(tmp_path, words, status):
    """As in a container that runs under a number that no list of users has."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, *words],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
