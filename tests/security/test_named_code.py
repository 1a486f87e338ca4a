"""Code that only a stranger's files name is not imported; code that the user named opens the user's files."""

import json
import shutil
from pathlib import Path

import pytest

import mlcmr
from mlcmr.extraction.encoders.registry import open_encoder
from mlcmr.model.encoders.pooling import open_pooling
from mlcmr.search.stores.registry import store_class
from tests.helpers.processes import start
from tests.helpers.tiny import FEATURE, tiny_config, write_recipe

CODE = """
from pathlib import Path

from mlcmr.search.stores.qdrant_edge import EdgeStore

Path(__file__).with_suffix(".imported").touch()


class Store(EdgeStore):
    pass


def first(states, lengths):
    return states[:, 0]
"""


@pytest.fixture
def trace(tmp_path, monkeypatch) -> Path:
    """The trace that the module `parts` leaves when it is imported."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "parts.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "code")  # new processes get the path of this process
    return tmp_path / "code" / "parts.imported"


@pytest.fixture
def run(tmp_path):
    """Run `mlcmr` in a new process of a user, who has named nothing at first; return status and output."""

    def run(*words: str | Path, **environment: str) -> tuple[int, list[str]]:
        state = {"XDG_STATE_HOME": str(tmp_path / "state")}
        command = start(words, tmp_path / "log", environment=state | environment)
        return command.wait(), command.lines

    return run


@pytest.fixture
def mine(trained, indexed, tmp_path) -> dict[str, Path]:
    """A copy of a run, of its collection and of its index, to be forged."""
    for folder in (trained, trained.parent / "tiny", indexed):
        shutil.copytree(folder, tmp_path / folder.name)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"no film")
    return {name: tmp_path / name for name in ("run", "tiny", "index", "films")}


def forge(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


def require_refusal(result: tuple[int, list[str]], parameter: str, name: str, trace: Path) -> None:
    status, lines = result
    assert not trace.exists()
    assert status == 2, lines
    assert len(lines) == 1
    assert f"{parameter} names code of another package, {name}," in lines[0].replace("`", "")


# ─── files of strangers ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words",
    [
        ("index", "TINY", "--to", "INDEX"),
        ("index", "TINY", "--to", "INDEX", "--run", "RUN"),
        ("index", "TINY", "--to", "INDEX", "--dry-run"),
        ("index", "--remove", "dog_runs-1", "--to", "INDEX"),
        ("search", "A dog runs.", "--index", "INDEX"),
        ("serve", "INDEX", "--port", "0"),
    ],
    ids=" ".join,
)
def test_a_store_that_an_index_names(words, mine, run, trace):
    forge(mine["index"] / "index.json", store="parts:Store")
    require_refusal(
        run(*(mine[word.lower()] if word.isupper() else word for word in words)),
        "store",
        "parts:Store",
        trace,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "RUN"),
        ("index", "TINY", "--to", "NEW", "--run", "RUN"),
        ("index", "TINY", "--to", "NEW", "--model", "MODEL", "--feature", FEATURE),
        ("search", "A dog runs.", "--index", "INDEX"),
    ],
    ids=" ".join,
)
def test_a_pooling_that_a_model_names(words, mine, run, trace, tmp_path):
    config = mine["run"] / "model" / "config.json"
    model = json.loads(config.read_text(encoding="utf-8"))["model"]
    model["text"]["pooling"] = "parts:first"
    forge(config, model=model)
    index = json.loads((mine["index"] / "index.json").read_text(encoding="utf-8"))
    forge(mine["index"] / "index.json", model=index["model"] | {"name": str(mine["run"])})
    places = mine | {"model": mine["run"] / "model", "new": tmp_path / "new"}
    require_refusal(
        run(*(places[word.lower()] if word.isupper() else word for word in words)),
        "model.text.pooling",
        "parts:first",
        trace,
    )


def test_an_encoder_that_a_collection_names(mine, run, trace, tmp_path):
    settings = {"encoder": "parts:Store", "rate": 2.0, "segment": "none", "dimension": 12}
    (mine["tiny"] / "FeatureData" / FEATURE / "encoder.json").write_text(json.dumps(settings))
    status, lines = run("index", mine["tiny"], "--to", tmp_path / "new", "--run", mine["run"])
    assert status == 0, lines  # the features are there, and need no encoder
    assert not trace.exists()
    film = mine["films"] / "a.mp4"
    searched = run("search", "--video", film, "--index", tmp_path / "new")
    require_refusal(searched, "encoder", "parts:Store", trace)
    require_refusal(run("index", mine["films"], "--to", tmp_path / "new"), "encoder", "parts:Store", trace)


# ─── the user's own ──────────────────────────────────────────────────────────────────────────────────────


def test_an_own_pooling_opens_the_own_run_in_the_next_process(place, run, trace):
    recipe = write_recipe(place / "recipe.yaml", tiny_config(place, place / "own", epochs=1))
    status, lines = run("train", recipe, "--model.text.pooling", "parts:first")
    assert status == 0, lines
    for words in (
        ("evaluate", place / "own"),
        ("index", place / "tiny", "--to", place / "found", "--run", place / "own"),
        ("search", "A dog runs.", "--index", place / "found"),
    ):
        status, lines = run(*words)
        assert status == 0, lines
    # Another user has not named the pooling, and may allow it.
    trace.unlink()
    another = {"XDG_STATE_HOME": str(place / "another")}
    refused = run("evaluate", place / "own", **another)
    require_refusal(refused, "model.text.pooling", "parts:first", trace)
    assert run("evaluate", place / "own", **another, MLCMR_ALLOW_CODE="parts:first")[0] == 0


def test_an_own_store_opens_the_own_index_in_the_next_process(mine, run, trace, tmp_path):
    index = tmp_path / "own"
    status, lines = run("index", mine["tiny"], "--to", index, "--run", mine["run"], "--store", "parts:Store")
    assert status == 0, lines
    for words in (
        ("search", "A dog runs.", "--index", index),
        ("index", mine["tiny"], "--to", index),
    ):
        status, lines = run(*words)
        assert status == 0, lines


# ─── the functions ───────────────────────────────────────────────────────────────────────────────────────


def test_no_call_can_forget_where_a_name_comes_from():
    for call in (lambda: store_class("a:b"), lambda: open_pooling("a:b", 3), lambda: open_encoder("a:b")):
        with pytest.raises(TypeError, match="source"):
            call()


def test_a_plan_of_a_strangers_index_does_not_name_its_store(mine, trace):
    forge(mine["index"] / "index.json", store="parts:Store")
    for _ in range(2):  # a first refusal must not name the store for the second
        with pytest.raises(mlcmr.MlcmrError, match="names code of another package"):
            mlcmr.index(mine["tiny"], mine["index"], run=mine["run"], device="cpu")
    assert not trace.exists()
