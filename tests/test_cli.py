"""The command line: help, completion, clear errors, and nothing heavy imported for nothing."""

import argparse
import os
import signal
import subprocess
import sys
from dataclasses import asdict

import pytest
import yaml

from mlcmr.cli import main
from mlcmr.cli.program import COMMANDS, parsers
from mlcmr.cli.words import RECIPES
from mlcmr.config import from_dict
from mlcmr.errors import UserError
from mlcmr.training.config import TrainConfig


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
from mlcmr.cli.program import COMMANDS
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
    words = [sys.executable, "-X", "importtime", "-m", "mlcmr", "evaluate", "no/such/run"]
    # A program that was started in the background ignores Ctrl-C, and so do those that it starts.
    starter = f"import os, signal; signal.signal({signal.SIGINT:d}, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{starter}os.execv({sys.executable!r}, {words!r})"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert any(line.rpartition("| ")[2].strip() == module for line in process.stderr)
        process.send_signal(signal.SIGINT)
        said = [line for line in process.stderr if not line.startswith("import time:")]
    assert said == ["mlcmr: interrupted; long work goes on when it is started again\n"]
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
        (["extract", ".", "--collection", "new"], "no videos or images there"),
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


DASH = "what begins with a dash is written"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "dog", "-k", "ten"], "k is ten, but must be a whole number"),
        (["evaluate", "run", "--fusion-weight", "heavy"], "fusion_weight is heavy, but must be a number"),
        (["index", "films", "--captions", "maybe"], "captions is maybe, but must be true or false"),
        (["prepare", "a.csv", "--collection", "c", "--splits", "x"], "--splits is x, but must be a number"),
        (["features", "from-arrays", "a", "b", "--rows", "x"], "rows is x, but must be frames or videos"),
        (["train", "--devices", "all"], "devices is all, but must be a whole number or auto"),
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
        ("loss: [1]", "loss is [1], but must be settings"),
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
    with pytest.raises(UserError, match=r"^epochs is many, but must be a whole number$"):
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
    assert capsys.readouterr().err == "mlcmr: the following arguments are required: collection\n"
    assert main(["evaluate", str(tmp_path), "--no_such-option", "1"]) == 2
    assert capsys.readouterr().err == "mlcmr: unrecognized arguments: --no-such-option 1\n"


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
    parsed = parser.parse_args([command, *needed, option, "0.1", "0.2", option, "0.3"])[command]
    assert list(map(str, parsed[action.dest])) == ["0.1", "0.2", "0.3"]
    assert parser.parse_args([command, *needed])[command][action.dest] == []


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


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [(">&-", 0, b""), ("> /dev/full", 2, b"mlcmr: cannot be written: No space left on device\n")],
)
def test_output_that_cannot_be_written(where, status, said, tmp_path):
    (tmp_path / "features.txt").write_text("clip_0 1 2 3\n")
    words = f"{sys.executable} -m mlcmr features from-text features.txt feature"
    done = subprocess.run(f"{words} {where}", shell=True, stderr=subprocess.PIPE, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (status, said)


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
    assert capsys.readouterr() == ("", "mlcmr: one of the words is empty; is a variable not set?\n")
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
    assert capsys.readouterr().err == f"mlcmr: {recipe}: not UTF-8: byte 0xe9; save it as UTF-8\n"
