"""Options are the parameters of the functions that commands call, read without importing the functions."""

import importlib
import inspect
import re

import pytest
import yaml
from jsonargparse._typehints import ActionTypeHint

from mlcmr.cli import completion, main
from mlcmr.cli.app import COMMANDS, parsers
from mlcmr.cli.argv import spelled
from mlcmr.cli.command import FunctionCommand
from mlcmr.cli.completion import all_parsers
from mlcmr.cli.features import CONVERSIONS
from mlcmr.cli.reference import render
from mlcmr.cli.signature import REQUIRED, read_signature

FUNCTIONS = {
    name: command
    for name, command in {**COMMANDS, **CONVERSIONS}.items()
    if isinstance(command, FunctionCommand)
}


def loaded(home: str):
    module, _, name = home.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("command", FUNCTIONS.values(), ids=FUNCTIONS)
def test_what_is_read_is_what_python_sees(command):
    homes = [command.function, *command.groups.values()]
    for home in homes:
        parameters = inspect.signature(loaded(home)).parameters
        read = read_signature(home).parameters
        assert list(read) == list(parameters)
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty:
                assert read[name].default is REQUIRED
            elif read[name].types or read[name].many:
                assert read[name].default == parameter.default, name


@pytest.mark.parametrize("command", FUNCTIONS.values(), ids=FUNCTIONS)
def test_every_option_is_described(command):
    assert command.purpose.endswith(".")
    for parameter in command.parameters():
        assert parameter.help, parameter.name


def test_no_help_refers_to_python():
    for parser in all_parsers(parsers()[0]):
        assert "See `" not in parser.format_help(), parser.prog
        assert "%%" not in parser.format_help(), parser.prog


def options_of(name: str) -> list[str]:
    """Return the least that a command can be given."""
    return {
        "extract": ["films", "--collection", "mine"],
        "prepare": ["a.csv", "b.csv", "--collection", "mine", "--split-lists", "test=a.txt"],
        "translate": ["mine", "--from", "en", "--to", "zh", "--model", "m"],
        "index": ["films", "--remove", "a", "b", "--run", "run"],
        "serve": ["films", "--model", "a", "--model", "b", "--rate", "3"],
        "check": ["mine"],
        "compare": ["a", "b", "--target", "zh", "en", "--format", "html"],
        "reproduce": ["vatex/parallel", "--epochs", "1", "--format", "markdown"],
        "sample": ["demo", "--videos", "40"],
        "import-checkpoint": ["a.pth.tar", "--to", "b"],
        "evaluate": ["run", "--target", "zh", "en"],
        "search": ["a dog", "--filter", "kind=image", "-k", "3"],
        "train": ["--epochs", "3"],
    }[name]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "features"])
def test_a_file_of_options_is_the_command_line(name, tmp_path, capsys):
    """The output of `--print-config` reads back unchanged; the command line overrides the file."""
    words = options_of(name)
    with pytest.raises(SystemExit):
        main([name, *words, "--print-config"])
    printed = capsys.readouterr().out
    file = tmp_path / "options.yaml"
    file.write_text(printed, encoding="utf-8")
    with pytest.raises(SystemExit):
        main([name, "--config", str(file), "--print-config"])
    assert capsys.readouterr().out == printed
    given = yaml.safe_load(printed)
    parsed = parsers()[0].parse_args(spelled([name, *words]))[name]
    for option, value in given.items():
        if name != "train":
            assert parsed[option] == value


