"""The command line: help, completion, clear errors, and nothing heavy imported for nothing."""

import argparse
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

import mlcmr
from mlcmr.cli import main
from mlcmr.cli.app import COMMANDS, parsers
from mlcmr.errors import InvalidValueError
from mlcmr.reading import parse_yaml
from mlcmr.settings import from_dict
from mlcmr.training.config import TrainConfig
from mlcmr.training.recipes import RECIPES, change_settings, read_recipe
from tests.helpers.tiny import tiny_config, write_collection, write_recipe

SOURCE = str(Path(mlcmr.__file__).parents[1])


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"    {command} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert f"mlcmr {command} " in capsys.readouterr().out


def test_without_a_command_help_is_shown(capsys):
    assert main([]) == 0
    assert "first steps" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = """
import sys
from mlcmr.cli import main
from mlcmr.cli.app import COMMANDS
for words in ([], *([command] for command in COMMANDS)):
    try:
        main([*words, "--help"])
    except SystemExit:
        pass
heavy = {"torch", "transformers", "lightning", "matplotlib", "av", "PIL", "qdrant_edge", "fastapi"}
print(heavy & sys.modules.keys(), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


def test_the_end_does_not_wait_for_a_sweep():
    code = """
from mlcmr.cli import main
main([])
class Cycle:
    def __init__(self):
        self.me = self
    def __del__(self):
        print("swept")
Cycle()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "first steps" in done.stdout
    assert "swept" not in done.stdout


