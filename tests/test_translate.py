"""Translation with real architectures, and the files that pseudo-parallel training reads."""

import json
import random
import resource
import subprocess
import sys
from contextlib import nullcontext

import pytest
from transformers import AutoModelForSeq2SeqLM, BartConfig, BartForConditionalGeneration

from mlcmr.cli import main
from mlcmr.data.captions import read_captions, write_captions
from mlcmr.data.check import check_collection
from mlcmr.errors import UserError
from mlcmr.evaluation.evaluate import evaluate_run
from mlcmr.training.train import train
from mlcmr.translation.translate import translate
from mlcmr.translation.translator import Translator
from processes import run, start
from tiny import tiny_config, write_collection
from translators import MODELS, SENTENCES, make, targets


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
            "no code for 'hsb' is known; choose a --target_code among ace_Arab, .*zul_Latn",
        ),
        ("m2m100", "hsb", "en", {}, "no code for 'hsb' is known; choose a --source_code among .*zh"),
        (
            "mbart50",
            "en",
            "zh",
            {"target_code": "zh"},
            "--target_code zh: the model has no such code; .*zh_CN",
        ),
        ("multilingual marian", "en", "fr", {}, "choose a --target_code among cmn_Hans, deu$"),
        ("marian", "en", "zh", {"target_code": "zh"}, "--target_code zh: this Marian model has no codes"),
        ("multilingual marian", "en", "zh", {"source_code": "en"}, "--source_code en: this Marian model"),
        ("t5", "en", "hsb", {}, "'hsb': what does the model call it in English"),
        ("madlad", "en", "fr", {}, "choose a --target_code among de, zh$"),
    ],
)
def test_languages_that_a_model_does_not_have(kind, source, target, codes, message, model):
    with pytest.raises(UserError, match=message):
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
    with pytest.raises(UserError, match=r"empty': no Hugging Face translation model"):
        Translator(str(tmp_path / "empty"), "en", "zh")
    small = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 50}
    small |= dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    bart = BartForConditionalGeneration(BartConfig(**small, encoder_ffn_dim=8, decoder_ffn_dim=8))
    folder = make("t5", tmp_path / "bart")
    bart.save_pretrained(folder)
    with pytest.raises(UserError, match="is of type 'bart', expected Marian, M2M100 and NLLB"):
        Translator(str(folder), "en", "zh")
    with pytest.raises(UserError, match="--device nonsense: not on this machine"):
        Translator(model("t5"), "en", "zh", device="nonsense")
    with pytest.raises(UserError, match="expected 1 or more"):
        Translator(model("t5"), "en", "zh", beams=0)


def test_a_model_of_the_hub_without_a_connection(collection, monkeypatch, capsys):
    asked = []

    def model_info(_, name, revision):
        asked.append(name)
        raise ConnectionError

    monkeypatch.setattr("mlcmr.model.hub.HfApi.model_info", model_info)
    command = ["translate", str(collection), "--from", "en", "--to", "zh", "--model", "nobody/no-such-model"]
    assert main(command) == 2
    message = "model 'nobody/no-such-model' cannot be downloaded: no connection to the hub; "
    assert message + "name a folder that holds it with --model\n" in capsys.readouterr().err
    assert asked == ["nobody/no-such-model"]
    with pytest.raises(UserError, match=r"model '\./none': no such folder; name another with --model"):
        Translator("./none", "en", "zh")