def test_the_command_line_goes_before_the_file(tmp_path, capsys):
    file = tmp_path / "options.yaml"
    file.write_text("videos: films\ncollection: mine\nsegment: shots\nprune: true\n")
    words = ["extract", "--config", str(file), "others", "--segment", "3", "--print-config"]
    with pytest.raises(SystemExit):
        main(words)
    options = yaml.safe_load(capsys.readouterr().out)
    assert (options["videos"], options["collection"]) == ("others", "mine")
    assert (options["segment"], options["prune"]) == (3, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("collection: mine\n", "the following arguments are required: videos"),
        ("videos: films\n", "the following arguments are required: --collection"),
        (
            "videos: films\ncollection: mine\nbatch_size: many\n",
            "batch_size is many, but must be a whole number",
        ),
        ("videos: films\ncollection: mine\nnonsense: 1\n", "nonsense"),
        ("videos: [\n", "options.yaml:2: not YAML"),
        ("videos: films\nvideos: clips\n", "options.yaml:2: not YAML: 'videos' is there twice"),
        ("- films\n", "options.yaml: the content is ['films'], but must be an object"),
    ],
)
def test_a_file_of_options_is_refused_in_one_line(content, said, tmp_path, capsys):
    file = tmp_path / "options.yaml"
    file.write_text(content)
    assert main(["extract", "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "content"),
    [
        ("serve", "port: ~"),
        ("serve", "host: ~"),
        ("serve", "seconds: ~"),
        ("serve", "media_roots: ~"),
        ("serve", "media_roots: [~]"),
        ("serve", "index: [index]"),
        ("index", "to: ~"),
        ("index", "source: [~]"),
        ("index", "remove: {a: 1}"),
        ("index", "dry_run: 3"),
        ("evaluate", "run: [~]"),
        ("evaluate", "targets: {a: ~}"),
        ("search", "k: ~"),
        ("search", "filter: [true]"),
        ("search", "text: [dog]"),
        ("evaluate", "targets: zh"),
        ("evaluate", "recall_at: 5"),
        ("index", "remove: abc"),
        ("prepare", "split: test"),
        ("check", "folder: {a: 1}"),
        ("translate", "split: {a: 1}"),
    ],
)
def test_a_value_of_another_type_in_a_file_of_options(command, content, tmp_path, capsys):
    file = tmp_path / "options.yaml"
    file.write_text(content)
    assert main([command, "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert re.match(rf"mlcmr: (\S+: )?{content.partition(':')[0]} is .*, but must be [^\n]*\n$", said), said


def test_an_item_of_another_type_in_a_file_of_options(tmp_path, capsys):
    file = tmp_path / "options.yaml"
    file.write_text("recall_at: [1, x]")
    assert main(["evaluate", "run", "--config", str(file)]) == 2
    assert capsys.readouterr().err == "mlcmr: recall_at holds 'x', but must hold whole numbers\n"


def test_a_missing_file_of_options(tmp_path, capsys):
    assert main(["extract", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: no such file" in capsys.readouterr().err


def test_the_reference_has_every_command_and_option():
    text = render()
    for name, parser in parsers()[1].items():
        assert f"## mlcmr {name}\n" in text
        for action in parser._actions:
            if isinstance(action, ActionTypeHint) and action.option_strings:
                assert f"`{action.option_strings[0].replace('_', '-')}`" in text
    for name in CONVERSIONS:
        assert f"### mlcmr features {name}\n" in text


def test_help_names_options_not_parameters():
    for command in parsers()[1].values():
        for parser in all_parsers(command):
            shown = parser.format_help()
            assert not [name for name in completion.options_of(parser) if f"`{name}`" in shown], parser.prog
    reference = render()
    assert "instead of --rate." in reference
    assert "not needed with --remove." in reference
    assert "by default one of 'language', 'lang'" in reference


def test_help_names_types_in_words(capsys):
    for words, part in {
        ("extract", "--help"): "(type: float or shots or none, default: 10.0)",
        ("train", "--help"): "(type: int or auto, default: auto)",
        ("translate", "--help"): "by default all with captions in that language. (type: str)",
    }.items():
        with pytest.raises(SystemExit):
            main([*words])
        shown = " ".join(capsys.readouterr().out.split())
        assert part in shown
        assert "Optional[" not in shown
        assert "Union[" not in shown