@pytest.mark.parametrize("module", ["jsonargparse._common", "mlcmr.errors", "numpy", "torch.nn"])
def test_interrupted_while_it_is_imported(module, tmp_path):
    words = [sys.executable, "-X", "importtime", "-m", "mlcmr", "import-checkpoint", "a", "--to", "b"]
    # A program that was started in the background ignores Ctrl-C, and so do those that it starts.
    starter = f"import os, signal; signal.signal({signal.SIGINT:d}, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{starter}os.execv({sys.executable!r}, {words!r})"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert any(line.rpartition("| ")[2].strip() == module for line in process.stderr)
        process.send_signal(signal.SIGINT)
        said = [line for line in process.stderr if not line.startswith("import time:")]
    assert said == ["mlcmr: interrupted; the same command continues long work\n"]
    # Interrupted in code that was made at run time, Python ends by the signal; a shell says 130 of both.
    assert process.returncode in {130, -signal.SIGINT}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([f"--print-completion=shtab-{shell}"])
    assert not exit_.value.code
    assert "import-checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["tr"], {"train", "translate"}),
        (["features", "from-"], {"from-text", "from-arrays"}),
        (["evaluate", "--fus"], {"--fusion-weight"}),
        (["evaluate", "mines", "--normalisation", "du"], {"dual-softmax"}),
        (["train", "--scenario", "p"], {"parallel", "pseudo-parallel"}),
        (["train", "mi"], {"mine.yaml", "mines"}),
        (["train", "mine.yaml", "--optimizer.learn"], {"--optimizer.learning-rate"}),
        (["train", "mine.yaml", "--run", "mines"], {"mines"}),
        (["evaluate", "mi"], {"mine.yaml", "mines"}),
        (["index", "mines", "--run", ""], {"mine.yaml", "mines"}),
        (["features", "from-text", "mine."], {"mine.yaml"}),
    ],
)
def test_bash_completes(words, found, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--print-completion", "shtab-bash"])
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "mines").mkdir()
    asks = 'COMP_WORDS=(mlcmr "$@"); COMP_CWORD=$#; _shtab_mlcmr; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", capsys.readouterr().out + asks, "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert set(done.stdout.split()) == found


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nonsense"], "nonsense"),
        (["train", "--epochs", "many"], "epochs"),
        (["train", "--nonsense", "1"], "nonsense"),
        (["train", "no/such/recipe.yaml"], "no/such/recipe.yaml: no such recipe"),
        (["train", "--rootpath", "no/such/root"], "no/such/root/vatex: no such collection; there is none in"),
        (
            ["translate", "nodir", "--from", "en", "--to", "zh", "--model", "m"],
            "nodir: no such collection; there is none in",
        ),
        (["evaluate", "no/such/run"], "no/such/run/config.yaml: no such file"),
        (["extract", ".", "--collection", "new"], "no video or image, by file extension"),
        (["check", "no/such/collection"], "no/such/collection: no such folder"),
        (["features", "join", "no/such/feature", "target"], "no/such/feature"),
        (["import-checkpoint", "no.pth.tar", "--to", "model"], "no.pth.tar: no such file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert part in error
    assert ("--rootpath" in error) == ("--rootpath" in words)
    assert error.count("\n") == 1
    assert error.startswith("mlcmr: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["closed/films/a.mp4", "n" * 300], ids=["closed", "long"])
@pytest.mark.parametrize(
    "words",
    [
        ["extract", "NAME", "--collection", "new"],
        ["check", "NAME"],
        ["train", "--rootpath", "NAME"],
        ["index", "NAME", "--run", "run"],
        ["index", ".", "--run", "NAME"],
        ["index", ".", "--run", "run", "--to", "NAME"],
    ],
    ids=" ".join,
)
def test_what_may_not_be_looked_at_is_one_line_and_status_2(words, name, capsys, tmp_path, monkeypatch):
    stat = os.stat

    def refuses(path, *arguments, **options):  # to root, permissions are nothing
        if "closed" in str(path).split("/"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refuses)
    monkeypatch.chdir(tmp_path)
    assert main([name if word == "NAME" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("mlcmr: ")
    assert list(tmp_path.iterdir()) == []


DASH = "a value that begins with a dash is written"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "dog", "-k", "ten"], "k is ten, but must be a whole number"),
        (
            ["evaluate", "run", "--fusion-weight", "heavy"],
            "fusion_weight is heavy, but must be a number or auto",
        ),
        (["index", "films", "--captions", "maybe"], "captions is maybe, but must be true or false"),
        (["prepare", "a.csv", "--collection", "c", "--splits", "x"], "--shares is x, but must be a number"),
        (["features", "from-arrays", "a", "b", "--rows", "x"], "rows is x, but must be frames or videos"),
        (["train", "--devices", "all"], "devices is all, but must be a whole number or auto"),
        (["train", "--languages", "en"], "languages is en, but must be a list, such as '[en, zh]'"),
        (["train", "--model.video.windows", "3"], "model.video.windows is 3, but must be a list"),
        (["train", "--model.text.new.layers", "x"], "model.text.new.layers is x, but must be a whole number"),
        (["train", "--model.text.new", "x"], "model.text.new is x, but must be settings or null"),
        (
            ["search", "--similar", "-_hbPLs"],
            f"argument --similar: expected one argument; {DASH} --similar=-…",
        ),
        (
            ["index", "--remove", "-_hbPLs"],
            f"argument --remove: expected at least one argument; {DASH} --remove=-…",
        ),
    ],
)
def test_what_the_parser_refuses_is_said_in_plain_words(words, said, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err == f"mlcmr: {said}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epochs: many", "epochs is many, but must be a whole number"),
        ("model: 3", "model is 3, but must be settings"),
        ("optimizer: fast", "optimizer is fast, but must be settings"),
        ("loss: [a]", "loss is ['a'], but must be settings"),
        ("model: {video: 3}", "model.video is 3, but must be settings"),
        ("model: {text: {new: {layers: x}}}", "model.text.new.layers is x, but must be a whole number"),
    ],
)
def test_a_recipe_is_refused_in_the_same_words(content, said, capsys, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    assert main(["train", str(recipe)]) == 2
    assert capsys.readouterr().err == f"mlcmr: {said}\n"


def test_settings_are_refused_in_the_same_words():
    with pytest.raises(InvalidValueError, match=r"^epochs is many, but must be a whole number$"):
        from_dict(TrainConfig, {"epochs": "many"})


def test_an_error_line_has_no_control_characters(capsys):
    assert main(["check", "red\x1b[31m\x9b2J\nline"]) == 2
    assert r"red\x1b[31m\x9b2J line: no such folder" in capsys.readouterr().err


def test_a_recipe_with_an_unknown_setting(capsys, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("colection: vatex\n")
    assert main(["train", str(recipe)]) == 2
    assert "colection" in capsys.readouterr().err


def test_dashes_are_as_good_as_underscores(capsys, tmp_path):
    for spelling in ("--fusion-weight", "--fusion_weight"):
        assert main(["evaluate", str(tmp_path), spelling, "heavy"]) == 2
        assert "fusion_weight" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "--fusion-weight FUSION_WEIGHT" in capsys.readouterr().out
    assert main(["extract", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "mlcmr: the following arguments are required: --collection\n"
    assert main(["evaluate", str(tmp_path), "--no_such-option", "1"]) == 2
    assert capsys.readouterr().err == "mlcmr: unrecognized arguments: --no-such-option 1\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "--fliter", "x", "foo"], "--fliter foo; did you mean --filter?"),
        (["index", ".", "--batchsize=3"], "--batchsize=3; did you mean --batch-size?"),
        (
            ["train", "--model.text.encoderr", "3"],
            "--model.text.encoderr 3; did you mean --model.text.encoder?",
        ),
        (["features", "video2frames", ".", "--ovrwrite"], "--ovrwrite; did you mean --overwrite?"),
        (["--versoin"], "--versoin; did you mean --version?"),
        (["search", "foo", "--xyzzy"], "--xyzzy"),
        (["search", "foo", "-j"], "-j"),
        (["search", "foo", "--vido", "x", "--jsn"], "--vido x --jsn; did you mean --video?"),
    ],
)
def test_an_unknown_option_is_told_with_the_one_it_resembles(words, said, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err == f"mlcmr: unrecognized arguments: {said}\n"


def lists():
    """The options that take several words, each with its command and what that cannot be without."""
    for name, parser in parsers()[1].items():
        needed = [
            word
            for action in parser._actions
            if action.required and action.nargs != argparse.PARSER
            for word in (*action.option_strings[:1], "0.5")
        ]
        for action in parser._actions:
            if action.option_strings and action.nargs == "+":
                yield pytest.param(name, needed, action, id=f"{name} {action.option_strings[0]}")


@pytest.mark.parametrize(("command", "needed", "action"), list(lists()))
def test_an_option_given_again_adds_to_what_it_was_given_before(command, needed, action):
    parser, option = parsers()[0], action.option_strings[0]
    numbers = ("1", "2", "3") if option in ("--recall_at", "--seeds") else ("0.1", "0.2", "0.3")
    first, second, third = (action.choices or numbers)[:3]
    parsed = parser.parse_args([command, *needed, option, first, second, option, third])[command]
    assert list(map(str, parsed[action.dest])) == [first, second, third]
    assert parser.parse_args([command, *needed])[command].get(action.dest, []) == []


def test_features_round_trip(tmp_path, capsys):
    lines = tmp_path / "features.txt"
    lines.write_text("clip_0 1 2 3\nclip_1 4 5 6\nother_0 7 8 9\n")
    folder, arrays, back = (str(tmp_path / name) for name in ("feature", "arrays.npz", "again"))
    assert main(["features", "from-text", str(lines), folder]) == 0
    assert "2 videos, 3 frames × 3" in capsys.readouterr().out
    assert main(["features", "to-arrays", folder, arrays]) == 0
    assert main(["features", "from-arrays", arrays, back]) == 0
    assert (tmp_path / "again" / "feature.bin").read_bytes() == (
        tmp_path / "feature" / "feature.bin"
    ).read_bytes()
    assert main(["features", "from-text", str(lines), folder]) == 2  # never overwritten


def test_check_status_says_whether_there_are_problems(tmp_path, capsys):
    collection = tmp_path / "mine"
    text = collection / "TextData"
    text.mkdir(parents=True)
    (text / "minetrain.caption.txt").write_text("clip#enc#0 a dog\nclip#enc a cat\n")
    assert main(["check", str(collection)]) == 2
    assert "minetrain.caption.txt:2: caption id 'clip#enc' has 2 parts" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["check", "mine"], ["features", "to-arrays", "feature", "a.npz"], ["--help"]]
)
def test_a_pipe_that_nobody_reads_any_more_is_no_error(words, tmp_path):
    (tmp_path / "mine").mkdir()
    lines = tmp_path / "features.txt"
    lines.write_text("clip_0 1 2 3\n")
    assert main(["features", "from-text", str(lines), str(tmp_path / "feature")]) == 0
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "mlcmr", *words],
            stdout=pipe,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")


