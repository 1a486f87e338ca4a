"""A model survives its files, the hub, and what happens to both."""

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError
from mlcmr.model import checkpoint, hub
from mlcmr.model.config import NewEncoder, TextConfig
from mlcmr.model.encoders.scratch import new_encoder
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.provenance import Provenance
from tests.helpers.fake_hub import FakeHub
from tests.helpers.small_models import (
    assert_equal_models,
    files,
    make_model,
)
from tests.helpers.tiny import SIZE


def test_saved_and_opened(model, videos, tmp_path):
    model.save_pretrained(tmp_path / "model")
    opened = MLCMR.from_pretrained(tmp_path / "model")
    assert_equal_models(model, opened, videos)
    first = files(tmp_path / "model")
    assert set(first) == {
        "README.md",
        "config.json",
        "model.safetensors",
        "text_encoder/config.json",
        "text_encoder/tokenizer.json",
        "text_encoder/tokenizer_config.json",
    }
    opened.save_pretrained(str(tmp_path / "model"))
    again = MLCMR.from_pretrained(tmp_path / "model")
    assert_equal_models(model, again, videos)
    for name in ("config.json", "model.safetensors", "text_encoder/tokenizer.json"):
        assert files(tmp_path / "model")[name] == first[name]


def test_saved_over_another(model, videos, tmp_path):
    other = make_model(
        embedding_size=16, text=TextConfig(new=NewEncoder(2, 16, 2, 200), trained_layers="all")
    )
    other.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert_equal_models(model, MLCMR.from_pretrained(tmp_path), videos)


def test_weights_do_not_outlive_what_they_fit(model, tmp_path, monkeypatch):
    """A second save that dies leaves the first model whole, or no model; never a mixture."""

    def die(*_, **__):
        raise KeyboardInterrupt

    model.save_pretrained(tmp_path)
    before = files(tmp_path)
    monkeypatch.setattr(checkpoint, "save_file", die)
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(tmp_path)
    assert files(tmp_path) == before
    # Equal settings, but other words: the old weights would speak of other tokens.
    torch.manual_seed(0)
    transformer, tokenizer = new_encoder(model.config.text.new, ["other words than before"], lowercase=True)
    with pytest.raises(KeyboardInterrupt):
        MLCMR(model.config, SIZE, transformer, tokenizer).save_pretrained(tmp_path)
    with pytest.raises(NotFoundError, match="not a complete model folder"):
        MLCMR.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b"x" * 1000])
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "text_encoder/config.json",
        "text_encoder/tokenizer.json",
    ],
)
def test_damaged_file(saved, tmp_path, name, content):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(MlcmrError) as caught:
        MLCMR.from_pretrained(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_half_of_the_weights(saved, tmp_path):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match=r"model\.safetensors: damaged"):
        MLCMR.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embedding_size", 16),
        ("embedding_size", "many"),
        ("embedding_size", -1),
        ("padding", "other"),
        ("unknown", 1),
        ("video", None),
    ],
)
def test_foreign_configuration(saved, tmp_path, name, value):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    content = json.loads((folder / "config.json").read_text())
    content["model"][name] = value
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(CorruptFileError, match=str(folder)):
        MLCMR.from_pretrained(folder)


@pytest.mark.parametrize("place", ["text_encoder", ""])
def test_a_file_in_place_of_a_folder(place, tmp_path):
    folder = tmp_path / "model"
    if place:
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            (folder / name).touch()
        (folder / place).touch()
    else:
        folder.touch()
    with pytest.raises(NotFoundError, match=r"config\.json: no such file; this is not a complete model"):
        checkpoint.read_parts(folder)


def test_no_such_model(tmp_path):
    for name, message in (
        (tmp_path / "nothing", f"model '{tmp_path}/nothing': no such folder; name another$"),
        ("a/b/c", "model 'a/b/c': no such folder; name another$"),
        ("my model", "model 'my model': no such folder, and no such model on the hub; name another$"),
        ("nobody/nothing", "cannot be downloaded: no connection to the hub; name a folder that holds it$"),
    ):
        with pytest.raises(NotFoundError, match=message):
            MLCMR.from_pretrained(name)
    with pytest.raises(
        NotFoundError, match=r"config\.json: no such file; this is not a complete model folder"
    ):
        MLCMR.from_pretrained(tmp_path)


def test_folder_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MlcmrError, match="cannot be written"):
        model.save_pretrained(tmp_path / "file")
    with pytest.raises(MlcmrError, match="cannot be written"):
        model.save_pretrained(tmp_path / "file" / "below")


def test_pushed_to_the_hub(model, videos, tmp_path, monkeypatch):
    FakeHub.store = tmp_path
    monkeypatch.setattr(hub, "HfApi", FakeHub)
    assert model.push_to_hub("mine", private=True) == "https://hub/private/mine/commit/1"
    assert_equal_models(model, MLCMR.from_pretrained(tmp_path / "private/mine"), videos)
    with pytest.raises(MlcmrError, match=r"^model 'mine': cannot be uploaded: 401 Unauthorized more$"):
        model.push_to_hub("mine", token="wrong")


