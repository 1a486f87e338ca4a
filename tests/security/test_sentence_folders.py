"""A hostile model of sentence-transformers is refused in one line, before the library reads its folder."""

import json
import shutil
import sys

import pytest
import torch

from mlcmr.errors import CorruptFileError
from mlcmr.extraction.encoders.registry import load_encoder
from mlcmr.model import SentenceTower
from tests.helpers.sentence_models import SentenceTransformer, install, write_sentence_model

USES = [SentenceTower.from_pretrained, load_encoder]
TRANSFORMER = "sentence_transformers.base.modules.Transformer"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model with a second module in a folder of its own; the library must not be called."""
    install(monkeypatch)

    def fail(*_, **__):
        raise AssertionError("the library was called")

    monkeypatch.setattr(sys.modules["sentence_transformers"], "SentenceTransformer", fail)
    folder = write_sentence_model(tmp_path / "omni")
    _write_modules(folder, TRANSFORMER)
    (folder / "1_More").mkdir()
    return folder


def _write_modules(folder, kind):
    first = json.loads((folder / "modules.json").read_text())[0]
    more = {"idx": 1, "name": "1", "path": "1_More", "type": kind}
    (folder / "modules.json").write_text(json.dumps([first, more]))


def _refuse(folder, message):
    for use in USES:
        with pytest.raises(CorruptFileError, match=message) as caught:
            use(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["", "1_More"])
def test_code_of_a_tokenizer(folder, part):
    settings = {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}
    (folder / part / "tokenizer_config.json").write_text(json.dumps(settings))
    _refuse(folder, "asks to run Python code of its own")


@pytest.mark.parametrize("part", ["", "1_More"])
def test_a_tokenizer_that_lengthens_texts(folder, part):
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 100_000}
    (folder / part / "tokenizer.json").write_text(json.dumps({"normalizer": step}))
    _refuse(folder, "makes texts much longer than they are")


@pytest.mark.parametrize("part", ["", "1_More"])
def test_more_layers_than_weights(folder, part):
    settings = {"model_type": "bert", "text_config": {"num_hidden_layers": 10_000_000}}
    (folder / part / "config.json").write_text(json.dumps(settings))
    _refuse(folder, "num_hidden_layers is 10,000,000, but its weights are 1 tensors")


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("config.json", {"_attn_implementation": "evil/kernel"}),
        ("sentence_bert_config.json", {"model_args": {"attn_implementation": "evil/kernel"}}),
        ("config.json", {"transformers_weights": "other.safetensors"}),
    ],
)
def test_settings_that_lead_elsewhere(folder, file, settings):
    (folder / "1_More" / file).write_text(json.dumps(settings))
    _refuse(folder, "names other files")


@pytest.mark.parametrize("kind", ["os.system", "evil.Module", "sentence_transformers_evil.Module", None])
def test_a_module_of_another_package(folder, kind):
    _write_modules(folder, kind)
    _refuse(folder, "is no module of sentence-transformers")


def test_a_module_that_is_much_larger_than_its_weights(folder, monkeypatch):
    """Such as a projection: its sizes stand in settings of its own."""

    def build(*_, **__):
        with torch.device("meta"):
            return torch.nn.Linear(100_000, 100_000)

    monkeypatch.setattr(sys.modules["sentence_transformers"], "SentenceTransformer", build)
    _refuse(folder, "describe a model much larger than its weights")


def test_a_usual_model(folder, monkeypatch):
    """Sizes per layer count no layers, and a module without settings may lack its folder."""
    monkeypatch.setattr(sys.modules["sentence_transformers"], "SentenceTransformer", SentenceTransformer)
    settings = {"model_type": "embedding_gemma2", "num_hidden_layers": 1, "hidden_size_per_layer_input": 512}
    settings |= {"vocab_size_per_layer_input": 262_144}
    (folder / "config.json").write_text(json.dumps(settings))
    shutil.rmtree(folder / "1_More")
    assert SentenceTower.from_pretrained(folder).feature_size == 24
