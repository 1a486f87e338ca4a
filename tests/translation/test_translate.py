"""Translation with real architectures, and the files that pseudo-parallel training reads."""

import json
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BartConfig, BartForConditionalGeneration

from mlcmr.cli import main
from mlcmr.data.captions import read_captions, write_captions
from mlcmr.data.check import check
from mlcmr.errors import CorruptFileError, InUseError, InvalidValueError, MlcmrError, NotFoundError
from mlcmr.evaluation import evaluate
from mlcmr.training import train
from mlcmr.translation import Translator, translate
from tests.helpers.processes import run, start
from tests.helpers.progress import RecordedProgress
from tests.helpers.strangers import edit_json
from tests.helpers.tiny import tiny_config, write_collection
from tests.helpers.translators import MODELS, SENTENCES, make, targets


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Makes models, each once: with random weights, or taught."""
    made: dict[tuple[str, int], str] = {}

    def get(kind: str, steps: int = 0) -> str:
        if (kind, steps) not in made:
            folder = tmp_path_factory.mktemp("models") / f"{kind.replace(' ', '-')}-{steps}"
            made[kind, steps] = str(make(kind, folder, steps=steps))
        return made[kind, steps]

    return get


@pytest.fixture
def collection(tmp_path):
    """The tiny collection without any translations."""
    folder = write_collection(tmp_path)
    for path in (folder / "TextData").glob("*google*"):
        path.unlink()
    return folder


# ─── models ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_each_family_translates_what_it_was_taught(kind, model):
    """Only who gives prefix, language codes and first token as in training gets these sentences."""
    for target in targets(kind):
        for beams in (1, 4):
            translator = Translator(model(kind, 300), "en", target, beams=beams)
            assert translator(SENTENCES["en"]) == SENTENCES[target]


def test_alone_as_together(model):
    translator = Translator(model("nllb", 300), "en", "de")
    assert [translator([text])[0] for text in SENTENCES["en"]] == translator(SENTENCES["en"])


@pytest.mark.parametrize(
    ("kind", "code", "german"),
    [
        ("nllb", "deu_Latn", True),
        ("m2m100", "de", True),
        ("mbart50", "de_DE", True),
        ("multilingual marian", "deu", True),
        ("multilingual marian", ">>deu<<", True),
        ("t5", "German", True),
        ("madlad", "de", True),
        ("nllb", "zho_Hans", False),
    ],
)
def test_a_code_goes_before_the_one_that_is_found(kind, code, german, model):
    translator = Translator(model(kind, 300), "en", "hsb", target_code=code)
    assert translator(SENTENCES["en"]) == SENTENCES["de" if german else "zh"]


@pytest.mark.parametrize(
    ("kind", "source", "target", "codes", "message"),
    [
        (
            "nllb",
            "en",
            "hsb",
            {},
            "no code for 'hsb' is known; choose a `target_code` among ace_Arab, .*zul_Latn",
        ),
        ("m2m100", "hsb", "en", {}, "no code for 'hsb' is known; choose a `source_code` among .*zh"),
        (
            "mbart50",
            "en",
            "zh",
            {"target_code": "zh"},
            "`target_code` zh: the model has no such code; .*zh_CN",
        ),
        ("multilingual marian", "en", "fr", {}, "choose a `target_code` among cmn_Hans, deu$"),
        ("marian", "en", "zh", {"target_code": "zh"}, "`target_code` zh: this Marian model has no codes"),
        ("multilingual marian", "en", "zh", {"source_code": "en"}, "`source_code` en: this Marian model"),
        ("t5", "en", "qaa", {}, "'qaa': no English name of this language is known"),
        ("madlad", "en", "fr", {}, "choose a `target_code` among de, zh$"),
    ],
)
def test_languages_that_a_model_does_not_have(kind, source, target, codes, message, model):
    with pytest.raises(InvalidValueError, match=message):
        Translator(model(kind), source, target, **codes)


@pytest.mark.parametrize(
    ("language", "code"),
    [("zh", "zho_Hans"), ("ar", "arb_Arab"), ("fa", "pes_Arab"), ("de", "deu_Latn"), ("sw", "swh_Latn"),
     ("no", "nob_Latn"), ("hi", "hin_Deva"), ("yue", "yue_Hant"), ("et", "est_Latn")],
)  # fmt: skip
def test_codes_of_nllb(language, code, model):
    assert Translator(model("nllb"), "en", language).direction.target_code == code


def test_models_that_do_not_translate(tmp_path, model):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorruptFileError, match=r"empty': no Hugging Face translation model"):
        Translator(str(tmp_path / "empty"), "en", "zh")
    small = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 50}
    small |= dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    bart = BartForConditionalGeneration(BartConfig(**small, encoder_ffn_dim=8, decoder_ffn_dim=8))
    folder = make("t5", tmp_path / "bart")
    bart.save_pretrained(folder)
    with pytest.raises(
        InvalidValueError, match="is of type 'bart', expected Marian, M2M100 or NLLB, NLLB-MoE, mBART"
    ):
        Translator(str(folder), "en", "zh")
    with pytest.raises(InvalidValueError, match=r"device.* nonsense: not on this machine"):
        Translator(model("t5"), "en", "zh", device="nonsense")
    with pytest.raises(InvalidValueError, match="expected 1 or more"):
        Translator(model("t5"), "en", "zh", beams=0)


def test_a_model_of_the_hub_without_a_connection(collection, monkeypatch, capsys):
    asked = []

    def model_info(_, name, revision, timeout):
        asked.append(name)
        raise ConnectionError

    monkeypatch.setattr("mlcmr.model.hub.HfApi.model_info", model_info)
    command = ["translate", str(collection), "--from", "en", "--to", "zh", "--model", "nobody/no-such-model"]
    assert main(command) == 2
    message = (
        "model 'nobody/no-such-model': no such folder, and cannot be downloaded: no connection to the hub; "
    )
    assert message + "name a folder that holds it with --model\n" in capsys.readouterr().err
    assert asked == ["nobody/no-such-model"]
    with pytest.raises(NotFoundError, match=r"model '\./none': no such folder; name another with `model`"):
        Translator("./none", "en", "zh")


def test_without_sentencepiece(model):
    code = f"""
