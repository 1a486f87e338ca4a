"""`mlcmr index` without a model: the default of the documentation, and what is said before a download."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from huggingface_hub import DryRunFileInfo
from huggingface_hub.errors import DryRunError, HfHubHTTPError, LocalEntryNotFoundError
from PIL import Image

import mlcmr
from mlcmr.cli import main
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError
from mlcmr.model import hub
from mlcmr.search import DEFAULT_MODEL, IndexRequest, plan_index
from mlcmr.search.indexing.manifest import read_info
from tests.helpers.models import write_clip
from tests.helpers.progress import RecordedProgress

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        Image.fromarray(draw.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def run_alone(*words: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `mlcmr` in a process with a home of its own: the hub's client reads the variables once."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    own |= {"HOME": str(home), **environ}
    command = [sys.executable, "-m", "mlcmr", *words]
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.slow
def test_an_index_by_the_default_model(pictures, tmp_path):
    """With the hub's cache as it is for the commands of the documentation."""
    spec = importlib.util.spec_from_file_location("reader", ROOT / ".ci/reader.py")
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    reader.write_siglip(reader.cached(tmp_path, DEFAULT_MODEL))
    index = str(tmp_path / "index")
    words = ["index", str(pictures), "--to", index, "--device", "cpu"]
    first = run_alone(*words, home=tmp_path, HF_HUB_OFFLINE="1")
    assert (first.returncode, first.stderr.splitlines()[0]) == (
        0,
        f"no model is named: {DEFAULT_MODEL} is used; --model names another",
    )
    assert "3 added" in first.stdout
    assert "download" not in first.stderr  # all files are in the cache
    assert read_info(Path(index)).model.name == DEFAULT_MODEL
    again = run_alone(*words, home=tmp_path, HF_HUB_OFFLINE="1")
    assert "3 as before" in again.stdout
    assert "no model is named" not in again.stderr
    found = run_alone(
        "search", "a dog", "--index", index, "--device", "cpu", home=tmp_path, HF_HUB_OFFLINE="1"
    )
    assert found.stdout.count(".png") == 3


def test_a_hub_that_does_not_answer(pictures, tmp_path):
    words = ["index", str(pictures), "--to", str(tmp_path / "index")]
    done = run_alone(*words, home=tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    named, error = done.stderr.splitlines()
    assert DEFAULT_MODEL in named
    assert error.endswith("no connection to the hub; name a folder that holds it with --model")
    assert not (tmp_path / "index").exists()


def test_an_index_keeps_its_model(pictures, tmp_path):
    clip = write_clip(tmp_path / "clip")
    mlcmr.index(pictures, tmp_path / "index", model=clip, device="cpu")
    progress = RecordedProgress()
    assert mlcmr.index(pictures, tmp_path / "index", device="cpu", progress=progress).unchanged == 3
    assert not any("no model" in line for line in progress.messages)
    assert read_info(tmp_path / "index").model.name == str(clip)


def test_a_plan_names_the_default(pictures, tmp_path, capsys):
    assert main(["index", str(pictures), "--to", str(tmp_path / "index"), "--dry-run"]) == 0
    assert f"model:    {DEFAULT_MODEL}, the default" in capsys.readouterr().out
    assert not (tmp_path / "index").exists()


def test_features_need_their_model(pictures, tmp_path):
    """Features of a collection, or of an encoder that the user names, belong to some other model."""
    (tmp_path / "mine" / "FeatureData").mkdir(parents=True)
    for request in (
        IndexRequest(source=tmp_path / "mine", to=tmp_path / "index"),
        IndexRequest(source=pictures, to=tmp_path / "index", encoder="hues228"),
    ):
        with pytest.raises(InvalidValueError, match="no index yet; give the model of the features") as caught:
            plan_index(request)
        assert caught.value.parameter == "model"


def test_the_documentation_names_it():
    for page in ("docs/guides/search.md",):
        assert f"`{DEFAULT_MODEL}`" in (ROOT / page).read_text(encoding="utf-8")


# ─── downloads ───────────────────────────────────────────────────────────────────────────────────────────


def file_on_the_hub(name: str, size: int | None, *, cached: bool) -> DryRunFileInfo:
    return DryRunFileInfo("0" * 40, size, name, name, cached, not cached)


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """Messages and downloads, in order; the hub has a model of which one file is here already."""
    events: list[str] = []
    files = [
        file_on_the_hub("config.json", 700, cached=True),
        file_on_the_hub("model.safetensors", 1_480_000_000, cached=False),
        file_on_the_hub("README.md", None, cached=False),
    ]

    def snapshot_download(name, *, dry_run=False, local_files_only=False, **_):
        if dry_run:
            return files
        events.append(f"downloaded {name}")
        return "/snapshot"

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "find_model", lambda name, *_, **__: name)
    return events


def test_the_size_is_said_before_a_download(said):
    progress = RecordedProgress()
    progress.messages = said
    assert hub.fetch_model("some/model", progress=progress) == Path("/snapshot")
    assert said == ["model 'some/model': downloading 1.5 GB from the hub", "downloaded some/model"]


@pytest.mark.parametrize(
    ("cause", "kind", "message"),
    [
        (
            OSError("down"),
            NotFoundError,
            "not complete on this machine; cannot be .* no connection .* `model`$",
        ),
        (HfHubHTTPError("403 gated", response=Mock()), MlcmrError, "cannot be downloaded: 403 gated"),
    ],
)
def test_a_model_that_is_here_in_part(monkeypatch, cause, kind, message):
    def snapshot_download(_, *, dry_run=False, local_files_only=False, **__):
        if dry_run:
            raise DryRunError("no") from cause
        assert local_files_only  # nothing is downloaded whose size is not known
        raise LocalEntryNotFoundError("incomplete")

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "find_model", lambda name, *_, **__: name)
    with pytest.raises(kind, match=message):
        hub.fetch_model("some/model", "model")


def test_a_folder_without_media_fetches_no_model(tmp_path, monkeypatch):
    monkeypatch.setattr("mlcmr.search.indexing.execute.open_model", Mock(side_effect=AssertionError))
    (tmp_path / "films").mkdir()
    (tmp_path / "films/notes.txt").write_text("a")
    with pytest.raises(NotFoundError, match="no video or image, by file extension"):
        mlcmr.index(tmp_path / "films", tmp_path / "index")
    assert not (tmp_path / "index").exists()
