"""Plans: what would change in an index, without a model and without a change."""

import inspect
import json
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import mlcmr
from mlcmr.cli import main
from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.search.indexing.plan import plan_index
from mlcmr.search.indexing.request import IndexRequest
from tests.helpers.indexes import content, keep_features
from tests.helpers.tiny import SCENES, video_name


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, except the configuration that Qdrant Edge writes for each reader."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "edge_config.json"
    }


def run_without_weights(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder)
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    return folder


def test_a_new_index(place, trained):
    """A plan needs no weights, and makes nothing."""
    run = run_without_weights(trained, place / "run")
    plan = plan_index(IndexRequest(source=place / "tiny", to=place / "index", run=run))
    assert set(plan.update.added) == {video_name(*scene) for scene in SCENES}
    assert (plan.update.changed, plan.update.removed, plan.update.unchanged) == ((), (), ())
    assert len(plan.update.new_captions) == 144
    assert plan.info is None
    assert (plan.feature, plan.store, plan.url) == ("feat", "qdrant-edge", None)
    assert not (place / "index").exists()
    assert "36 to add, 0 to update, 0 to remove, 0 as before" in str(plan)
    json.dumps(plan.to_dict())


def test_planned_is_done(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    keep_features(place, SCENES[:30])
    request = IndexRequest(
        source=place / "tiny",
        to=place / "index",
        prune=True,
        captions=False,
        remove=["dog_runs-1"],
        device="cpu",
    )
    before = tree(place / "index")
    plan = plan_index(request)
    assert tree(place / "index") == before
    summary = plan.execute()
    update = plan.update
    assert len(update.left) == 6
    assert summary.removed == len({*update.removed, *update.left}) == 7
    assert (summary.added, summary.changed) == (len(update.added), len(update.changed))
    assert summary.unchanged == len(update.unchanged)
    again = plan_index(IndexRequest(source=place / "tiny", to=place / "index", captions=False))
    assert again.update.added == ("dog_runs-1",)
    assert len(again.update.unchanged) == 29


def test_an_old_plan_is_made_again(place, trained):
    """The work that another process has done since is neither repeated nor undone."""
    plan = plan_index(IndexRequest(source=place / "tiny", to=place / "index", run=trained, device="cpu"))
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    whole = content(place / "index")
    summary = plan.execute()
    assert (summary.added, summary.unchanged) == (0, 36)
    assert content(place / "index") == whole


def test_a_plan_means_the_same_in_every_folder(place, trained, tmp_path, monkeypatch):
    """Also the roots of media, and the folder of a model, are those of the folder where the plan was made."""
    (place / "model").symlink_to(trained / "model")
    monkeypatch.chdir(place)
    plan = plan_index(
        IndexRequest(source="tiny", to="index", model="model", device="cpu", media_roots=["films"])
    )
    monkeypatch.chdir(tmp_path.parent)
    assert plan.execute().added == 36
    assert (place / "index" / "index.json").exists()
    assert plan.request.media_roots == [place / "films"]


def test_a_dry_run_changes_nothing(drawn, films, tmp_path, capfd):
    words = ["index", str(films), "--to", str(tmp_path / "index"), "--run", str(drawn / "run"), "--dry-run"]
    assert main(words) == 0
    assert "7 new, 0 changed, 0 as before" in capfd.readouterr().out
    assert not (tmp_path / "index").exists()
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    before = tree(tmp_path / "index")
    shutil.copy(films / "1.mp4", films / "new.mp4")
    shutil.copy(films / "2.mp4", films / "3.mp4")
    (films / "0.mp4").unlink()
    summary = mlcmr.index(films, tmp_path / "index", prune=True, dry_run=True)
    assert summary.dry_run
    assert (summary.added, summary.changed, summary.removed, summary.unchanged) == (1, 1, 1, 5)
    assert summary.plan.extraction.new == (films / "new.mp4",)
    assert tree(tmp_path / "index") == before
    done = mlcmr.index(films, tmp_path / "index", prune=True, device="cpu")
    assert (done.added, done.changed, done.removed) == (1, 1, 1)


def test_a_moved_folder_is_not_extracted_again(drawn, films, tmp_path):
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    films.rename(tmp_path / "moved")
    plan = plan_index(IndexRequest(source=tmp_path / "moved", to=tmp_path / "index"))
    assert (plan.extraction.new, plan.extraction.moved, plan.extraction.unchanged) == ((), 7, 7)


def test_a_plan_does_not_wait_for_torch(place, trained):
    code = """
import sys
from mlcmr.search.indexing.plan import plan_index
from mlcmr.search.indexing.request import IndexRequest
print(plan_index(IndexRequest(source=sys.argv[1], to=sys.argv[2], run=sys.argv[3])))
assert "torch" not in sys.modules
"""
    arguments = [str(place / "tiny"), str(place / "index"), str(trained)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


@pytest.mark.parametrize(
    ("parameter", "options"),
    [
        ("run", {"run": "a", "model": "b"}),
        ("name", {"name": "films"}),
        ("batch_size", {"batch_size": 0}),
        ("prune", {"source": None, "prune": True}),
        ("feature", {"feature": "f"}),
    ],
)
def test_parameters_that_contradict_each_other(tmp_path, parameter, options):
    with pytest.raises(InvalidValueError) as caught:
        IndexRequest(**{"source": tmp_path, "to": tmp_path / "index", **options})
    assert caught.value.parameter == parameter


def test_a_request_has_the_parameters_and_defaults_of_the_function():
    parameters = inspect.signature(mlcmr.index).parameters
    defaults = {field.name: field.default for field in fields(IndexRequest)}
    assert defaults.keys() == parameters.keys() - {"dry_run", "progress"}
    assert {name: parameters[name].default for name in defaults if name != "source"} == {
        name: default for name, default in defaults.items() if name != "source"
    }


def test_nothing_to_remove_from(tmp_path):
    with pytest.raises(NotFoundError, match="no index yet"):
        plan_index(IndexRequest(to=tmp_path / "index", remove=["a"]))