import sys
from contextlib import nullcontext
sys.modules["sentencepiece"] = None
from mlcmr.cli import main
from mlcmr.errors import MlcmrError
from mlcmr.translation.translator import Translator
try:
    Translator({model("marian")!r}, "en", "zh")
except MlcmrError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mlcmr[translate]'" in done.stdout
    assert done.stdout.count("\n") == 1


# ─── a collection ────────────────────────────────────────────────────────────────────────────────────────


def test_every_split_is_translated_and_checked(collection, model):
    summary = translate(collection, from_="en", to="zh", model=model("marian"), batch_size=7, longest=12)
    files = summary.files
    assert json.loads(json.dumps(summary.to_dict())) == summary.to_dict()
    assert str(summary) == "\n".join(map(str, files))
    assert [file.path.name for file in files] == [
        f"tiny{split}_marian-0_enc2zh.caption.txt" for split in ("train", "val", "test")
    ]
    for split, file in zip(("train", "val", "test"), files, strict=True):
        original = read_captions(collection / "TextData" / f"tiny{split}.caption.txt")
        translated = read_captions(file.path)
        assert translated.keys == original.keys
        assert set(translated.languages) == {"zh"}
        assert file.captions == len(original)
    assert check(collection).problems == []
    assert not list((collection / "TextData").glob(".*"))


def test_captions_get_their_own_translations(tmp_path, model):
    """Sorted by length, in batches, texts repeated and blank: each id still gets its own."""
    texts = [*SENTENCES["en"], "a dog runs", " ", *reversed(SENTENCES["en"])]
    path = tmp_path / "mine" / "TextData" / "minetest.caption.txt"
    write_captions(path, [(f"v{i}.mp4#enc#{i}", text) for i, text in enumerate(texts)])
    (file,) = translate(
        tmp_path / "mine", from_="English", to="de", model=model("m2m100", 300), batch_size=2
    ).files
    translation_of = dict(zip(SENTENCES["en"], SENTENCES["de"], strict=True)) | {" ": ""}
    translated = read_captions(file.path)
    assert translated.ids == [f"v{i}#enc2de#{i}" for i in range(len(texts))]
    assert translated.texts == [translation_of[text] for text in texts]


