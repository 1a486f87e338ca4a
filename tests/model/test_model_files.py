"""A model's files say how large it is: nothing is built before they agree with its weights."""

import json
import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from mlcmr.errors import CorruptFileError, MlcmrError
from mlcmr.extraction.encoders.registry import load_encoder
from mlcmr.model.config import TextConfig
from mlcmr.model.encoders.text import TextEncoder, pretrained_encoder
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.two_tower import TwoTower
from mlcmr.search.model_description import hash_weights
from mlcmr.translation.translator import Translator
from tests.helpers.models import VISION, write_bert, write_clip
from tests.helpers.permissions import forbid
from tests.helpers.strangers import edit_json
from tests.helpers.translators import make

SECONDS, MEGABYTES = 10, 400


def write_vit(folder: Path) -> Path:
    ViTModel(ViTConfig(**VISION)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def open_whole(kind: str, folder: Path) -> None:
    """Open a text encoder as training does, or a model."""
    opened = OPEN[kind](folder)
    if kind == "text encoder":
        TextEncoder(*opened, trained_layers=1)


OPEN: dict[str, Callable[[Path], Any]] = {
    "text encoder": lambda folder: pretrained_encoder(TextConfig(encoder=str(folder))),
    "two towers": TwoTower.from_pretrained,
    "frame encoder": lambda folder: load_encoder(folder, device="cpu"),
    "translation": lambda folder: Translator(str(folder), "en", "zh"),
    "mlcmr": MLCMR.from_pretrained,
}


@pytest.fixture(scope="module")
def good(trained, tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("good")
    folders = {
        "text encoder": write_bert(place / "bert"),
        "two towers": write_clip(place / "clip"),
        "frame encoder": write_vit(place / "vit"),
        "translation": make("marian", place / "marian"),
        "mlcmr": trained / "model",
    }
    for kind, folder in folders.items():
        OPEN[kind](folder)
    return folders


@pytest.fixture(params=OPEN)
def kind(request) -> str:
    return request.param


@pytest.fixture
def folder(kind, good, tmp_path) -> Path:
    """A copy of a model that a test may spoil."""
    return Path(shutil.copytree(good[kind], tmp_path / "copy"))


def refused(kind: str, folder: Path) -> str:
    """Open a model; return the one line that refuses it, quickly and without much memory."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MlcmrError) as caught:
        OPEN[kind](folder)
    assert time.monotonic() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES << 10
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert len(message) < 1000
    return message


def config_of(kind: str, folder: Path) -> Path:
    return folder / "text_encoder" / "config.json" if kind == "mlcmr" else folder / "config.json"


def edit_sizes(path: Path, name: str, value: Any) -> None:
    """Change a setting wherever it stands: two-tower models have one in each tower."""

    def edited(content: Any) -> Any:
        if isinstance(content, dict):
            return {key: value if key == name else edited(one) for key, one in content.items()}
        return content

    before = json.loads(path.read_text())
    after = edited(before)
    assert before != after, name
    path.write_text(json.dumps(after))


SIZES = {
    "text encoder": ["num_hidden_layers", "hidden_size", "vocab_size", "intermediate_size"],
    "two towers": ["num_hidden_layers", "hidden_size", "projection_dim", "intermediate_size"],
    "frame encoder": ["num_hidden_layers", "hidden_size", "image_size"],
    "translation": ["encoder_layers", "d_model", "vocab_size", "decoder_ffn_dim"],
    "mlcmr": ["num_hidden_layers", "hidden_size", "vocab_size"],
}


@pytest.mark.parametrize("value", [10**7, 10**9, 10**30, -1, "many", [1]])
@pytest.mark.parametrize("place", range(4))
def test_absurd_sizes(kind, folder, place, value):
    name = SIZES[kind][place % len(SIZES[kind])]
    edit_sizes(config_of(kind, folder), name, value)
    refused(kind, folder)


def test_sizes_of_another_model(kind, folder):
    """Nearly right is not right: a wider model, and one of fewer layers."""
    path = config_of(kind, folder)
    wide = {"two towers": "projection_dim", "translation": "decoder_ffn_dim"}.get(kind, "intermediate_size")
    content = path.read_text()
    edit_sizes(path, wide, 48)
    assert "shape" in refused(kind, folder)
    path.write_text(content)
    layers = "encoder_layers" if kind == "translation" else "num_hidden_layers"
    edit_sizes(path, layers, 3)
    refused(kind, folder)
    path.write_text(content)
    if kind in {"text encoder", "two towers", "frame encoder"}:
        edit_sizes(path, layers, 1)
        assert "fewer layers than the weights" in refused(kind, folder)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 50_000, "{}", "[]", '"x"', "", "\0", "{'a': 1}"]
)
def test_configurations_that_are_none(kind, folder, content):
    config_of(kind, folder).write_text(content)
    refused(kind, folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("feature_size", 10**9),
        ("feature_size", -1),
        ("feature_size", "12"),
        ("model.embedding_size", 10**12),
        ("model.embedding_size", 33),
        ("model.video.gru_size", 10**9),
        ("model.video.filters", 10**9),
        ("model.video.windows", [2] * 100_000),
        ("model.video.windows", [10**9]),
        ("model.video.windows", []),
        ("model.video.windows", "2-3"),
        ("model.text.trained_layers", 10**9),
        ("model.dropout", "x"),
        ("model", []),
    ],
)
def test_sizes_of_our_own_model(good, tmp_path, path, value):
    folder = Path(shutil.copytree(good["mlcmr"], tmp_path / "copy"))
    content = json.loads((folder / "config.json").read_text())
    inner = content
    *names, last = path.split(".")
    for name in names:
        inner = inner[name]
    inner[last] = value
    (folder / "config.json").write_text(json.dumps(content))
    refused("mlcmr", folder)


@pytest.mark.parametrize("kind", ["text encoder", "two towers", "mlcmr"])
@pytest.mark.parametrize("longest", [0, -5, 1, "many", [], {"a": 1}])
def test_texts_without_room(good, tmp_path, kind, longest):
    folder = Path(shutil.copytree(good[kind], tmp_path / "copy"))
    edit_json(tokenizer_of(kind, folder).with_name("tokenizer_config.json"), model_max_length=longest)
    with pytest.raises(MlcmrError) as caught:
        open_whole(kind, folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["size", "crop_size"])
@pytest.mark.parametrize("value", [10**9, -1, 0, {"height": 10**7, "width": 10**7}, {"shortest_edge": 10**8}])
@pytest.mark.parametrize("kind", ["frame encoder"])
def test_pictures_that_fill_the_memory(kind, folder, name, value):
    edit_json(folder / "preprocessor_config.json", **{name: value})
    assert "preprocessor_config.json" in refused(kind, folder)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 50_000, "[]", "", "{}", '{"size": "x"}'])
@pytest.mark.parametrize("kind", ["frame encoder"])
def test_processors_that_are_none(kind, folder, content):
    (folder / "preprocessor_config.json").write_text(content)
    try:
        OPEN[kind](folder)  # the library may have defaults
    except MlcmrError:
        refused(kind, folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "generation_config.json", "notes"])
def test_a_pipe_that_nobody_writes(kind, folder, file):
    place = folder / "text_encoder" if kind == "mlcmr" else folder
    (place / file).unlink(missing_ok=True)
    os.mkfifo(place / file)
    refused(kind, folder)


# ─── weights ─────────────────────────────────────────────────────────────────────────────────────────────


def weights_of(folder: Path) -> Path:
    return folder / "model.safetensors"


def largest(weights: dict[str, torch.Tensor]) -> str:
    return max(weights, key=lambda key: weights[key].numel())


def test_weights_without_permission(kind, folder, monkeypatch):
    forbid(weights_of(folder), monkeypatch)
    message = refused(kind, folder)
    assert "model.safetensors: cannot be read: Permission denied" in message
    assert "damaged" not in message


def test_the_digest_of_weights_without_permission(good, monkeypatch):
    forbid(weights_of(good["two towers"]), monkeypatch)
    with pytest.raises(MlcmrError, match=r"model\.safetensors: cannot be read: Permission denied$"):
        hash_weights(good["two towers"])


@pytest.mark.parametrize("kind", ["mlcmr", "frame encoder"])
def test_a_folder_without_permission(kind, folder, monkeypatch):
    stat, lstat = os.stat, os.lstat

    def refuse(name, *arguments, follow_symlinks=True, **options):
        if isinstance(name, (str, os.PathLike)) and folder in Path(name).parents:
            raise PermissionError(13, "Permission denied", str(name))
        return (stat if follow_symlinks else lstat)(name, *arguments, **options)

    forbid(folder, monkeypatch)
    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "lstat", lambda name, **options: refuse(name, follow_symlinks=False, **options))
    assert "cannot be read: Permission denied" in refused(kind, folder)


def test_weights_of_another_shape(kind, folder):
    weights = load_file(weights_of(folder))
    key = largest(weights)
    weights[key] = weights[key][1:].clone()
    save_file(weights, weights_of(folder), metadata={"format": "pt"})
    assert key.rpartition(".")[2] in refused(kind, folder)


def test_weights_that_are_missing(kind, folder):
    weights = load_file(weights_of(folder))
    del weights[largest(weights)]
    save_file(weights, weights_of(folder), metadata={"format": "pt"})
    refused(kind, folder)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(kind, folder, number):
    weights = load_file(weights_of(folder))
    weights[largest(weights)].view(-1)[-1] = number
    save_file(weights, weights_of(folder), metadata={"format": "pt"})
    assert "not finite numbers" in refused(kind, folder)


def test_weights_that_are_cut_off(kind, folder):
    path = weights_of(folder)
    content = path.read_bytes()
    for size in (0, 7, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        refused(kind, folder)
    path.write_bytes((2**63 - 1).to_bytes(8, "little") + content[8:])  # a header of so many bytes
    refused(kind, folder)


def test_whole_numbers_are_no_weights_of_ours(good, tmp_path):
    folder = Path(shutil.copytree(good["mlcmr"], tmp_path / "copy"))
    weights = load_file(weights_of(folder))
    key = "video_mapping.linear.weight"
    weights[key] = weights[key].to(torch.int64)
    save_file(weights, weights_of(folder))
    assert f"'{key}' is of type" in refused("mlcmr", folder)


def shard(folder: Path) -> dict[str, str]:
    """Divide a model's weights among two files; return which file has which."""
    weights = load_file(weights_of(folder))
    weights_of(folder).unlink()
    names = {}
    for number in range(2):
        part = dict(list(weights.items())[number::2])
        name = f"model-0000{number + 1}-of-00002.safetensors"
        save_file(part, folder / name, metadata={"format": "pt"})
        names |= dict.fromkeys(part, name)
    return names


def write_list(folder: Path, names: Any) -> None:
    content = {"metadata": {"total_size": 1}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def test_weights_in_several_files(good, tmp_path):
    for kind in ("text encoder", "two towers", "frame encoder", "translation"):
        folder = Path(shutil.copytree(good[kind], tmp_path / kind.replace(" ", "-")))
        names = shard(folder)
        write_list(folder, names)
        OPEN[kind](folder)
        # A list that leads elsewhere, even to weights that would do.
        shutil.move(folder / "model-00001-of-00002.safetensors", tmp_path / "outside.safetensors")
        for outside in (
            "../outside.safetensors",
            str(tmp_path / "outside.safetensors"),
            "..",
            "",
            "a/b",
            "nul\0",
        ):
            write_list(folder, {key: outside if "00001" in name else name for key, name in names.items()})
            refused(kind, folder)
        for wrong in ({}, [], None, "x", {"a": 1}, {"a": ["b"]}, names):  # of `names` a file is gone now
            write_list(folder, wrong)
            refused(kind, folder)


# ─── tokenizers ──────────────────────────────────────────────────────────────────────────────────────────

TOKENIZED = ["text encoder", "two towers", "mlcmr"]


def tokenizer_of(kind: str, folder: Path) -> Path:
    return folder / "text_encoder" / "tokenizer.json" if kind == "mlcmr" else folder / "tokenizer.json"


def double(letters: str, times: int = 64) -> dict[str, Any]:
    steps = [{"type": "Replace", "pattern": {"String": letters}, "content": letters * 2}] * times
    return {"type": "Sequence", "normalizers": steps}


@pytest.mark.parametrize("kind", TOKENIZED)
@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": double("a")},
        {"normalizer": {"type": "Sequence", "normalizers": [double("a", 8), double("a", 8)]}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "."}, "content": "a" * 10**6}},
        {"normalizer": {"type": "Prepend", "prepend": "a" * 10**6}},
        {"normalizer": {"type": "Replace", "pattern": 1, "content": "a"}},
        {"normalizer": {"type": "Replace"}},
        {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "x", "type_id": 0}}] * 10**5,
                "pair": [],
                "special_tokens": {"x": {"id": "x", "ids": [0] * 10**4, "tokens": ["x"] * 10**4}},
            }
        },
        {"model": {"type": "WordLevel", "vocab": {"a": 10**12}, "unk_token": "a"}},
        {"model": {}},
        {"added_tokens": [{"id": 10**12}]},
    ],
)
def test_tokenizers_that_grow_texts(good, tmp_path, kind, changes):
    folder = Path(shutil.copytree(good[kind], tmp_path / "copy"))
    edit_json(tokenizer_of(kind, folder), **changes)
    refused(kind, folder)


