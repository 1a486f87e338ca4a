"""Models that strangers made: nothing of them is run, and what is wrong with them is one line."""

import io
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoConfig

from mlcmr.cli import main
from tests.helpers.models import write_bert, write_clip
from tests.helpers.strangers import add_code, compress, edit_json
from tests.helpers.tiny import tiny_config, write_recipe
from tests.helpers.translators import make

ENTRIES = {
    "train": "train --config {recipe} --model.text.encoder {folder} --model.text.new null",
    "evaluate": "evaluate {run} --device cpu",
    "index a run": "index {collection} --run {run} --to {new} --device cpu",
    "search": "search dog --index {index} --device cpu",
    "index a shared model": "index {collection} --model {run}/model --feature feat --to {new} --device cpu",
    "index a model": "index {pictures} --model {folder} --to {new} --device cpu",
    "extract": "extract {pictures} --collection {new} --encoder {folder} --device cpu",
    "translate": "translate {collection} --from en --to de --model {folder} --device cpu",
}


@pytest.fixture
def place(trained, indexed, tmp_path) -> Path:
    """A collection, a run and an index that a test may change, and pictures; `folder` is to be a model."""
    place = tmp_path / "place"
    shutil.copytree(trained.parent, place)
    (place / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(place / "pictures" / "one.png")
    for path in (place / "run" / "config.yaml", place / "index" / "index.json"):
        path.write_text(path.read_text().replace(str(trained.parent), str(place)))
    assert indexed.is_dir()
    write_recipe(place / "recipe.yaml", tiny_config(place, place / "new", epochs=1))
    return place


def command(entry: str, place: Path) -> list[str]:
    names = {name: place / name for name in ("run", "index", "new", "folder", "pictures")}
    paths = {**names, "collection": place / "tiny", "recipe": place / "recipe.yaml"}
    return [word.format(**paths) for word in ENTRIES[entry].split()]


def model_folder(entry: str, place: Path) -> Path:
    """The foreign folder that a command opens."""
    return place / "folder" if "{folder}" in ENTRIES[entry] else place / "run" / "model" / "text_encoder"


def good_model(entry: str, place: Path) -> Path:
    """Make a model that the command takes."""
    folder = model_folder(entry, place)
    if entry == "train":
        write_bert(folder)
    elif entry == "translate":
        make("multilingual marian", folder)
    elif not folder.exists():
        write_clip(folder)
    return folder


@pytest.mark.parametrize("entry", ENTRIES)
def test_code_in_a_model_folder_is_refused_at_once(entry, place, monkeypatch, capfd):
    """Whoever types `y` is not even asked."""
    add_code(good_model(entry, place), place / "marker")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    capfd.readouterr()
    began = time.monotonic()
    assert main(command(entry, place)) == 2
    assert time.monotonic() - began < 10
    said = capfd.readouterr().err.strip()
    assert "Python code of its own" in said
    assert "\n" not in said
    assert sys.stdin.tell() == 0
    assert not (place / "marker").exists()


@pytest.mark.parametrize("entry", ENTRIES)
def test_code_beside_a_model_of_a_known_type_is_left_alone(entry, place, monkeypatch):
    """The library's own code opens the model."""
    add_code(good_model(entry, place), place / "marker", known_type=True)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    words = command(entry, place)
    if entry == "train":
        words += ["--model.text.trained_layers", "1"]
    assert main(words) == 0
    assert sys.stdin.tell() == 0
    assert not (place / "marker").exists()


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("Tokenizer", {"AutoTokenizer": ["code.Tokenizer", None]}),
        (None, {"AutoTokenizer": ["code.Tokenizer", None]}),
        ("Tokenizer", ["code.Tokenizer", None]),
    ],
)
@pytest.mark.parametrize("entry", ["train", "evaluate", "index a model", "translate"])
def test_code_of_the_tokenizer_alone_is_refused(entry, named, code, place, capfd):
    """The library would open its own tokenizer for this type of model."""
    path = good_model(entry, place) / "tokenizer_config.json"
    edit_json(path, auto_map=code, tokenizer_class=named)
    capfd.readouterr()
    assert main(command(entry, place)) == 2
    assert "': asks to run Python code of its own (auto_map)" in capfd.readouterr().err


@pytest.mark.parametrize("entry", ["train", "evaluate", "index a model", "translate"])
def test_a_model_without_the_vocabulary_of_its_tokenizer_is_refused(entry, place, capfd):
    """The library would open the special tokens alone, and read every text as the same unknown words."""
    folder = good_model(entry, place)
    for path in (*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("*.spm")):
        path.unlink()
    capfd.readouterr()
    assert main(command(entry, place)) == 2
    assert "a file of its tokenizer is missing, such as tokenizer.json" in capfd.readouterr().err


def test_a_terminal_is_not_asked(place):
    folder = add_code(good_model("index a model", place), place / "marker")
    ours, theirs = pty.openpty()
    os.write(ours, b"y\ny\n")
    program = [sys.executable, "-m", "mlcmr", *command("index a model", place)]
    done = subprocess.run(program, stdin=theirs, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, str(folder) in done.stderr) == (2, True)
    assert "[y/N]" not in done.stdout + done.stderr
    assert not (place / "marker").exists()


def test_the_code_is_real(tmp_path):
    """The code that the tests above refuse does run if it is trusted."""
    add_code(tmp_path / "folder", tmp_path / "marker")
    AutoConfig.from_pretrained(tmp_path / "folder", trust_remote_code=True)
    assert (tmp_path / "marker").exists()


# ─── weights ─────────────────────────────────────────────────────────────────────────────────────────────


class Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("entry", ["train", "index a model", "extract", "translate"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_weights_execute_nothing(entry, zipped, place, capfd):
    folder = good_model(entry, place)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(
        weights | {"attack": Attack(place / "marker")},
        folder / "pytorch_model.bin",
        _use_new_zipfile_serialization=zipped,
    )
    capfd.readouterr()
    assert main(command(entry, place)) == 2
    said = capfd.readouterr().err.strip()
    assert "hold more than tensors" in said
    assert "\n" not in said
    assert not (place / "marker").exists()
    with (folder / "pytorch_model.bin").open("rb") as file:  # the attack is real
        torch.load(file, weights_only=False)
    assert (place / "marker").exists()


@pytest.mark.parametrize("entry", ["train", "index a model", "extract", "translate"])
def test_pickled_weights_do_not_become_larger_than_their_file(entry, place, capfd):
    folder = good_model(entry, place)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    compress(folder / "pytorch_model.bin")
    capfd.readouterr()
    assert main(command(entry, place)) == 2
    said = capfd.readouterr().err.strip()
    assert "pytorch_model.bin: its members are compressed" in said
    assert "\n" not in said
    name = max(weights, key=lambda key: weights[key].ndim)
    torch.save(weights | {name: torch.zeros(1).expand(10**6, 10**6)}, folder / "pytorch_model.bin")
    assert main(command(entry, place)) == 2
    said = capfd.readouterr().err.strip()
    assert f"pytorch_model.bin: '{name}' has not the numbers of its shape (1000000, 1000000)" in said
    assert "\n" not in said


def test_pickled_weights_of_tensors_are_read(place):
    folder = good_model("index a model", place)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert main(command("index a model", place)) == 0
