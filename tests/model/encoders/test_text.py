"""Texts in groups of like length, and any encoder."""

import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from mlcmr.data.batches import TokenBatch
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError
from mlcmr.losses.mlcmr import MLCMRLoss
from mlcmr.model import hub
from mlcmr.model.config import NewEncoder, TextConfig
from mlcmr.model.encoders import text
from mlcmr.model.encoders.scratch import new_encoder
from mlcmr.model.encoders.text import TextEncoder, group_bounds, pretrained_encoder, transformer_layers
from mlcmr.model.mlcmr import MLCMR
from tests.helpers.small_models import (
    CHINESE,
    ENCODERS,
    TEXTS,
    assert_equal_models,
    encoder_model,
    files,
    make_model,
    pair_batch,
    write_encoder,
)

# ─── grouping by length ──────────────────────────────────────────────────────────────────────────────────


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9).map(sorted), cost=st.integers(0, 40))
def test_groups_cost_least(lengths, cost):
    """Against every way to cut."""

    def total(bounds: list[int]) -> int:
        return sum((stop - start) * lengths[stop - 1] + cost for start, stop in pairwise(bounds))

    found = group_bounds(lengths, cost)
    assert found[0] == 0
    assert found[-1] == len(lengths)
    assert found == sorted(set(found))
    inner = range(1, len(lengths))
    every = ([0, *cuts, len(lengths)] for count in range(len(lengths)) for cuts in combinations(inner, count))
    assert total(found) == min(map(total, every))


def test_grouping_changes_nothing(monkeypatch):
    """Embeddings and gradients of one group, of many, and of what is chosen."""
    model = make_model().double()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    tokens = model.text_encoder.tokenize([*TEXTS, *CHINESE], ["en"] * len(TEXTS) + ["zh"] * len(CHINESE))
    batch = TokenBatch.of(tokens)
    found = []
    for cost in (0, 40, 10**9):
        monkeypatch.setattr(text, "_GROUP_COST", {"cpu": cost, "cuda": cost})
        model.zero_grad()
        features = model.text_encoder(batch)
        features.square().sum().backward()
        found.append([features.detach(), *(p.grad.clone() for p in model.text_encoder.parameters())])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


# ─── encoders ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ENCODERS)
def test_any_encoder(name, videos, tmp_path):
    """By folder: alone = together, long texts are cut, the last layers train, files are read back."""
    model = encoder_model(write_encoder(tmp_path / "encoder", ENCODERS[name]))
    alone = torch.cat([model.encode_texts([one], "en") for one in TEXTS])
    torch.testing.assert_close(alone, model.encode_texts(TEXTS, "en"), rtol=0, atol=1e-6)
    assert model.encode_texts(["dog " * 200], "en").isfinite().all()
    trained = [
        parameter.requires_grad
        for parameter in transformer_layers(model.text_encoder.transformer).parameters()
    ]
    assert trained == sorted(trained)
    assert 0 < sum(trained) < len(trained)
    torch.stack(list(MLCMRLoss()(model.train()(pair_batch(model, 4))).values())).sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.text_encoder.parameters())
    model.eval().save_pretrained(tmp_path / "model")
    assert_equal_models(model, MLCMR.from_pretrained(tmp_path / "model"), videos)


def test_encoders_are_opened_in_single_precision(tmp_path):
    """Whatever they were stored in."""
    model = encoder_model(write_encoder(tmp_path / "encoder", ENCODERS["bert"], torch.float16))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    model.save_pretrained(tmp_path / "model")
    opened = MLCMR.from_pretrained(tmp_path / "model")
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}


def test_too_many_trained_layers(tmp_path):
    folder = write_encoder(tmp_path, ENCODERS["bert"])
    with pytest.raises(
        InvalidValueError, match=r"has 3 layers, but trained_layers is 6: .*trained_layers` to 3 or less"
    ):
        encoder_model(folder, trained_layers=6)
    encoder_model(folder, trained_layers=3)


def test_encoder_without_masked_words(tmp_path):
    folder = write_encoder(tmp_path, ENCODERS["bert"], mask=False)
    with pytest.raises(
        InvalidValueError, match=r"has no mask token, which masked views need: choose an encoder"
    ):
        encoder_model(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", r"'\.': not a Hugging Face encoder, by hub id or folder"),
        ("a/b/c", r"'a/b/c': no such folder; name another with `model\.text\.encoder`"),
        ("./encoder", r"'\./encoder': no such folder"),
        ("~/no-such-encoder", "'~/no-such-encoder': no such folder"),
        ("/no-such-encoder", "'/no-such-encoder': no such folder"),
        ("my encoder", "'my encoder': no such folder, and no such model on the hub"),
        (
            "nobody/no-such-encoder",
            r"cannot be downloaded: no connection to the hub; name .* with `model\.text\.encoder`, or",
        ),
    ],
)
def test_no_such_encoder(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MlcmrError, match=message):
        pretrained_encoder(TextConfig(encoder=name))


def test_an_encoder_that_the_hub_has(monkeypatch):
    """The hub is asked once, and not for what its cache has."""
    answers = iter(
        [None, RepositoryNotFoundError("404", response=Mock()), HfHubHTTPError("503", response=Mock())]
    )

    def model_info(_, name: str, revision: None, timeout: float) -> None:
        if answer := next(answers):
            raise answer

    monkeypatch.setattr(hub.HfApi, "model_info", model_info)
    assert hub.find_model("some/encoder", "encoder") == "some/encoder"
    with pytest.raises(NotFoundError, match="no such model on the hub; name another with `encoder`"):
        hub.find_model("some/encoder", "encoder")
    assert hub.find_model("some/encoder", "encoder") == "some/encoder"  # the download will say what is wrong
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: "/cache/config.json")
    assert hub.find_model("some/encoder", "encoder") == "some/encoder"
    assert next(answers, None) is None