def test_the_original_stands_for_a_blank_translation(collection, tmp_path, model):
    folder = make("marian", tmp_path / "silent")
    silent = AutoModelForSeq2SeqLM.from_pretrained(folder)
    silent.final_logits_bias[0, 0] = 1e4  # nothing but the end
    silent.save_pretrained(folder)
    (file,) = translate(collection, from_="en", to="zh", model=str(folder), split=["val"]).files
    original = read_captions(collection / "TextData" / "tinyval.caption.txt")
    assert file.blank == file.captions == len(original)
    assert read_captions(file.path).texts == original.texts
    assert "came back blank" in str(file)


def test_what_is_there_is_left_alone(collection, model):
    options = {"from_": "zh", "to": "en", "model": model("t5"), "longest": 4, "engine": "mine"}
    translate(collection, **options, split=["val"])
    path = collection / "TextData" / "tinyval_mine_zhc2en.caption.txt"
    before = path.stat().st_ino, path.stat().st_mtime_ns
    files = translate(collection, **options).files
    assert [file.is_new for file in files] == [True, False, True]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    write_captions(path, [("other#zhc2en#0", "x")])
    with pytest.raises(
        CorruptFileError, match=r"has translations of other captions than tinyval_zh.caption.txt"
    ):
        translate(collection, **options)


def test_a_renamed_collection_is_named(collection, model):
    renamed = collection.rename(collection.with_name("mine"))
    with pytest.raises(NotFoundError, match=r"no captions in 'en'; the caption files begin with 'tiny'"):
        translate(renamed, from_="en", to="zh", model=model("t5"))


def test_bad_requests(collection, model):
    def attempt(**changes):
        translate(collection, **{"from_": "en", "to": "zh", "model": model("t5"), **changes})

    with pytest.raises(InvalidValueError, match="`from_` en, `to` en: nothing to translate"):
        attempt(to="English")
    with pytest.raises(NotFoundError, match=r"no captions in 'fr'"):
        attempt(from_="fr")
    with pytest.raises(NotFoundError, match=r"tinydev.caption.txt: no such file"):
        attempt(split=["dev"])
    with pytest.raises(InvalidValueError, match="`engine` 'a/b'") as caught:
        attempt(engine="a/b")
    assert caught.value.parameter == "engine"
    with pytest.raises(InvalidValueError, match="`batch_size` 0") as caught:
        attempt(batch_size=0)
    assert caught.value.parameter == "batch_size"
    assert not list((collection / "TextData").glob(".*"))


def test_captions_are_found_by_a_code_that_is_a_country_s_too(collection, model):
    def attempt():
        return translate(
            collection, from_="br", to="en", model=model("m2m100"), source_code="de", split=["val"]
        ).files

    with pytest.raises(InvalidValueError, match="'br' is the code of Breton and of Brazil"):
        attempt()
    chinese = collection / "TextData" / "tinyval_zh.caption.txt"
    breton = chinese.with_name("tinyval_br.caption.txt")
    breton.write_text(chinese.read_text().replace("#zh#", "#br#"))
    (file,) = attempt()
    assert file.path.name == f"tinyval_{Path(model('m2m100')).name}_brc2en.caption.txt"
    assert file.captions == len(breton.read_text().splitlines())


@pytest.mark.parametrize("suffix", ["half", "google_enc2zh"])
def test_other_captions_than_those_of_a_language_are_no_language(collection, model, suffix):
    text = collection / "TextData" / "tinytrain.caption.txt"
    text.with_name(f"tinytrain_{suffix}.caption.txt").write_text(text.read_text())
    with pytest.raises(InvalidValueError, match=f"'{suffix}' is no language"):
        translate(collection, from_=suffix, to="zh", model=model("marian"), split=["train"])


# ─── stopped and started ─────────────────────────────────────────────────────────────────────────────────


def words(collection, model, split="train"):
    options = ["--from", "en", "--to", "zh", "--split", split, "--batch-size", "1", "--longest", "30"]
    return [
        "translate",
        collection,
        *options,
        "--model",
        model("m2m100"),
        "--engine",
        "mine",
        "--device",
        "cpu",
    ]