@pytest.mark.parametrize("kind", TOKENIZED)
def test_tokenizers_that_are_none(good, tmp_path, kind):
    folder = Path(shutil.copytree(good[kind], tmp_path / "copy"))
    for content in ("[" * 100_000, '{"normalizer":' * 50_000, "[]", "1", "", "{}"):
        tokenizer_of(kind, folder).write_text(content)
        refused(kind, folder)
    with tokenizer_of(kind, folder).open("wb") as file:
        file.truncate(10 << 30)  # 10 GB of nothing
    assert "larger than" in refused(kind, folder)


@pytest.mark.parametrize("kind", TOKENIZED)
def test_a_tokenizer_of_a_larger_model(good, tmp_path, kind):
    """Its tokens have no embeddings here: found at once, not by the first query that has one."""
    folder = Path(shutil.copytree(good[kind], tmp_path / "copy"))
    content = json.loads(tokenizer_of(kind, folder).read_text())
    content["model"]["vocab"] |= {"dogs": 10**6}
    tokenizer_of(kind, folder).write_text(json.dumps(content))
    with pytest.raises(
        CorruptFileError, match=r"makes token 1,000,000, but the model has embeddings of \d+;"
    ):
        MLCMR.from_pretrained(folder) if kind == "mlcmr" else open_whole(kind, folder)


@pytest.mark.parametrize("kind", TOKENIZED)
def test_a_pattern_that_takes_too_long_is_one_line(good, tmp_path, kind):
    """The tokenizer panics, which is no `Exception`."""
    folder = Path(shutil.copytree(good[kind], tmp_path / "copy"))
    endless = {"type": "Replace", "pattern": {"Regex": "(a+| )+$"}, "content": "a"}
    edit_json(tokenizer_of(kind, folder), normalizer=endless)
    text = f"{'a' * 40}!"

    def read() -> None:
        opened = OPEN[kind](folder)
        if kind == "text encoder":
            TextEncoder(*opened, trained_layers=1).tokenize([text], ["zh"])
        else:
            opened.encode_texts([text], "zh")

    with pytest.raises(CorruptFileError, match=r"its tokenizer cannot read a text: .*retry-limit"):
        read()


# ─── anything ────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25)
@given(data=st.data())
def test_a_mutated_model_opens_or_is_one_line(good, tmp_path_factory, data):
    kind = data.draw(st.sampled_from(list(OPEN)))
    folder = Path(shutil.copytree(good[kind], tmp_path_factory.mktemp("mutated") / "copy"))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".spm"]
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content), 4000) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        OPEN[kind](folder)
    except MlcmrError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said
