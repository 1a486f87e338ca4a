"""A text before each caption, as some encoders were trained with."""

import torch

from mlcmr.model import MLCMR, TextConfig
from mlcmr.model.encoders.text import CaptionTokenizer
from tests.helpers.small_models import TEXTS, make_model, tiny_tokenizer


def prefixed_model(prefix: str) -> MLCMR:
    new = make_model().config.text.new
    return make_model(text=TextConfig(new=new, trained_layers="all", prefix=prefix))


def test_the_prefix_stands_before_the_cleaned_text():
    """Cleaning would remove its colon."""
    plain, prefixed = (CaptionTokenizer(tiny_tokenizer(), prefix=prefix) for prefix in ("", "dog : "))
    tokenizer = tiny_tokenizer()
    (found,) = prefixed(["A girl, SWIMS!"], ["en"])
    (bare,) = plain(["A girl, SWIMS!"], ["en"])
    before = tokenizer("dog : ", add_special_tokens=False).input_ids
    assert found.tolist() == [bare[0], *before, *bare[1:]]


def test_it_is_saved_with_the_model(tmp_path):
    model, plain = prefixed_model("query: "), prefixed_model("")
    assert not torch.allclose(model.encode_texts(TEXTS, "en"), plain.encode_texts(TEXTS, "en"), atol=1e-3)
    model.save_pretrained(tmp_path)
    opened = MLCMR.from_pretrained(tmp_path)
    assert opened.config.text.prefix == "query: "
    assert torch.equal(opened.encode_texts(TEXTS, "en"), model.encode_texts(TEXTS, "en"))


def test_a_model_saved_before_there_were_prefixes_has_none(tmp_path):
    model = prefixed_model("")
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    content = path.read_text()
    assert ',\n      "prefix": ""' in content
    path.write_text(content.replace(',\n      "prefix": ""', ""))
    assert torch.equal(
        MLCMR.from_pretrained(tmp_path).encode_texts(TEXTS, "en"), model.encode_texts(TEXTS, "en")
    )


def test_a_query_that_the_model_cannot_read_stays_unreadable():
    """The prefix alone is no text."""
    model = prefixed_model("dog ")
    assert not model.can_encode("", "en")
    assert model.can_encode("dog", "en")