@pytest.mark.slow
def test_killed_is_as_good_as_left_alone(collection, tmp_path, model):
    target = collection / "TextData" / "tinytrain_mine_enc2zh.caption.txt"
    journal = target.with_name(f".{target.name}.journal")
    assert run(words(collection, model), tmp_path / "log").wait() == 0
    undisturbed = target.read_bytes()
    target.unlink()
    draw = random.Random(0)

    def length() -> int:
        return journal.stat().st_size if journal.exists() else 0

    kills = 0
    for _ in range(3):
        command = start(words(collection, model), tmp_path / "log")
        wanted = length() + draw.randrange(1, 900)
        before = journal.read_bytes() if journal.exists() else b""
        if not command.wait_until(lambda wanted=wanted: length() >= wanted):
            break
        command.kill()
        kills += 1
        whole = before[: before.rfind(b"\n") + 1]
        assert target.exists() or journal.read_bytes().startswith(whole)  # nothing is done twice
    assert kills >= 2
    assert run(words(collection, model), tmp_path / "log").wait() == 0
    assert target.read_bytes() == undisturbed
    assert not journal.exists()


def test_a_line_that_was_being_written_is_dropped(collection, model, monkeypatch):
    options = {"from_": "en", "to": "zh", "model": model("m2m100"), "batch_size": 3, "longest": 8}
    (whole,) = translate(collection, **options, split=["val"], engine="whole").files
    calls = []
    original = Translator.__call__

    def third_fails(self, texts):
        calls.append(texts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "__call__", third_fails)
        with pytest.raises(KeyboardInterrupt):
            translate(collection, **options, split=["val"], engine="torn")
        (journal,) = (collection / "TextData").glob(".*.journal")
        with journal.open("ab") as file:
            file.write('["一只'.encode()[:-1])
        progress = RecordedProgress()
        (torn,) = translate(collection, **options, split=["val"], engine="torn", progress=progress).files
    assert progress.tasks == [(torn.path.name, 6, 12)]
    assert len(calls) == 3 + 4 - 2  # 12 captions in batches of 3: the two that were done are not done again
    assert torn.path.read_bytes() == whole.path.read_bytes()