def test_without_sentencepiece(model):
    code = f"""
import sys
from contextlib import nullcontext
sys.modules["sentencepiece"] = None
from mlcmr.cli import main
from mlcmr.errors import UserError
from mlcmr.translation.translator import Translator
try:
    Translator({model("marian")!r}, "en", "zh")
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mlcmr[translate]'" in done.stdout
    assert done.stdout.count("\n") == 1


# ─── a collection ────────────────────────────────────────────────────────────────────────────────────────


def test_every_split_is_translated_and_checked(collection, model):
    files = translate(collection, source="en", target="zh", model=model("marian"), batch_size=7, longest=12)
    assert [file.path.name for file in files] == [
        f"tiny{split}_marian-0_enc2zh.caption.txt" for split in ("train", "val", "test")
    ]
    for split, file in zip(("train", "val", "test"), files, strict=True):
        original = read_captions(collection / "TextData" / f"tiny{split}.caption.txt")
        translated = read_captions(file.path)
        assert translated.keys == original.keys
        assert set(translated.languages) == {"zh"}
        assert file.captions == len(original)
    assert check_collection(collection).problems == []
    assert not list((collection / "TextData").glob(".*"))


def test_captions_get_their_own_translations(tmp_path, model):
    """Sorted by length, in batches, texts repeated and blank: each id still gets its own."""
    texts = [*SENTENCES["en"], "a dog runs", " ", *reversed(SENTENCES["en"])]
    path = tmp_path / "mine" / "TextData" / "minetest.caption.txt"
    write_captions(path, [(f"v{i}.mp4#enc#{i}", text) for i, text in enumerate(texts)])
    (file,) = translate(
        tmp_path / "mine", source="English", target="de", model=model("m2m100", 300), batch_size=2
    )
    translation_of = dict(zip(SENTENCES["en"], SENTENCES["de"], strict=True)) | {" ": ""}
    translated = read_captions(file.path)
    assert translated.ids == [f"v{i}#enc2de#{i}" for i in range(len(texts))]
    assert translated.texts == [translation_of[text] for text in texts]


def test_the_original_stands_for_a_blank_translation(collection, tmp_path, model):
    folder = make("marian", tmp_path / "silent")
    silent = AutoModelForSeq2SeqLM.from_pretrained(folder)
    silent.final_logits_bias[0, 0] = 1e4  # nothing but the end
    silent.save_pretrained(folder)
    (file,) = translate(collection, source="en", target="zh", model=str(folder), splits=["val"])
    original = read_captions(collection / "TextData" / "tinyval.caption.txt")
    assert file.blank == file.captions == len(original)
    assert read_captions(file.path).texts == original.texts
    assert "came back blank" in str(file)


def test_what_is_there_is_left_alone(collection, model):
    options = {"source": "zh", "target": "en", "model": model("t5"), "longest": 4, "engine": "mine"}
    translate(collection, **options, splits=["val"])
    path = collection / "TextData" / "tinyval_mine_zhc2en.caption.txt"
    before = path.stat().st_ino, path.stat().st_mtime_ns
    files = translate(collection, **options)
    assert [file.made for file in files] == [True, False, True]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    write_captions(path, [("other#zhc2en#0", "x")])
    with pytest.raises(UserError, match=r"has translations of other captions than tinyval_zh.caption.txt"):
        translate(collection, **options)


def test_bad_requests(collection, model):
    def attempt(**changes):
        translate(collection, **{"source": "en", "target": "zh", "model": model("t5"), **changes})

    with pytest.raises(UserError, match="--from en --to en: nothing to translate"):
        attempt(target="English")
    with pytest.raises(UserError, match=r"no captions in 'fr'"):
        attempt(source="fr")
    with pytest.raises(UserError, match=r"tinydev.caption.txt: no such file"):
        attempt(splits=["dev"])
    with pytest.raises(UserError, match="--engine 'a/b'"):
        attempt(engine="a/b")
    with pytest.raises(UserError, match="--batch-size 0"):
        attempt(batch_size=0)
    assert not list((collection / "TextData").glob(".*"))


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
    options = {"source": "en", "target": "zh", "model": model("m2m100"), "batch_size": 3, "longest": 8}
    (whole,) = translate(collection, **options, splits=["val"], engine="whole")
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
            translate(collection, **options, splits=["val"], engine="torn")
        (journal,) = (collection / "TextData").glob(".*.journal")
        with journal.open("ab") as file:
            file.write('["一只'.encode()[:-1])
        begun = []

        def work(*what):
            begun.append(what)
            return nullcontext(lambda count: None)

        (torn,) = translate(collection, **options, splits=["val"], engine="torn", work=work)
    assert begun == [(torn.path.name, 12, 6)]
    assert len(calls) == 3 + 4 - 2  # 12 captions in batches of 3: the two that were done are not done again
    assert torn.path.read_bytes() == whole.path.read_bytes()


def test_a_journal_of_other_settings_or_in_use_or_damaged(collection, model, monkeypatch):
    options = {"source": "en", "target": "zh", "model": model("m2m100"), "longest": 8, "splits": ["val"]}

    def interrupted(self, texts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            translate(collection, **options)
    (journal,) = (collection / "TextData").glob(".*.journal")
    with pytest.raises(UserError, match=r"was begun with other settings \(beams: 4, now 2\)"):
        translate(collection, **options, beams=2)
    text = collection / "TextData" / "tinyval.caption.txt"
    captions_before = text.read_bytes()
    text.write_bytes(captions_before.replace(b"A ", b"One ", 1))
    with pytest.raises(UserError, match=r"was begun with other settings \(captions: "):
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
        with pytest.raises(UserError, match="another process translates this"):
            translate(collection, **options)
    finally:
        holder.communicate(b"\n")
    journal.write_bytes(b"nonsense\n")
    with pytest.raises(UserError, match="damaged: remove it"):
        translate(collection, **options)
    journal.unlink()
    assert translate(collection, **options)[0].made


def test_nothing_but_the_files_is_told_where_nobody_watches(collection, model, capfd):
    folder = str(model("nllb"))
    capfd.readouterr()
    words = ["translate", str(collection), "--from", "en", "--to", "zh", "--model", folder, "--split", "val"]
    assert main([*words, "--longest", "4"]) == 0
    out, err = capfd.readouterr()
    assert (out.count("\n"), err) == (1, "")


def test_a_journal_that_cannot_be_written(collection, model, monkeypatch):
    options = {"source": "en", "target": "zh", "model": model("t5"), "longest": 4, "splits": ["val"]}
    original = Translator.__call__

    def unreadable(self, texts):
        raise FileNotFoundError(2, "No such file or directory", "model.safetensors")

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "__call__", unreadable)
        with pytest.raises(FileNotFoundError, match=r"model.safetensors"):  # which is no fault of the journal
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
            with pytest.raises(UserError, match=r"\.journal: cannot be written: File too large"):
                translate(collection, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert journal.read_bytes().startswith(before)
    journal.unlink()
    journal.mkdir()
    with pytest.raises(UserError, match=r"\.journal: cannot be written: Is a directory"):
        translate(collection, **options)
    journal.rmdir()
    assert translate(collection, **options)[0].made


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
    (evaluation,) = evaluate_run(tmp_path / "run", {}, targets=["zh"], split="test", device="cpu")
    assert evaluation.results.fused is not None  # the queries were fused with their translations