FULL = b"mlcmr: standard output: cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        (">&-", 0, b"mlcmr: standard output is closed; results that are only printed are lost\n"),
        (">&- 2>&- <&-", 0, b""),
        ("> /dev/full", 2, FULL),
        ("> /dev/full 2>/dev/full", 2, b""),
    ],
)
@pytest.mark.parametrize(
    "words",
    ["features from-text features.txt feature", "train sample/parallel --print-config", "train --help"],
)
def test_output_that_cannot_be_written(words, where, status, said, tmp_path):
    (tmp_path / "features.txt").write_text("clip_0 1 2 3\n")
    command = f"{sys.executable} -m mlcmr {words} {where}"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (status, said)
    if words.startswith("features"):  # the output is complete, and nothing printed is mixed into it
        assert (tmp_path / "feature" / "shape.txt").read_text().split() == ["1", "3"]
        assert (tmp_path / "feature" / "feature.bin").stat().st_size == 12


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_a_refusal_that_nobody_can_read_is_still_a_refusal(where, tmp_path):
    command = f"{sys.executable} -m mlcmr check nowhere {where}"
    assert subprocess.run(command, shell=True, check=False, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_deleted_working_directory_is_one_line(command, tmp_path):
    place = tmp_path / "gone"
    place.mkdir()
    words = f"cd {place} && rmdir {place} && {sys.executable} -m mlcmr {command} a"
    done = subprocess.run(
        words, shell=True, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": SOURCE}
    )
    assert done.returncode == 2
    assert done.stderr == b"mlcmr: the working directory has been deleted; change to another one\n"


@pytest.mark.parametrize(
    "words",
    [
        ["extract", "", "--collection", "mine"],
        ["extract", ".", "--collection", ""],
        ["prepare", "a.csv", "--collection", ""],
        ["index", ".", "--to", "", "--model", "m"],
        ["check", ""],
        ["serve", ""],
        ["search", "x", "--index", ""],
    ],
)
def test_empty_words_name_nothing(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert capsys.readouterr() == ("", "mlcmr: an argument is empty; is a shell variable unset?\n")
    assert list(tmp_path.iterdir()) == []


def test_every_setting_of_a_recipe_is_printed(capsys):
    recipe = RECIPES / "vatex" / "unparallel.yaml"
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(recipe), "--batch-size", "32", "--print-config"])
    assert not exit_.value.code
    printed = yaml.safe_load(capsys.readouterr().out)
    expected = asdict(from_dict(TrainConfig, yaml.safe_load(recipe.read_text()) | {"batch_size": 32}))
    expected["model"]["video"]["windows"] = list(expected["model"]["video"]["windows"])
    assert printed == expected
    assert expected["batch_size"] == 32
    assert expected["scenario"] == "unparallel"


