"""Models of sentence-transformers, by a stand-in for the library."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import mlcmr
from mlcmr.cli import main
from mlcmr.errors import InvalidValueError, MissingDependencyError, MlcmrError
from mlcmr.extraction.encoders.registry import load_encoder
from mlcmr.extraction.encoders.sentence import SentenceEncoder
from mlcmr.model import SentenceTower, TwoTower
from mlcmr.model.sentence_files import is_sentence_model
from mlcmr.search import IndexRequest, Searcher
from mlcmr.search.indexing.manifest import read_info
from mlcmr.search.models import open_model
from mlcmr.testing import check_frame_encoder, check_model
from tests.helpers.models import TEXTS, write_clip
from tests.helpers.sentence_models import SIZE, install, write_sentence_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    install(monkeypatch)
    return write_sentence_model(tmp_path / "omni")


@pytest.fixture
def pictures(tmp_path):
    place = tmp_path / "pictures"
    place.mkdir()
    draw = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        Image.fromarray(draw.integers(0, 256, (40, 40, 3), np.uint8)).save(place / f"{name}.png")
    return place


def test_the_contracts_hold(folder):
    encoder, model = load_encoder(folder, device="cpu"), SentenceTower.from_pretrained(folder)
    assert isinstance(encoder, SentenceEncoder)
    assert (encoder.frames_per_feature, encoder.fps, encoder.dimension) == (8, 2, SIZE)
    check_frame_encoder(encoder)
    check_model(model, feature_size=SIZE)
    check_model(SentenceTower.from_pretrained(folder, dimension=8), feature_size=SIZE)


def test_a_model_without_videos_embeds_each_frame(tmp_path, monkeypatch):
    install(monkeypatch)
    encoder = load_encoder(write_sentence_model(tmp_path / "images", ("text", "image")), device="cpu")
    assert encoder.frames_per_feature == 1
    check_frame_encoder(encoder)


def test_a_still_window_is_an_image(folder):
    encoder = load_encoder(folder, device="cpu")
    draw = np.random.default_rng(0)
    moving = [draw.integers(0, 256, (40, 60, 3), np.uint8) for _ in range(8)]
    still = moving[:1] * 8
    encoder._sentence.model.seen.clear()
    both = encoder.encode([*still, *moving])
    assert sorted(encoder._sentence.model.seen) == ["image", "video"]
    alone = np.concatenate([encoder.encode(still), encoder.encode(moving)])
    np.testing.assert_allclose(both, alone, atol=1e-6)


def test_large_pictures_are_made_smaller_and_keep_their_form(folder):
    encoder = load_encoder(folder, device="cpu")
    assert encoder.prepare(np.zeros((1080, 1920, 3), np.uint8)).shape == (252, 448, 3)
    assert encoder.prepare(np.zeros((100, 200, 3), np.uint8)).shape == (100, 200, 3)


def test_queries_are_texts_with_the_prompt(folder, tmp_path):
    """Neither a file, nor an address, nor the mark of a picture."""
    model = SentenceTower.from_pretrained(folder)
    path = tmp_path / "secret.jpg"
    Image.new("RGB", (8, 8)).save(path)
    model.encode_texts([str(path), "https://example.org/a.mp4", "an <|image|> of a dog"])
    prompt = "task: search | query: "
    expected = [str(path), "https://example.org/a.mp4", "an < |image|> of a dog"]
    assert model._sentence.model.texts[-3:] == [prompt + text for text in expected]
    assert not model._sentence.model.seen


def test_fewer_numbers_are_the_first_ones(folder):
    whole, short = SentenceTower.from_pretrained(folder), SentenceTower.from_pretrained(folder, dimension=8)
    cut = whole.encode_texts(TEXTS)[:, :8]
    torch.testing.assert_close(short.encode_texts(TEXTS), cut / cut.norm(dim=1, keepdim=True))
    frames = np.random.default_rng(0).normal(size=(5, SIZE)).astype(np.float32)
    directions = frames[:, :8] / np.linalg.norm(frames[:, :8], axis=1, keepdims=True)
    mean = directions.mean(0)
    np.testing.assert_allclose(short.encode_videos([frames])[0], mean / np.linalg.norm(mean), atol=1e-6)
    with pytest.raises(InvalidValueError, match=r"`dimension` is 25, but must be 1 to 24"):
        SentenceTower.from_pretrained(folder, dimension=25)


def test_an_index_and_search(folder, pictures, tmp_path, capsys):
    index = tmp_path / "index"
    words = ["index", str(pictures), "--model", str(folder), "--to", str(index), "--device", "cpu"]
    assert main([*words, "--dimension", "8"]) == 0
    info = read_info(index).model
    assert (info.embedding_size, info.feature_size, info.dimension) == (8, SIZE, 8)
    assert main(words) == 0  # the index knows its size
    assert "3 as before" in capsys.readouterr().out
    searcher = Searcher(index, device="cpu")
    assert len(searcher.search("a dog", k=3)) == 3
    assert searcher.search_file(pictures / "two.png", k=1)[0].video == "two"
    assert Searcher(index, device="cpu", model=folder).search("a dog", k=3) == searcher.search("a dog", k=3)
    assert main([*words, "--dimension", "16"]) == 2
    assert "have 8 numbers, and --dimension is 16" in capsys.readouterr().err


def test_an_opened_model(folder, pictures, tmp_path):
    model = SentenceTower.from_pretrained(folder, dimension=8)
    assert mlcmr.index(pictures, tmp_path / "index", model=model, device="cpu").added == 3
    assert len(Searcher(tmp_path / "index", device="cpu").search("a dog", k=3)) == 3
    with pytest.raises(InvalidValueError, match="`dimension` is for a `model` by hub id or folder"):
        IndexRequest(source=pictures, model=model, dimension=8)


def test_the_tower_and_its_encoder_share_the_weights(folder):
    opened = open_model(folder, device="cpu")
    assert load_encoder(folder, device="cpu")._sentence is opened.model._sentence


def test_clip_stays_our_own(folder, tmp_path):
    """Also where its folder is written by sentence-transformers."""
    clip = write_clip(tmp_path / "clip")
    shutil.copy(folder / "modules.json", clip)
    assert isinstance(open_model(clip, device="cpu").model, TwoTower)
    assert load_encoder(clip, device="cpu").dimension == 24
    with pytest.raises(InvalidValueError, match="`dimension` is for models of sentence-transformers"):
        open_model(clip, dimension=8, device="cpu")


def test_a_model_of_texts_alone(tmp_path, monkeypatch):
    install(monkeypatch)
    with pytest.raises(
        InvalidValueError, match="takes text alone, but must take texts, and images or videos"
    ):
        open_model(write_sentence_model(tmp_path / "e5", ("text",)), device="cpu")


def test_what_the_library_cannot_embed(folder, monkeypatch):
    """The errors of its models are of many kinds, as of a text that is longer than the positions."""
    model = open_model(folder, device="cpu").model

    def fail(*_, **__):
        raise RuntimeError("size of tensor a (64)\nmust match")

    monkeypatch.setattr(model._sentence.model, "encode_query", fail)
    with pytest.raises(InvalidValueError, match=r"omni': cannot embed this text: .*size of tensor a"):
        model.encode_texts(["a dog"])


def test_pictures_and_texts_in_two_spaces(folder, monkeypatch):
    kept = open_model(folder, device="cpu").model  # so that the encoder finds it
    whole = kept._sentence.model.encode_document
    monkeypatch.setattr(kept._sentence.model, "encode_document", lambda *a, **o: whole(*a, **o)[:, :5])
    with pytest.raises(InvalidValueError, match="embeds texts in 24 numbers, but pictures in 5"):
        load_encoder(folder, device="cpu")


def test_the_library_is_not_installed(tmp_path, monkeypatch):
    folder = write_sentence_model(tmp_path / "omni")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    for use in (open_model, load_encoder):
        with pytest.raises(MissingDependencyError, match=r"pip install 'mlcmr\[omni\]'"):
            use(folder, device="cpu")


def test_weights_of_all_modules_count(folder):
    """A module such as a projection has its weights in a folder of its own."""
    before = open_model(folder, device="cpu").info.fingerprint
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules, {**modules[0], "path": "1_Dense"}]))
    (folder / "1_Dense").mkdir()
    shutil.copy(folder / "model.safetensors", folder / "1_Dense")
    assert open_model(folder, device="cpu").info.fingerprint != before
    (folder / "modules.json").write_text(json.dumps([{**modules[0], "path": "../elsewhere"}]))
    with pytest.raises(MlcmrError, match=r"'\.\./elsewhere' is no folder of a module"):
        open_model(folder, device="cpu")


def test_a_damaged_list_of_modules(folder, pictures, tmp_path):
    (folder / "modules.json").write_text("{")
    assert is_sentence_model(folder)
    with pytest.raises(MlcmrError, match=r"modules\.json"):
        mlcmr.index(pictures, tmp_path / "index", model=folder, device="cpu")
