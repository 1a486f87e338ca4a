"""Pretrained two-tower models as they come: texts as CLIP and SigLIP want them, videos as mean frames."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BertConfig,
    BertModel,
    CLIPModel,
    FlavaConfig,
    FlavaModel,
    PreTrainedTokenizerFast,
    SiglipModel,
)

import mlcmr
from mlcmr.cli import main
from mlcmr.data.features.frame_features import write_features
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError
from mlcmr.extraction.encoders.registry import load_encoder
from mlcmr.extraction.extract_collection import extract
from mlcmr.model.two_tower import TwoTower
from mlcmr.search import Searcher
from mlcmr.search.indexing.manifest import read_info
from mlcmr.training import train
from tests.helpers.models import (
    TEXT,
    TEXTS,
    gemma_tokenizer,
    siglip_tokenizer,
    write_clip,
    write_siglip,
    write_siglip2,
)
from tests.helpers.tiny import SCENES, tiny_config, video_name, write_collection


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("towers")
    return {"clip": write_clip(place / "tiny-clip"), "siglip": write_siglip(place / "tiny-siglip")}


@pytest.fixture(params=["clip", "siglip"])
def folder(request, folders) -> Path:
    return folders[request.param]


def test_bytes_are_read_if_they_can_be_seen(folders):
    model = TwoTower.from_pretrained(folders["clip"])
    for text, read in (("a dog", True), ("!!!", True), ("😀", True), ("\u200b", False), ("", False)):
        assert model.can_encode(text) == read


def test_texts_are_those_of_the_model(folders):
    """Against the model's own classes, each text as its kind wants it."""
    clip = CLIPModel.from_pretrained(folders["clip"]).eval()
    siglip = SiglipModel.from_pretrained(folders["siglip"]).eval()
    clip_words, siglip_words = (
        PreTrainedTokenizerFast(tokenizer_file=str(folders[name] / "tokenizer.json"))
        for name in ("clip", "siglip")
    )
    for text in TEXTS:
        with torch.inference_mode():
            ids = torch.tensor([clip_words(text, truncation=True, max_length=16).input_ids])
            one = clip.text_projection(clip.text_model(input_ids=ids).pooler_output)
            # SigLIP reads 16 tokens always, the padding too, in lower case.
            ids = siglip_words(text.lower(), truncation=True, max_length=16).input_ids
            padded = torch.tensor([ids + [1] * (16 - len(ids))])
            other = siglip.text_model(input_ids=padded).pooler_output
        for name, expected in (("clip", one), ("siglip", other)):
            found = TwoTower.from_pretrained(folders[name]).encode_texts([text], "en")
            torch.testing.assert_close(found, expected / expected.norm(), rtol=0, atol=1e-5)