def test_opening_an_encoder_is_silent(tmp_path, capfd):
    """No progress bars are shown without a terminal; the setting of transformers is restored afterwards."""
    folder = write_encoder(tmp_path, ENCODERS["bert"])
    capfd.readouterr()
    logging.enable_progress_bar()
    pretrained_encoder(TextConfig(encoder=str(folder)))
    assert capfd.readouterr().err == ""
    assert logging.is_progress_bar_enabled()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b"x" * 1000])
@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
def test_damaged_encoder(tmp_path, name, content):
    folder = write_encoder(tmp_path / "encoder", ENCODERS["bert"])
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    if name == "tokenizer_config.json" and content in {None, b"{}"}:
        encoder_model(folder)  # does without
        return
    with pytest.raises(
        CorruptFileError, match=r"not a Hugging Face encoder|has no mask token|config\.json: "
    ) as caught:
        encoder_model(folder)
    assert "\n" not in str(caught.value)


def test_lowercase(tmp_path):
    """On, off, and as the tokenizer has it; also when read back."""
    plain = write_encoder(tmp_path / "plain", ENCODERS["bert"])
    upper, lower = ["A DOG runs", "ÉTÉ"], ["a dog runs", "été"]

    def same(model: MLCMR) -> bool:
        return torch.equal(model.encode_texts(upper, "fr"), model.encode_texts(lower, "fr"))

    for lowercase, expected in ((True, True), (False, False), (None, False)):
        model = encoder_model(plain, lowercase=lowercase)
        assert same(model) == expected
        for again in ("once", "twice"):
            model.save_pretrained(tmp_path / again)
            model = MLCMR.from_pretrained(tmp_path / again)
            assert same(model) == expected
        assert files(tmp_path / "once") == files(tmp_path / "twice")


def test_lowercase_of_bert(reference_data, tmp_path):
    """BERT's own normaliser, which takes accents off with the capitals."""
    name = str(reference_data("data/bert-base-multilingual-cased"))
    tokens = {
        lowercase: text.open_tokenizer(name, lowercase).backend_tokenizer.encode("Été au Café").tokens
        for lowercase in (True, False, None)
    }
    assert "".join(tokens[True]).replace("##", "") == "[CLS]eteaucafe[SEP]"
    assert tokens[False] == tokens[None]
    assert "".join(tokens[False]).replace("##", "") == "[CLS]ÉtéauCafé[SEP]"
    tokenizer = text.open_tokenizer(name, lowercase=True)
    tokenizer.save_pretrained(tmp_path)
    again = text.open_tokenizer(tmp_path, lowercase=True)
    assert again.backend_tokenizer.encode("Été au Café").tokens == tokens[True]


def test_another_normaliser_stays(tmp_path):
    folder = write_encoder(tmp_path, ENCODERS["bert"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("hound", "dog")
    tokenizer.save_pretrained(folder)
    for _ in range(2):
        backend = text.open_tokenizer(folder, lowercase=True).backend_tokenizer
        assert backend.encode("A HOUND runs.").ids == backend.encode("a dog runs.").ids


def test_multilingual_e5():
    folder = Path("~/.cache/mlcmr-models/multilingual-e5-small").expanduser()
    if not folder.is_dir():
        pytest.skip("needs the encoder multilingual-e5-small in ~/.cache/mlcmr-models")
    model = encoder_model(folder, lowercase=None)
    texts = ["Ein Hund läuft.", "一只狗在跑", "Un chien", "dog " * 600]
    alone = torch.cat([model.encode_texts([one], "de") for one in texts])
    torch.testing.assert_close(alone, model.encode_texts(texts, "de"), rtol=0, atol=2e-6)


def write_new_encoder(folder: str) -> None:
    torch.manual_seed(0)
    texts = [f"a {does}ing {who} {who}{does}" for does in ("run", "sleep", "eat") for who in "狗猫马鸟"]
    transformer, tokenizer = new_encoder(NewEncoder(1, 16, 2, 30), texts, lowercase=True)
    transformer.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert len(tokenizer) == 30


def test_new_encoder_is_the_same_in_every_process(tmp_path):
    write_new_encoder(str(tmp_path / "here"))
    program = f"from {__name__} import write_new_encoder as write; import sys; write(sys.argv[1])"
    elsewhere = [sys.executable, "-c", program, str(tmp_path / "elsewhere")]
    subprocess.run(elsewhere, cwd=Path(__file__).parents[3], check=True)
    assert files(tmp_path / "here") == files(tmp_path / "elsewhere")


def test_new_encoder_reads_what_it_learnt():
    transformer, tokenizer = new_encoder(NewEncoder(1, 16, 2, 200), [*TEXTS, *CHINESE], lowercase=True)
    encoder = TextEncoder(transformer, tokenizer, trained_layers="all")
    ids, unknown = encoder.tokenize(["一只狗在跑", "☃"], ["zh", "zh"])
    assert tokenizer.decode(ids).split() == ["[CLS]", *"一只狗在跑", "[SEP]"]
    assert tokenizer.unk_token_id in unknown
    assert encoder.mask_id == tokenizer.mask_token_id
