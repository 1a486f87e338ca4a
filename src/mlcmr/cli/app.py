"""The program `mlcmr`: the table of commands, and the handling of errors.

Heavy modules are imported only by the command that needs them.
"""

import atexit
import gc
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from mlcmr import __version__
from mlcmr.cli import (
    check,
    compare,
    evaluate,
    extract,
    features,
    import_checkpoint,
    index,
    prepare,
    reproduce,
    sample,
    search,
    serve,
    train,
    translate,
)
from mlcmr.cli.argv import shown, spelled, with_options, without_other_options
from mlcmr.cli.command import Command
from mlcmr.cli.completion import CompletedParser, all_parsers, name_options, options_of
from mlcmr.cli.help import Help
from mlcmr.errors import MlcmrError, is_out_of_space, reason
from mlcmr.settings import SettingsParser, describe_error
from mlcmr.text import printable

_FIRST_STEPS = """
first steps:
  mlcmr sample demo                       draw a small collection of clips with captions in four languages
  mlcmr train configs/sample/parallel.yaml --rootpath demo
  mlcmr evaluate runs/sample-parallel     the table, results.json and report.html
  mlcmr index demo/sample --run runs/sample-parallel
  mlcmr search "一个红色的圆向左移动"       in any language of the model; or mlcmr serve, for the page

completion:
  eval "$(mlcmr --print-completion shtab-bash)"      or shtab-zsh
"""
# Threads that wait for each other should sleep, not spin: on a busy machine, training is several times as
# fast. The variable must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The garbage collection at exit would take a second with the objects of torch and transformers.
atexit.register(gc.freeze)


COMMANDS: dict[str, Command] = {
    "train": train.COMMAND,
    "evaluate": evaluate.COMMAND,
    "compare": compare.COMMAND,
    "reproduce": reproduce.COMMAND,
    "check": check.COMMAND,
    "extract": extract.COMMAND,
    "prepare": prepare.COMMAND,
    "translate": translate.COMMAND,
    "index": index.COMMAND,
    "search": search.COMMAND,
    "features": features.COMMAND,
    "serve": serve.COMMAND,
    "sample": sample.COMMAND,
    "import-checkpoint": import_checkpoint.COMMAND,
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0, or 2 after an error of the user."""
    _open_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):  # for file names that are not UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()  # at exit, Python would report a closed pipe
    except ArgumentError as error:
        return _refuse(describe_error(error))
    except MlcmrError as error:
        return _refuse(str(error))
    except (BrokenPipeError, SystemExit) as error:  # `mlcmr … | head`; Rich exits then
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        _discard_output(sys.stdout)
        return 0
    except OSError as error:
        if not is_out_of_space(error):
            raise
        _discard_output(sys.stdout)
        # Each file is written under its own name (see `writing`).
        return _refuse(f"{error.filename or 'standard output'}: cannot be written: {reason(error)}")


def _open_closed_streams() -> None:
    """Open the standard streams that the caller has closed (`>&-`), before another file takes their place."""
    output_is_closed = sys.stdout is None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    if output_is_closed:
        print("mlcmr: standard output is closed; results that are only printed are lost", file=sys.stderr)


def _working_folder_is_deleted() -> bool:
    """Return whether the working directory has been deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _discard_output(stream: TextIO) -> None:
    """Discard unwritten output, so that Python does not try to write it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(arguments: Sequence[str]) -> int:
    if "" in arguments:  # most paths would then name the working directory
        raise MlcmrError("an argument is empty; is a shell variable unset?")
    if arguments and _working_folder_is_deleted():  # torch would end the process
        raise MlcmrError("the working directory has been deleted; change to another one")
    parser, subparsers = parsers(arguments)
    try:
        parsed = parser.parse_args(spelled(arguments))
    except ArgumentError as error:
        used = next((subparsers[word] for word in arguments if word in subparsers), parser)
        raise MlcmrError(
            with_options(describe_error(error), options_of(used)) + _suggest_option(str(error), used)
        ) from error
    if parsed.command is None:
        parser.print_help()
        return 0
    subparser = subparsers[parsed.command]
    try:
        return COMMANDS[parsed.command].run(subparser, parsed[parsed.command])
    except MlcmrError as error:
        message = without_other_options(with_options(str(error), options_of(subparser)))
        raise MlcmrError(message) from error


def _suggest_option(refusal: str, parser: ArgumentParser) -> str:
    """Return a hint with the most similar option, if a parser has refused an unknown option."""
    unknown = re.search(r"unrecognized arguments: (?:.*? )??(--[\w.]+)", refusal)
    known = [
        option for each in all_parsers(parser) for action in each._actions for option in action.option_strings
    ]
    close = get_close_matches(unknown[1], known, 1) if unknown else []
    return f"; did you mean {close[0]}?" if close else ""


def _refuse(why: str) -> int:
    try:
        print(f"mlcmr: {printable(shown(' '.join(why.split())))}", file=sys.stderr, flush=True)
    except OSError:  # the exit status is all that remains
        _discard_output(sys.stderr)
    return 2


def parsers(words: Sequence[str] | None = None) -> tuple[CompletedParser, dict[str, SettingsParser]]:
    """Return the parser of the whole command line, and those of the commands by name.

    Args:
        words: The command line; commands that it does not name get no options, which saves time.
    """
    set_parsing_settings(
        add_print_completion_argument=True,
        # No value may name code to import; jsonargparse itself imports the optional dataclasses by name.
        import_path_denylist=["*"],
        import_path_allowlist=["mlcmr.model.NewEncoder", "mlcmr.model.config.NewEncoder"],
        instantiate_subclass_spec_in_any=False,
    )
    parser = CompletedParser(
        prog="mlcmr",
        description="Find videos with a sentence in any language: train, evaluate and serve MLCMR.",
        epilog=_FIRST_STEPS,
        formatter_class=Help,
        exit_on_error=False,
        version=__version__,
    )
    commands = parser.add_subcommands(dest="command", required=False)
    whole = words is None or any(word.startswith("--print") for word in words)
    listed = whole or not words or words[0] not in COMMANDS
    configured = words is not None and any(word.partition("=")[0] == "--config" for word in words)
    subparsers = {}
    for name, command in COMMANDS.items():
        used = whole or name in (words or ())
        purpose = command.purpose if listed or used else ""
        epilog = f"examples:{command.examples}"
        sub = SettingsParser(description=purpose, epilog=epilog, formatter_class=Help, exit_on_error=False)
        commands.add_subcommand(name, sub, help=purpose)
        if used:
            command.add_arguments(sub, configured=configured)
            name_options(sub)
        subparsers[name] = sub
    return parser, subparsers