def test_texts_for_siglip_2_are_lower_case(tmp_path):
    """Its tokenizer, Gemma's, tells cases apart, but its authors trained it on lower-cased texts."""
    folder = write_siglip2(tmp_path / "siglip2")
    model, own = TwoTower.from_pretrained(folder), SiglipModel.from_pretrained(folder).eval()
    tokenizer = gemma_tokenizer()
    for text in (*TEXTS, "A DOG"):
        ids = [*tokenizer(text.lower(), add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        padded = torch.tensor([[*ids[:15], ids[-1]] if len(ids) > 16 else ids + [0] * (16 - len(ids))])
        with torch.inference_mode():
            expected = own.text_model(input_ids=padded).pooler_output
        torch.testing.assert_close(model.encode_texts([text]), expected / expected.norm(), rtol=0, atol=1e-5)
    assert tokenizer("A DOG").input_ids != tokenizer("a dog").input_ids  # else there is nothing to hold


def test_a_text_does_not_depend_on_its_batch(folder):
    model = TwoTower.from_pretrained(folder)
    together = model.encode_texts(TEXTS)
    alone = torch.cat([model.encode_texts([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.encode_texts(TEXTS, batch_size=3), alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(TEXTS)))
    assert together.dtype == torch.float32
    assert (together[0] - together[1]).norm() > 1e-3  # not one for all


def test_nothing_gives_nothing(folder):
    model = TwoTower.from_pretrained(folder)
    assert model.encode_texts([]).shape == (0, model.feature_size)
    assert model.encode_videos([]).shape == (0, model.feature_size)


def test_long_texts_are_cut(folder):
    model = TwoTower.from_pretrained(folder)
    long = " ".join(["dog"] * 500)
    torch.testing.assert_close(model.encode_texts([long]), model.encode_texts([long + " cat"]))


def test_progress_is_told(folder):
    told: list[int] = []
    model = TwoTower.from_pretrained(folder)
    model.encode_texts(TEXTS, "en", batch_size=3, advance=told.append)
    assert told == [3, 1]
    model.encode_videos([np.ones((2, model.feature_size), np.float32)] * 2, advance=told.append)
    assert told == [3, 1, 1, 1]


def test_a_video_is_the_mean_of_its_frames_directions(folder):
    model = TwoTower.from_pretrained(folder)
    frames = np.random.default_rng(0).normal(size=(5, model.feature_size)).astype(np.float32)
    directions = frames / np.linalg.norm(frames, axis=1, keepdims=True)
    mean = directions.mean(0)
    loud = frames * np.arange(1, 6, dtype=np.float32)[:, None]  # the length of a frame's vector is irrelevant
    for video in (frames, loud):
        np.testing.assert_allclose(model.encode_videos([video])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_an_image_is_the_model_s_own_embedding(folder):
    """The frame encoder and the model are of one space."""
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    encoder, model = load_encoder(folder, device="cpu"), TwoTower.from_pretrained(folder)
    assert encoder.dimension == model.feature_size
    whole = (
        CLIPModel if "clip" in folder.name and "siglip" not in folder.name else SiglipModel
    ).from_pretrained(folder)
    pixels = torch.from_numpy(encoder.prepare(picture))[None]
    with torch.inference_mode():
        features = whole.eval().get_image_features(pixel_values=pixels)
    expected = features if isinstance(features, torch.Tensor) else features.pooler_output
    expected = expected / expected.norm()
    torch.testing.assert_close(model.encode_videos([encoder.encode([picture])]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 24), (3, 23), (24,), (1, 2, 24)])
def test_features_of_something_else(folders, shape):
    with pytest.raises(InvalidValueError, match=r"expected \(frames, 24\)"):
        TwoTower.from_pretrained(folders["clip"]).encode_videos([np.ones(shape, np.float32)])


# ─── what is no such model ───────────────────────────────────────────────────────────────────────────────


def test_a_model_with_a_vector_for_each_token(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 2}
    parts = {"text_config": {**sizes, "vocab_size": 300}, "image_config": {**sizes, "image_size": 32}}
    torch.manual_seed(0)
    config = FlavaConfig(**parts, multimodal_config=sizes, hidden_size=32, projection_dim=24)
    FlavaModel(config).save_pretrained(tmp_path / "flava")
    siglip_tokenizer().save_pretrained(tmp_path / "flava")
    with pytest.raises(
        InvalidValueError, match=r"flava': the text features of FlavaModel are not one vector per text"
    ):
        TwoTower.from_pretrained(tmp_path / "flava")


def test_a_model_without_pictures(tmp_path):
    BertModel(BertConfig(vocab_size=50, **TEXT)).save_pretrained(tmp_path / "bert")
    with pytest.raises(InvalidValueError, match="BertModel does not have texts and pictures in one space"):
        TwoTower.from_pretrained(tmp_path / "bert")


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_file_is_missing(folders, tmp_path, lost):
    copy = Path(shutil.copytree(folders["clip"], tmp_path / "copy"))
    (copy / lost).unlink()
    with pytest.raises(MlcmrError) as caught:
        mlcmr.index(folders["clip"], tmp_path / "index", model=copy, device="cpu")
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"model_type": "nothing"}', b"\xff\xfe"])
def test_a_damaged_configuration(folders, tmp_path, damage):
    copy = Path(shutil.copytree(folders["clip"], tmp_path / "copy"))
    (copy / "config.json").write_bytes(damage)
    with pytest.raises(CorruptFileError) as caught:
        mlcmr.index(folders["clip"], tmp_path / "index", model=copy, device="cpu")
    assert "\n" not in str(caught.value)


# ─── searching with it ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        Image.fromarray(draw.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def test_search_without_training(folder, pictures, tmp_path, capsys):
    words = [
        "index",
        str(pictures),
        "--model",
        str(folder),
        "--to",
        str(tmp_path / "index"),
        "--device",
        "cpu",
    ]
    assert main(words) == 0
    assert "3 added" in capsys.readouterr().out
    searcher = Searcher(tmp_path / "index", device="cpu")
    assert searcher.model_name == folder.name
    model = TwoTower.from_pretrained(folder)
    encoder = load_encoder(folder, device="cpu")
    seen = {}
    for path in pictures.iterdir():
        seen[path.stem] = model.encode_videos([encoder.encode([np.asarray(Image.open(path))])])[0]
        best = searcher.search_file(path, k=1)[0]
        assert best.score == pytest.approx(1, abs=1e-4)
    for text in TEXTS:
        hits = searcher.search(text, k=3)
        query = model.encode_texts([text])[0]
        for hit in hits:
            assert hit.score == pytest.approx(float(seen[hit.video] @ query), abs=1e-4)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert main(words) == 0
    assert "0 added, 0 changed, 0 removed, 3 as before" in capsys.readouterr().out


def test_one_model_s_index_is_not_another_s(folders, pictures, tmp_path):
    mlcmr.index(pictures, tmp_path / "index", model=folders["clip"], device="cpu")
    with pytest.raises(InvalidValueError, match=r"another model|takes"):
        mlcmr.index(pictures, tmp_path / "index", model=folders["siglip"], device="cpu")
    info = json.loads((tmp_path / "index" / "index.json").read_text())
    assert info["model"]["name"] == str(folders["clip"])


def test_a_collection_with_captions(folders, tmp_path):
    """Features that the model made lie under its name."""
    write_features(
        tmp_path / "mine" / "FeatureData" / "tiny-clip",
        [
            ([f"{who}_{does}_0"], np.random.default_rng(n).normal(size=(1, 24)))
            for n, (who, does) in enumerate(SCENES)
        ],
    )
    summary = mlcmr.index(tmp_path / "mine", tmp_path / "index", model=folders["clip"], device="cpu")
    assert (summary.added, summary.segments) == (len(SCENES), len(SCENES))
    with pytest.raises(NotFoundError, match="no such feature; there is tiny-clip"):
        mlcmr.index(tmp_path / "mine", tmp_path / "other", model=folders["siglip"], device="cpu")


def test_features_of_another_encoder_are_refused(pictures, tmp_path):
    """Folders of one name, and features of one size, though of different models."""
    mine, index, other = tmp_path / "mine", tmp_path / "index", tmp_path / "b" / "clip"
    model = write_clip(tmp_path / "a" / "clip")
    extract(pictures, mine, encoder=model, device="cpu")
    write_clip(other, seed=5)
    with pytest.raises(
        InvalidValueError, match=r"made by .*a/clip, but .*b/clip takes .*`encoder` .*b/clip$"
    ):
        mlcmr.index(mine, index, model=other, device="cpu")
    assert not (index / "index.json").exists()
    # The same weights elsewhere are the same encoder,
    copy = shutil.copytree(model, tmp_path / "c" / "clip")
    assert mlcmr.index(mine, tmp_path / "copied", model=copy, device="cpu").added == 3
    # and where that cannot be seen any more, who says so is believed, once.
    shutil.rmtree(model)
    with pytest.raises(InvalidValueError, match=r"made by .*a/clip, but"):
        mlcmr.index(mine, index, model=copy, device="cpu")
    assert mlcmr.index(mine, index, model=copy, encoder=copy, device="cpu").added == 3
    assert mlcmr.index(mine, index, device="cpu").unchanged == 3
    assert read_info(index).encoder == str(copy)
    best = Searcher(index, device="cpu").search_file(pictures / "two.png", k=1)[0]
    assert best.score == pytest.approx(1, abs=1e-4)


def test_a_second_collection_s_features_are_of_the_same_encoder_as_the_first_s(pictures, tmp_path):
    """Also where the run no longer knows which that is."""
    first, second = write_clip(tmp_path / "a" / "clip"), write_clip(tmp_path / "b" / "clip", seed=5)
    extract(pictures, tmp_path / "mine", encoder=first, device="cpu")
    write_collection(tmp_path)
    blocks = [([f"{video_name(*scene)}_0"], np.ones((1, 24), np.float32)) for scene in SCENES]
    write_features(tmp_path / "tiny" / "FeatureData" / "clip", blocks)
    run = train(tiny_config(tmp_path, tmp_path / "run", feature="clip", epochs=1)).folder
    mlcmr.index(tmp_path / "mine", tmp_path / "index", run=run, device="cpu")
    (pictures / "one.png").rename(pictures / "four.png")
    extract(pictures, tmp_path / "more", encoder=second, device="cpu")
    with pytest.raises(
        InvalidValueError, match=r"made by .*b/clip, but .*run takes the features of .*a/clip"
    ):
        mlcmr.index(tmp_path / "more", tmp_path / "index", device="cpu")