def test_a_journal_of_other_settings_or_in_use_or_damaged(collection, model, monkeypatch):
    options = {"from_": "en", "to": "zh", "model": model("m2m100"), "longest": 8, "split": ["val"]}

    def interrupted(self, texts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            translate(collection, **options)
    (journal,) = (collection / "TextData").glob(".*.journal")
    with pytest.raises(InvalidValueError, match=r"was started with other settings \(beams: 4, now 2\)"):
        translate(collection, **options, beams=2)
    text = collection / "TextData" / "tinyval.caption.txt"
    captions_before = text.read_bytes()
    text.write_bytes(captions_before.replace(b"A ", b"One ", 1))
    with pytest.raises(InvalidValueError, match=r"was started with other settings \(captions: "):
        translate(collection, **options)
    text.write_bytes(captions_before)
    hold = f"""
import fcntl
file = open({str(journal)!r}, "ab")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", hold], **pipes)
    try:
        holder.stdout.readline()
        with pytest.raises(InUseError, match="another process translates this"):
            translate(collection, **options)
    finally:
        holder.communicate(b"\n")
    whole = journal.read_bytes()
    for damaged in (b"nonsense\n", b"[]\n", whole + b"{}\n", whole + b'["a"]\n' * 999, whole + b"[5]\n"):
        journal.write_bytes(damaged)
        with pytest.raises(CorruptFileError, match=r"\.journal:.*; remove it to start again$"):
            translate(collection, **options)
    journal.unlink()
    assert translate(collection, **options).files[0].is_new


def test_nothing_but_the_files_is_told_where_nobody_watches(collection, model, capfd):
    folder = str(model("nllb"))
    capfd.readouterr()
    words = ["translate", str(collection), "--from", "en", "--to", "zh", "--model", folder, "--split", "val"]
    assert main([*words, "--longest", "4"]) == 0
    out, err = capfd.readouterr()
    assert (out.count("\n"), err) == (1, "")


def test_a_journal_that_cannot_be_written(collection, model, monkeypatch):
    options = {"from_": "en", "to": "zh", "model": model("t5"), "longest": 4, "split": ["val"]}
    original = Translator.__call__

    def unreadable(self, texts):
        raise FileNotFoundError(2, "No such file or directory", "model.safetensors")

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "__call__", unreadable)
        with pytest.raises(FileNotFoundError, match=r"model.safetensors"):  # the journal is not at fault
            translate(collection, **options)

    def filled(self, texts):
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 1, limits[1]))
        return original(self, texts)

    (journal,) = (collection / "TextData").glob(".*.journal")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = journal.read_bytes()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Translator, "__call__", filled)
            with pytest.raises(MlcmrError, match=r"\.journal: cannot be written: File too large"):
                translate(collection, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert journal.read_bytes().startswith(before)
    journal.unlink()
    journal.mkdir()
    with pytest.raises(MlcmrError, match=r"\.journal: cannot be written: Is a directory"):
        translate(collection, **options)
    journal.rmdir()
    assert translate(collection, **options).files[0].is_new


# ─── what it is for ──────────────────────────────────────────────────────────────────────────────────────


def test_pseudo_parallel_training_with_a_new_engine(collection, tmp_path, model, capsys):
    for one, other in (("en", "zh"), ("zh", "en")):
        languages = ["--from", one, "--to", other, "--longest", "12"]
        command = [
            "translate",
            str(collection),
            *languages,
            "--model",
            model("nllb", 300),
            "--engine",
            "my-nllb",
        ]
        assert main(command) == 0
    assert "tinytrain_my-nllb_enc2zh.caption.txt: 48 captions" in capsys.readouterr().out
    config = tiny_config(
        tmp_path, tmp_path / "run", scenario="pseudo-parallel", target="zh", engine="my-nllb", epochs=1
    )
    train(config)
    losses = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert {"en→v", "zh→v"} <= losses.keys()
    results = evaluate(tmp_path / "run", targets=["zh"], split="test", device="cpu")
    assert results["zh"].fused is not None  # the queries were fused with their translations


# ─── directions ──────────────────────────────────────────────────────────────────────────────────────────


def turned(kind, folder, name="model", **settings):
    """A model whose files say what it was trained for."""
    made = make(kind, folder / name)
    for key, value in settings.items():
        file = "tokenizer_config.json" if key.endswith("_lang") else "config.json"
        edit_json(made / file, **{key: value})
    return str(made)


@pytest.mark.parametrize(
    ("kind", "settings", "taken", "refused"),
    [
        ("marian", {"source_lang": "en", "target_lang": "de"}, "en de", ["de en", "en zh", "fr de"]),
        ("marian", {"source_lang": "eng", "target_lang": "zho"}, "en zh", ["en de", "zh en"]),
        ("marian", {"source_lang": "en", "target_lang": "ZH"}, "en zh", ["en de"]),
        ("marian", {"source_lang": "mul", "target_lang": "en"}, "de en", ["de zh"]),
        ("marian", {"source_lang": "hsb", "target_lang": "de"}, "hsb de", ["en de"]),
        ("marian", {"name": "opus-mt-en-de"}, "en de", ["de en", "en zh"]),
        ("marian", {"name": "opus-mt-tc-big-zls-en"}, "hr en", ["en hr"]),
        ("marian", {"source_lang": "arb", "target_lang": "swh"}, "ar sw", ["sw ar"]),
        ("marian", {"name": "opus-mt-no-de"}, "no de", ["de no", "en de"]),
        ("marian", {"name": "opus-mt-de-no"}, "de nb", ["de en"]),
        ("marian", {"name": "opus-mt-en-tl"}, "en tl", ["tl en"]),
        ("marian", {"name": "opus-mt-de_en-fi"}, "en fi", ["fi en", "zh fi"]),
        ("marian", {"name": "opus-mt-en-pt_br"}, "en pt", ["en de"]),
        ("marian", {"source_lang": "de_DE", "target_lang": "nb_NO"}, "de nb", ["nb de"]),
        ("marian", {}, "en zh", []),  # nothing tells
        ("multilingual marian", {"source_lang": "en", "target_lang": "roa"}, "en zh", ["de zh"]),
        ("multilingual marian", {"source_lang": "ROMANCE", "target_lang": "de"}, "fr zh", []),
        ("mbart50", {"forced_bos_token_id": "en_XX"}, "de en", ["en de"]),
        ("mbart50", {"decoder_start_token_id": "ro_RO"}, "en ro", ["en de", "ro en"]),
        ("mbart50", {"name": "mbart-large-50-one-to-many-mmt"}, "en de", ["de en"]),
        ("mbart50", {"name": "mbart-large-50-many-to-one-mmt"}, "de en", ["en de", "de zh"]),
        ("mbart50", {"name": "mbart-large-50-many-to-many-mmt"}, "de zh", []),
        ("nllb", {"forced_bos_token_id": "deu_Latn"}, "en de", ["en zh"]),
        ("nllb", {}, "de zh", []),
        ("m2m100", {}, "de zh", []),
    ],
)
def test_a_model_trained_for_one_direction_refuses_others(
    kind, settings, taken, refused, tmp_path, monkeypatch
):
    name = settings.get("name", "model")
    rest = {key: value for key, value in settings.items() if key != "name"}
    for key, value in rest.items():
        if key.endswith("_token_id"):
            tokenizer = AutoTokenizer.from_pretrained(make(kind, tmp_path / "first"))
            rest[key] = tokenizer.convert_tokens_to_ids(value)
    model = turned(kind, tmp_path, name, **rest)
    assert Translator(model, *taken.split())(["a dog"])
    # Before the weights are read.
    monkeypatch.setattr(AutoModelForSeq2SeqLM, "from_pretrained", None)
    for direction in refused:
        source, target = direction.split()
        with pytest.raises(InvalidValueError) as caught:
            Translator(model, source, target)
        assert f"model '{model}' translates " in str(caught.value)
        assert " only, not " in str(caught.value)


def test_another_direction_is_one_line_before_any_work(collection, tmp_path, capfd):
    model = turned("marian", tmp_path, source_lang="en", target_lang="de")
    capfd.readouterr()
    assert main(["translate", str(collection), "--from", "en", "--to", "zh", "--model", model]) == 2
    said = capfd.readouterr().err.strip()
    assert said == (
        f"mlcmr: model '{model}' translates into 'de' only, not into 'zh'; choose another --model"
    )
    assert not list((collection / "TextData").glob("*enc2zh*"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mine", True),
        ("opus-mt-en-zh", False),
        ("opus-mt-mul-zh", False),
        ("opus-mt-ROMANCE-zh", True),
        ("opus-mt-gem-zh", True),
        ("opus-mt-tc-big-gmw-gmw", True),
        ("opus-mt-en-ROMANCE", True),
    ],
)
def test_a_model_that_does_not_say_its_languages_is_believed_and_named(
    name, told, collection, tmp_path, capfd
):
    model = turned("marian", tmp_path, name)
    capfd.readouterr()
    assert main(["translate", str(collection), "--from", "en", "--to", "zh", "--model", model]) == 0
    note = f"model '{model}' does not tell its languages: assumed to translate from en into zh\n"
    assert (note in capfd.readouterr().err) == told


@pytest.mark.parametrize("kind", MODELS)
def test_the_name_of_a_special_token_in_a_caption_is_text(kind, model, monkeypatch):
    translator = Translator(model(kind), "en", "zh" if kind == "marian" else "de")
    given = []
    generate = translator._model.generate
    monkeypatch.setattr(
        translator._model, "generate", lambda **more: given.append(more["input_ids"]) or generate(**more)
    )
    names = ["</s>", "<pad>", "＜/s＞", ">>deu<<", "<2zh>", "de_DE", "deu_Latn"]
    translator(["a dog"])
    translator([f"a dog {' '.join(names)}"])
    special = set(translator._tokenizer.all_special_ids) - {translator._tokenizer.unk_token_id}
    plain, named = (sum(one in special for one in ids[0].tolist()) for ids in given)
    assert plain == named
