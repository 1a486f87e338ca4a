"""Checkpoints of the published code are read exactly, and nothing in them is executed."""

import argparse
import json
import os
import pickle
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from mlcmr.cli import main
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError
from mlcmr.model.legacy_checkpoint import SUBMODELS, import_checkpoint, read_legacy_checkpoint
from mlcmr.model.mlcmr import MLCMR
from tests.helpers.golden_model import golden, golden_batch, tiny_tokenizer
from tests.helpers.strangers import compress

ARRAYS = golden()
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    """The folder of the text encoder that the checkpoint was trained from; its own weights are others."""
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(BertConfig(**json.loads(str(ARRAYS["meta/bert_config"])))).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def state_dict(submodel: str) -> "OrderedDict[str, torch.Tensor]":
    prefix = f"sd0/{submodel}/"
    state = OrderedDict(
        (name.removeprefix(prefix), torch.from_numpy(array))
        for name, array in ARRAYS.items()
        if name.startswith(prefix)
    )
    for name, tensor in state.items():
        state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def published(**changes: Any) -> dict[str, Any]:
    """Return the content of `model_best.pth.tar` as the published code saves it."""
    states = [state_dict(submodel) for submodel in SUBMODELS]
    assert any(".pooler." in name for name in states[1])
    states[1]["text_bert.text_bert.embeddings.position_ids"] = torch.arange(64)[None]  # older transformers
    options = argparse.Namespace(**json.loads(str(ARRAYS["meta/opt"])), logger_name="runs", vocab=None)
    content = {"epoch": 7, "model": states, "best_rsum": 405.9, "opt": options, "Eiters": 1234}
    return content | changes


