"""The name of a special token in a text is text, for tokenizers of every kind."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import UnigramTrainer
from transformers import PreTrainedTokenizerFast, SiglipTokenizer, T5Tokenizer

from mlcmr.data.batches import TokenBatch
from mlcmr.model.encoders.scratch import new_encoder
from mlcmr.model.encoders.tokens import TextTokenizer
from mlcmr.model.mlcmr import MLCMR
from tests.helpers.models import CORPUS, clip_tokenizer, siglip_tokenizer, word_pieces
from tests.helpers.tiny import tiny_model
from tests.helpers.translators import pieces

WORDS = ["dog", "a cat", "狗", "runs"]


def unigram(tmp_path) -> PreTrainedTokenizerFast:
    """As XLM-R's: the special tokens are pieces too, and the text is normalised first."""
    del tmp_path
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.train_from_iterator(
        [*CORPUS, "< / > s mask"] * 2,
        UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>"),
    )
    ends = [(name, backend.token_to_id(name)) for name in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    names = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        mask_token=AddedToken("<mask>", lstrip=True),
        extra_special_tokens=["<image>"],
        **{f"{what}_token": name for what, name in names.items()},
    )


def words(tmp_path) -> PreTrainedTokenizerFast:
    del tmp_path
    names = ["[PAD]", "[UNK]", "[MASK]", "dog", "a", "cat", "狗", "runs"]
    backend = Tokenizer(models.WordLevel({name: n for n, name in enumerate(names)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )


def t5(tmp_path) -> T5Tokenizer:
    pieces(tmp_path / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    return T5Tokenizer.from_pretrained(tmp_path)


def slow_siglip(tmp_path) -> SiglipTokenizer:
    pieces(tmp_path / "spiece.model", pad_id=-1, eos_id=1, unk_id=2, bos_id=0)
    return SiglipTokenizer(str(tmp_path / "spiece.model"))


KINDS = {
    "WordPiece": word_pieces,
    "bytes": lambda _: clip_tokenizer(),
    "Unigram": unigram,
    "Unigram of SigLIP": lambda _: siglip_tokenizer(),
    "WordLevel": words,
    "T5": t5,
    "slow": slow_siglip,
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    made = KINDS[request.param](tmp_path_factory.mktemp("tokenizer"))
    assert made.is_fast == (request.param != "slow")
    return made


def special_ids(tokenizer) -> set[int]:
    return set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}


def wide(text: str) -> str:
    """The same in letters of full width, which NFKC makes ordinary."""
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text)


@given(data=st.data())
def test_no_text_makes_a_special_token(tokenizer, data):
    names = [*tokenizer.all_special_tokens, *map(wide, tokenizer.all_special_tokens)]
    names += [name.upper() for name in names]
    part = st.sampled_from([*names, *WORDS, " ", ""])
    text = "".join(data.draw(st.lists(part, max_size=6)))
    tokenize = TextTokenizer(tokenizer)
    special = special_ids(tokenizer)
    bare, ids = tokenize(["", text])
    assert [one for one in ids if one in special] == bare
    # The text around it stays, and the end tokens stay at the ends.
    assert ids[:1] == bare[:1] or bare[:1] == bare[-1:]
    assert ids[len(ids) - 1 :] == bare[-1:] or not special & set(bare)


def test_text_beside_the_name_of_a_special_token_stays(tokenizer):
    tokenize = TextTokenizer(tokenizer)
    special = special_ids(tokenizer)
    for name in set(tokenizer.all_special_tokens) - {tokenizer.unk_token}:
        plain, named = (
            [one for one in ids if one not in special] for ids in tokenize(["dog", f"dog {name}"])
        )
        assert named[: len(plain)] == plain
        if tokenizer.is_fast:  # the slow one takes punctuation away
            assert len(named) > len(plain), name


def test_texts_without_such_names_are_as_ever(tokenizer):
    rows = tokenizer(CORPUS[:20], truncation=False)["input_ids"]
    assert TextTokenizer(tokenizer)(CORPUS[:20]) == rows


def test_long_texts_keep_the_tokens_at_the_end(tokenizer):
    whole = TextTokenizer(tokenizer)(["dog " * 50])[0]
    cut = TextTokenizer(tokenizer, 9)(["dog " * 50])[0]
    ends = [one for one in reversed(whole) if one in special_ids(tokenizer)][:1]
    assert len(cut) == 9
    assert cut[: 9 - len(ends)] == whole[: 9 - len(ends)]
    if whole[-1] in special_ids(tokenizer):
        assert cut[-1] == whole[-1]


@pytest.mark.parametrize("padding", ["masked", "published"])
def test_a_mask_in_a_query(padding):
    """The published code takes `[MASK]` in a caption for the mask; nobody else does."""
    torch.manual_seed(0)
    config = tiny_model(padding=padding)
    transformer, tokenizer = new_encoder(config.text.new, ["a dog runs [ MASK ]"], lowercase=True)
    model = MLCMR(config, 12, transformer, tokenizer)
    ids = model.text_encoder.tokenize(["[MASK] dog", "[SEP]"], ["zh", "zh"])
    marks = {tokenizer.mask_token_id, tokenizer.sep_token_id}
    typed = [bool(marks & set(row[1:-1].tolist())) for row in ids]
    assert typed == [padding == "published"] * 2
    assert model.encode_texts(["[MASK] dog"], "zh").isfinite().all()
    assert len(TokenBatch.of(ids)) == 2


def test_a_text_that_is_too_long_for_a_slow_tokenizer_is_cut_without_a_warning(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("transformers.tokenization_utils_base.logger.warning", said.append)
    tokenizer = slow_siglip(tmp_path)
    tokenizer.model_max_length = 8
    text = "a red circle moves left " * 20
    (ids,) = TextTokenizer(tokenizer, 8)([text])
    assert len(ids) == 8
    assert said == []
    tokenizer(text)
    assert "longer than" in said[0]