def test_a_card_on_the_hub_stays(model, tmp_path, monkeypatch):
    """Somebody may have written the licence there."""
    FakeHub.store = tmp_path
    monkeypatch.setattr(hub, "HfApi", FakeHub)
    model.push_to_hub("mine/model")
    card = tmp_path / "public/mine/model/README.md"
    assert 'from_pretrained("mine/model")' in card.read_text()
    card.write_text("edited")
    model.push_to_hub("mine/model", scores={"R@1": 12.5})
    assert card.read_text() == "edited"


def test_the_model_card(tmp_path):
    """The card has the hub's metadata and a text for people, and names no folder of this machine."""
    known = Provenance(("en", "zh"), "vatex", "clip", str(tmp_path / "encoders/clip"), 2.0)
    made = make_model()
    model = MLCMR(made.config, SIZE, made.text_encoder.transformer, made.text_encoder.tokenizer, known)
    model.save_pretrained(tmp_path / "model", scores={"R@1 (zh)": 36.9, "SumR (zh)": 405.9})
    card = ModelCard.load(tmp_path / "model/README.md")
    assert card.data.library_name == "mlcmr"
    assert card.data.language == ["en", "zh"]
    assert "text-video-retrieval" in card.data.tags
    assert card.data.license is None
    parts = ["English, Chinese", "| trained on | vatex |", "| frame encoder | clip, 2 frames per second |"]
    for part in [*parts, "| R@1 (zh) | 36.9 |", "from_pretrained", "encode_files"]:
        assert part in card.text
    assert str(tmp_path) not in card.content


def test_a_card_that_was_edited_stays(model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_the_provenance_is_kept(tmp_path):
    known = Provenance(("de",), "films", "hues228", "hues228", num_frames=8)
    made = make_model()
    model = MLCMR(made.config, SIZE, made.text_encoder.transformer, made.text_encoder.tokenizer, known)
    model.save_pretrained(tmp_path)
    assert MLCMR.from_pretrained(tmp_path).provenance == known
    # A model of an older version does not say.
    content = json.loads((tmp_path / "config.json").read_text())
    del content["provenance"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert MLCMR.from_pretrained(tmp_path).provenance == Provenance()
    for damaged in ("x", {"languages": "de"}, {"fps": -1}, {"encoder": ""}):
        (tmp_path / "config.json").write_text(json.dumps(content | {"provenance": damaged}))
        with pytest.raises(CorruptFileError, match=r"config\.json: .*provenance"):
            MLCMR.from_pretrained(tmp_path)


def test_opened_from_the_hub(model, saved, videos, monkeypatch):
    asked = []

    def model_info(api, name, revision, timeout):
        asked.append((api.token, name, revision))

    def snapshot_download(*args, dry_run=False, **options):
        asked.append((args, options))
        return [] if dry_run else saved

    monkeypatch.setattr(hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    opened = MLCMR.from_pretrained("people/model", revision="v1", token="secret")
    assert asked == [
        ("secret", "people/model", "v1"),
        (("people/model",), {"revision": "v1", "token": "secret"}),  # the size of what is missing
        (("people/model",), {"revision": "v1", "token": "secret"}),
    ]
    assert_equal_models(model, opened, videos)


def test_a_download_that_fails_is_one_line(monkeypatch):
    def download(*_, **__):
        raise RuntimeError("no room\non the disk")

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: "/cache/config.json")
    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(
        CorruptFileError, match=r"^model 'people/model': cannot be downloaded: no room on the disk$"
    ):
        MLCMR.from_pretrained("people/model")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_hidden_layers", 10_000_000),
        ("num_hidden_layers", 1e300),
        ("num_hidden_layers", "many"),
        ("num_hidden_layers", [1, 2]),
        ("hidden_size", 10**12),
        ("vocab_size", 10**12),
        ("max_position_embeddings", 10**400),
        ("intermediate_size", 10**12),
        ("vocab_size", -(10**12)),
    ],
    ids=range(9),
)
def test_a_configuration_that_no_model_has_is_refused_at_once(saved, tmp_path, name, value):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    path = folder / "text_encoder/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    start = time.monotonic()
    with pytest.raises(MlcmrError) as refused:
        MLCMR.from_pretrained(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "name", ["embedding_size", "gru_size", "filters", "max_frames", "windows", "feature_size"]
)
def test_sizes_that_no_model_has_are_refused_at_once(saved, tmp_path, name):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    content = json.loads((folder / "config.json").read_text())
    for part in (content, content["model"], content["model"]["video"]):
        if name in part:
            part[name] = [10**12] if name == "windows" else 10**12
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(CorruptFileError, match=r"config\.json") as refused:
        MLCMR.from_pretrained(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [0, -1, "many", [], False], ids=repr)
def test_a_tokenizer_without_room_for_a_token_is_refused(saved, tmp_path, value, capfd):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    path = folder / "text_encoder/tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": value}))
    with pytest.raises(CorruptFileError, match=r"model_max_length|not a Hugging Face encoder"):
        MLCMR.from_pretrained(folder)
    assert capfd.readouterr().err == ""