def write(path: Path, content: Any, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def assert_published_embeddings(model: MLCMR) -> None:
    batch = golden_batch(ARRAYS)
    with torch.no_grad():
        for name, videos in (("video", batch.video), ("video_masked", batch.dropped)):
            embeddings = model.video_mapping(model.video_encoder(videos))
            np.testing.assert_allclose(embeddings.numpy(), ARRAYS[f"eval/{name}"], **CLOSE)
        for language, texts in batch.captions.items():
            embeddings = model.text_mapping(model.text_encoder(texts))
            np.testing.assert_allclose(embeddings.numpy(), ARRAYS[f"eval/{language}"], **CLOSE)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_embeddings_are_the_published_ones(encoder, tmp_path, zipped):
    model = read_legacy_checkpoint(
        write(tmp_path / "model_best.pth.tar", published(), zipped=zipped), encoder
    )
    assert not model.training
    assert model.config.padding == "published"
    assert model.config.video.windows == (2, 3, 4, 5)
    assert model.config.text.trained_layers == 2
    assert_published_embeddings(model)
    model.save_pretrained(tmp_path / "model")
    assert_published_embeddings(MLCMR.from_pretrained(tmp_path / "model"))


def test_options_decide(encoder, tmp_path):
    options = published()["opt"]
    options.gru_pool, options.visual_kernel_sizes, options.dropout = "max", "2-3-4-5", 0.3
    model = read_legacy_checkpoint(write(tmp_path / "checkpoint", published(opt=options)), encoder)
    assert model.config.video.gru_pool == "max"
    assert model.config.video.windows == (2, 3, 4, 5)
    assert model.config.dropout == model.config.video.dropout == 0.3
    features = model.video_encoder(golden_batch(ARRAYS).video)
    np.testing.assert_allclose(features.detach().numpy(), ARRAYS["eval/video_feat_grumax"], rtol=0, atol=1e-4)


def test_score_as_a_numpy_number(encoder, tmp_path):
    for score in (np.float64(405.9), 405.9, 0):
        assert read_legacy_checkpoint(write(tmp_path / "checkpoint", published(best_rsum=score)), encoder)


def test_command(encoder, tmp_path, capsys):
    checkpoint = write(tmp_path / "model_best.pth.tar", published())
    words = ["import-checkpoint", str(checkpoint), "--to", str(tmp_path / "model"), "--encoder", encoder]
    assert main(words) == 0
    assert capsys.readouterr().out == f"model: {tmp_path / 'model'}\n"
    assert_published_embeddings(MLCMR.from_pretrained(tmp_path / "model"))


def test_another_model_stays(encoder, tmp_path):
    checkpoint = write(tmp_path / "model_best.pth.tar", published())
    import_checkpoint(checkpoint, tmp_path / "model", encoder)
    before = {path: path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()}
    with pytest.raises(
        InvalidValueError, match=f"{tmp_path / 'model'}: exists already; remove it or name another"
    ):
        import_checkpoint(checkpoint, tmp_path / "model", encoder)
    assert {path: path.read_bytes() for path in before} == before


# ─── what is refused ─────────────────────────────────────────────────────────────────────────────────────


class Calls:
    """Unpickling it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Plain:
    """An object of a class that is not ours to build."""

    value = 1


def attacks(marker: Path) -> dict[str, Any]:
    touch = f"touch {marker}"
    objects = np.empty(1, dtype=object)
    objects[0] = Calls(os.system, touch)
    return {
        "os.system": Calls(os.system, touch),
        "eval": Calls(eval, f"open({str(marker)!r}, 'w')"),
        "open": Calls(open, str(marker), "w"),
        "getattr": Calls(getattr, Calls(__import__, "os"), "system"),
        "nested": [{"deep": (Calls(os.system, touch), 1)}],
        "numpy objects": objects,
        "numpy array": np.zeros(3),
        "partial": Calls(__import__, "this"),
        "class": Plain(),
        "torch.load": Calls(torch.load, str(marker)),
        "path": Path("/"),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("where", ["Eiters", "opt", "model"])
@pytest.mark.parametrize("name", attacks(Path()))
def test_nothing_is_executed(tmp_path, capsys, name, where, zipped):
    marker = tmp_path / "executed"
    attack = attacks(marker)[name]
    if where == "opt":
        attack = argparse.Namespace(**vars(published()["opt"]), extra=attack)
    if where == "model":
        attack = [*published()["model"][:3], OrderedDict(weight=attack)]
    checkpoint = write(tmp_path / "checkpoint", published(**{where: attack}), zipped=zipped)
    assert main(["import-checkpoint", str(checkpoint), "--to", str(tmp_path / "model")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"mlcmr: {checkpoint}: ")
    assert printed.err.count("\n") == 1
    assert "add_safe_globals" not in printed.err
    assert not marker.exists()
    assert not (tmp_path / "model").exists()


def test_a_small_file_does_not_become_large(tmp_path):
    """Its members are compressed, or a tensor repeats one number."""
    checkpoint = write(tmp_path / "checkpoint", published())
    compress(checkpoint)
    with pytest.raises(CorruptFileError, match=r"checkpoint: not a checkpoint: its members are compressed"):
        read_legacy_checkpoint(checkpoint)
    content = published()
    for tensor in (torch.zeros(1).expand(10**6, 10**6), torch.zeros(9, 9).to_sparse()):
        content["model"][2]["mapping.fc1.weight"] = tensor
        with pytest.raises(
            CorruptFileError, match=r"checkpoint: 'mapping\.fc1\.weight' has not the numbers of"
        ):
            read_legacy_checkpoint(write(tmp_path / "checkpoint", content))


def test_the_attacks_are_real(tmp_path):
    """With Python's own unpickling the marker appears: the test above can fail."""
    marker = tmp_path / "executed"
    pickle.loads(pickle.dumps(attacks(marker)["os.system"]))
    assert marker.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bare_pickles(tmp_path, protocol):
    marker = tmp_path / "executed"
    for content in (Calls(os.system, f"touch {marker}"), {"model": 1}, published()):
        (tmp_path / "checkpoint").write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(CorruptFileError):
            read_legacy_checkpoint(tmp_path / "checkpoint")
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"state_dict": {}},
        torch.zeros(3),
        published(model=state_dict("vid_mapping")),
        published(model=[state_dict(submodel) for submodel in SUBMODELS[:3]]),
        published(model=[1, 2, 3, 4]),
        published(model=[OrderedDict()] * 4),
        published(model=[OrderedDict(weight="text")] * 4),
        published(model=[state_dict(submodel) for submodel in SUBMODELS[::-1]]),
        published(opt=vars(published()["opt"])),
        published(opt=argparse.Namespace()),
        published(opt=argparse.Namespace(**vars(published()["opt"]) | {"visual_kernel_sizes": "2-x"})),
        published(opt=argparse.Namespace(**vars(published()["opt"]) | {"visual_rnn_size": 17})),
        published(opt=argparse.Namespace(**vars(published()["opt"]) | {"visual_rnn_size": "big"})),
        published(opt=argparse.Namespace(**vars(published()["opt"]) | {"visual_mapping_layers": []})),
        published(opt=argparse.Namespace(**vars(published()["opt"]) | {"gru_pool": "sum"})),
    ],
)
def test_another_content(encoder, tmp_path, content):
    with pytest.raises(MlcmrError) as caught:
        read_legacy_checkpoint(write(tmp_path / "checkpoint", content), encoder)
    assert "\n" not in str(caught.value)