def test_a_recipe_that_is_not_utf_8(capsys, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(b"collection: caf\xe9\n")
    assert main(["train", str(recipe)]) == 2
    assert (
        capsys.readouterr().err == f"mlcmr: {recipe}:1: not UTF-8: byte 0xe9; write settings as in configs/\n"
    )


YAML = """
languages: [en, no]
collection: on
engine: 012
run: 12:30:00
feature: 2026-11-29
optimizer: {learning_rate: 1e-3}
model: {text: {encoder: yes, trained_layers: 2}}
"""


def test_words_of_yaml_1_1_are_text_in_recipes_and_on_the_command_line(tmp_path, capsys):
    """Norwegian is no refusal, and half past twelve no number of seconds."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(YAML)
    assert main_status(["train", str(recipe), "--print-config"]) == 0
    printed = capsys.readouterr().out
    options = ["--languages", "[en, no]", "--collection", "on", "--engine", "012", "--run", "12:30:00"]
    options += ["--feature", "2026-11-29", "--optimizer.learning-rate", "1e-3"]
    options += ["--model.text.encoder", "yes", "--model.text.trained-layers", "2"]
    assert main_status(["train", *options, "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    for read in (yaml.safe_load, partial(parse_yaml, where="", hint="")):  # other readers agree
        settings = read(printed)
        assert settings["languages"] == ["en", "no"]
        assert [settings[name] for name in ("collection", "engine", "run")] == ["on", "012", "12:30:00"]
        assert settings["model"]["text"]["encoder"] == "yes"
        assert settings["optimizer"]["learning_rate"] == 1e-3
    # The settings that a run writes are read back unchanged.
    recipe.write_text(printed)
    assert main_status(["train", str(recipe), "--print-config"]) == 0
    assert capsys.readouterr().out == printed


def main_status(words: list[str]) -> int:
    """Return the exit status, also where a library exits."""
    try:
        return main(words)
    except SystemExit as error:
        return int(error.code or 0)


TYPES = get_type_hints(TrainConfig)
TEXTS = sorted(name for name, kind in TYPES.items() if kind in (str, str | list[str]))


@pytest.mark.parametrize("word", ["null", "Null", "2048", "1e3", "0x10", "1_000", ".inf", "010"])
@pytest.mark.parametrize("setting", TEXTS)
def test_words_are_text_where_text_is_expected(setting, word, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{setting}: {word}\nlanguages: [en, {word}]\n")
    assert main_status(["train", str(recipe), "--print-config"]) == 0
    for settings in (yaml.safe_load(capsys.readouterr().out), asdict(read_recipe(recipe, {}))):
        assert settings[setting] == word
        assert settings["languages"] == ["en", word]


OPTIONS = {"a": "1", "b": 1, "c": ["2", 2, "null", None, "true", True, "1e3", "[1]", "x"], "d": {"e": "010"}}


def test_texts_of_a_loss_of_ones_own_stay_texts(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "loss:\n  name: a:B\n  options: {a: '1', b: 1, d: {e: \"010\"},\n"
        "    c: ['2', 2, 'null', null, 'true', true, '1e3', '[1]', x]}\n"
    )
    for command in (
        ["train", str(recipe)],
        ["train", "--loss.name", "a:B", "--loss.options", json.dumps(OPTIONS)],
        ["train", "--loss.options.a", '"1"', "--loss.options.b", "1", "--loss.options.d", "{e: '010'}",
         "--loss.options.c", json.dumps(OPTIONS["c"])],
    ):  # fmt: skip
        assert main_status([*command, "--print-config"]) == 0
        shown = capsys.readouterr().out
        assert yaml.safe_load(shown)["loss"]["options"] == OPTIONS
        (tmp_path / "shown.yaml").write_text(shown)
        assert read_recipe(tmp_path / "shown.yaml", {}).loss.options == OPTIONS
    in_python = read_recipe(recipe, {"loss": {"options": {"f": "3", **OPTIONS}}})
    assert in_python.loss.options == {"f": "3", **OPTIONS}
    changed = change_settings(in_python, {"loss": {"options": {"f": "4", "g": 5}}})
    assert changed.loss.options == {"f": "4", "g": 5, **OPTIONS}
    recipe.write_text("loss.name: a:B\nloss.options: {<<: {a: '1', \"b\": !!str 1}, c: &c [1e3], d: *c}\n")
    merged = read_recipe(recipe, {}).loss.options
    assert merged == {"a": "1", "b": "1", "c": [1000.0], "d": [1000.0]}
    assert {type(name) for name in merged} == {str}


@pytest.mark.parametrize("value", ["0x10", "1_0", "16"])
def test_a_number_may_be_quoted(value, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"seed: '{value}'\nlanguages: '[en, zh, de]'\nmodel.video.windows: \"[2, 3]\"\n")
    config = read_recipe(recipe, {})
    assert config.seed == read_recipe("sample/parallel", {"seed": value}).seed == int(value, 0)
    assert (config.languages, config.model.video.windows) == (["en", "zh", "de"], (2, 3))


@pytest.mark.parametrize(
    "number", ["0b" + 20_000 * "1", "0x" + 5_000 * "f", "1:1" + 4_000 * ":1", 5_000 * "1"]
)
def test_a_number_of_thousands_of_digits_is_one_line(number, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(f"seed: {number}\n")
    for command in (["train", str(tmp_path / "recipe.yaml")], ["train", "--seed", number]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "digits" in line
        assert "set_int_max_str_digits" not in line
        assert len(line) < 300


@pytest.mark.parametrize("nothing", ["null", "~", ""])
def test_null_is_nothing_where_nothing_is_allowed(nothing, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"target: {nothing}\nmodel: {{text: {{lowercase: {nothing}, new: {nothing}}}}}\n"
        f"loss: {{name: 'a:B', options: {{x: {nothing}, y: [{nothing}], z: {{w: {nothing}}}}}}}\n"
    )
    config = read_recipe(recipe, {})
    assert (config.target, config.model.text.lowercase, config.model.text.new) == (None, None, None)
    if nothing:  # in a list without a word there is no item
        assert config.loss.options == {"x": None, "y": [None], "z": {"w": None}}
    assert main_status(["train", str(recipe), "--print-config"]) == 0
    assert from_dict(TrainConfig, yaml.safe_load(capsys.readouterr().out)) == config


@pytest.mark.parametrize("setting", sorted(TYPES.keys() - {"target"}))
@pytest.mark.parametrize("nothing", ["~", ""])
def test_nothing_is_refused_where_there_must_be_a_value(setting, nothing, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{setting}: {nothing}\n")
    assert main(["train", str(recipe)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mlcmr: {setting} is null, but must be ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("setting", sorted(TYPES.keys() - {"target", *TEXTS}))
def test_null_is_refused_where_there_must_be_another_value(setting, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{setting}: null\n")
    assert main(["train", str(recipe)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mlcmr: {setting} is null, but must be ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("seed: 1\nseed: 2\n", "recipe.yaml:2: not YAML: 'seed' is there twice"),
        ("- a\n", "recipe.yaml: the content is ['a'], but must be an object"),
        ("a: [\n", "recipe.yaml:2: not YAML"),
        (
            "model: {text: {new: {layers: null}}}\n",
            "model.text.new.layers is null, but must be a whole number",
        ),
        ("languages: [en, true]\n", "languages is true, but must be a text; put it in quotation marks"),
        ("optimizer: {learning_rate: .inf}\n", "optimizer.learning_rate is inf, but must be a finite number"),
        ("seed: 1e400\n", "seed is inf, but must be a whole number"),
        ("languages: [~, zh]\n", "languages is null, but must be a text; put it in quotation marks"),
        ("model: {1: {x: 1}}\n", "model.1"),
        ("loss: {1: a, 0x1: b}\n", "recipe.yaml: not YAML: two names are one number"),
        ("loss: {010: {x: 1}, null: {options: 1}}\n", "loss.010"),
        ("loss: {options: [x]}\n", "loss.options is ['x'], but must be a mapping, such as '{size: 3}'"),
        ("loss: {options: 'x'}\n", "loss.options is x, but must be a mapping"),
        ("scenario: null\n", "scenario is null, but must be parallel or pseudo-parallel or unparallel"),
    ],
)
@pytest.mark.parametrize("option", [[], ["--config"]])
def test_recipes_that_cannot_be(content, said, option, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(content)
    assert main(["train", *option, "recipe.yaml"]) == 2
    assert said in capsys.readouterr().err


LIGHT = """
import sys
from mlcmr.cli import main
status = main(sys.argv[1:])
assert not {"torch", "transformers"} & sys.modules.keys()
sys.exit(status)
"""


def run_light(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that must not import anything heavy."""
    return subprocess.run([sys.executable, "-c", LIGHT, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--feature", "fear"], "FeatureData/fear: no such feature; there is feat"),
        (["--collection", "tony"], "no such collection"),
        (["--target", "de"], "de"),
        (["--languages", "[en, en]"], "en"),
        (["--languages", "[en, no]"], "tinytrain_no.caption.txt: no such file"),
    ],
)
def test_names_are_refused_before_anything_heavy_is_imported(options, said, tmp_path):
    write_collection(tmp_path)
    words = ["train", "--rootpath", str(tmp_path), "--collection", "tiny", "--feature", "feat", *options]
    done = run_light(words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "run", "--target", "de"], "the test split has captions in en, zh"),
        (["evaluate", "run", "--target", "xx"], "'xx' is no language"),
        (["evaluate", "run", "--feature", "fear"], "no such feature; there is feat"),
        (["index", "tiny", "--run", "run", "--feature", "fear"], "no such feature; there is feat"),
    ],
)
def test_names_that_a_run_lacks_are_refused_before_anything_heavy_is_imported(
    words, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path)
    (tmp_path / "run").mkdir()
    write_recipe(tmp_path / "run" / "config.yaml", tiny_config(tmp_path, tmp_path / "run"))
    done = run_light(words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "index").exists()


def test_a_run_of_another_feature_is_refused_before_anything_heavy_is_imported(tmp_path):
    write_collection(tmp_path)
    (tmp_path / "run").mkdir()
    write_recipe(tmp_path / "run" / "config.yaml", tiny_config(tmp_path, tmp_path / "run"))
    words = ["evaluate", str(tmp_path / "run"), "--feature", "fear"]
    done = run_light(words)
    assert "FeatureData/fear: no such feature; there is feat" in done.stderr
    assert done.returncode == 2


def test_features_alone_lists_its_conversions(capsys):
    assert main(["features"]) == 0
    shown = capsys.readouterr()
    assert "from-arrays" in shown.out
    assert "(required)" not in shown.out
    assert shown.err == ""