def test_another_encoder(encoder, tmp_path):
    checkpoint = write(tmp_path / "checkpoint", published())
    config = BertConfig(**json.loads(str(ARRAYS["meta/bert_config"])) | {"num_hidden_layers": 6})
    BertModel(config).save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    with pytest.raises(InvalidValueError, match="has 6 layers, but the weights have 8"):
        read_legacy_checkpoint(checkpoint, str(tmp_path / "encoder"))
    with pytest.raises(CorruptFileError, match="not a Hugging Face encoder"):
        read_legacy_checkpoint(checkpoint, str(tmp_path))


def test_no_checkpoint_at_all(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# A model\n", encoding="utf-8")
    with pytest.raises(CorruptFileError) as caught:
        read_legacy_checkpoint(readme)
    assert str(caught.value) == f"{readme}: not a checkpoint; name the published model_best.pth.tar"


def test_damaged_files(tmp_path):
    whole = write(tmp_path / "whole", published()).read_bytes()
    old = write(tmp_path / "old", published(), zipped=False).read_bytes()
    draw = random.Random(0)
    damaged = [b"", b"\x80", b"PK\x03\x04", b"x" * 100, draw.randbytes(1000)]
    damaged += [b"\x80\x02" + draw.randbytes(1000) for _ in range(20)]
    damaged += [content[: len(content) * part // 4] for content in (whole, old) for part in (1, 2, 3)]
    for content in damaged:
        (tmp_path / "checkpoint").write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"checkpoint: (not a checkpoint|refused)"):
            read_legacy_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(NotFoundError, match=r"none: no such file"):
        read_legacy_checkpoint(tmp_path / "none")
    with pytest.raises(CorruptFileError, match="not a checkpoint"):
        read_legacy_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 3}, "other' has 3 layers, but the weights have 8; "),
        ({"hidden_size": 96, "num_attention_heads": 4}, "other' has token embeddings of shape ("),
        ({"vocab_size": 161}, "other' has token embeddings of shape (161, "),
        (
            {"intermediate_size": 97},
            "other' has weights 'encoder.layer.0.intermediate.dense.weight' of shape (97, ",
        ),
        (
            {"max_position_embeddings": 99},
            "other' has weights 'embeddings.position_embeddings.weight' of shape (99, ",
        ),
    ],
)
def test_another_encoder_is_named_with_what_differs(tmp_path, capsys, change, message):
    config = json.loads(str(ARRAYS["meta/bert_config"])) | change
    BertModel(BertConfig(**config)).save_pretrained(tmp_path / "other")
    tiny_tokenizer().save_pretrained(tmp_path / "other")
    checkpoint = write(tmp_path / "model_best.pth.tar", published())
    words = ["import-checkpoint", checkpoint, "--to", tmp_path / "model", "--encoder", tmp_path / "other"]
    capsys.readouterr()
    assert main(list(map(str, words))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert said.endswith("(--encoder)\n")
    assert not (tmp_path / "model").exists()
