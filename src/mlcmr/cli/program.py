"""`mlcmr`: the table of commands, and what becomes of errors. What is heavy is imported by what needs it."""

import atexit
import errno
import gc
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Protocol

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from mlcmr import __version__
from mlcmr.cli import (
    check,
    evaluate,
    extract,
    features,
    import_checkpoint,
    index,
    prepare,
    sample,
    search,
    serve,
    train,
    translate,
)
from mlcmr.cli.completion import CompletedParser
from mlcmr.cli.options import Help
from mlcmr.cli.words import shown, spelled
from mlcmr.config import complaint
from mlcmr.display import printable
from mlcmr.errors import UserError, reason

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
# Threads that wait for each other should sleep, not spin: on a machine with other work, training is several
# times as fast. It holds when it is said before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before Python ends it sweeps once more, which takes a second with all that torch and transformers bring.
atexit.register(gc.freeze)


class Command(Protocol):
    """What the module of a command has: parse, call one function, print; no logic."""

    PURPOSE: str
    EXAMPLES: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Gives a parser what the command takes."""

    def run(self, parser: ArgumentParser, parsed: Namespace, /) -> int:
        """Runs the command; returns the exit status."""


COMMANDS: dict[str, Command] = {
    "train": train,
    "evaluate": evaluate,
    "check": check,
    "extract": extract,
    "prepare": prepare,
    "translate": translate,
    "index": index,
    "search": search,
    "features": features,
    "serve": serve,
    "sample": sample,
    "import-checkpoint": import_checkpoint,
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, or 2 when the user has something to mend."""
    if isinstance(sys.stdout, TextIOWrapper):  # what a terminal cannot show, or is not UTF-8 in a file's name
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            if sys.stdout is not None:  # here, and not at the very end, a pipe that nobody reads can be borne
                sys.stdout.flush()
    except ArgumentError as error:
        return _refuse(complaint(error))
    except UserError as error:
        return _refuse(str(error))
    except UnicodeDecodeError as error:  # jsonargparse reads `--config` itself
        return _refuse(f"a file given as an option is not UTF-8: {error}")
    except (BrokenPipeError, SystemExit) as error:  # `mlcmr … | head`, which Rich takes for a reason to exit
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        _forget_output()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _forget_output()
        return _refuse(f"cannot be written: {reason(error)}")


def _forget_output() -> None:
    """What could not be written is not tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str]) -> int:
    if "" in arguments:  # most would name the folder one is in
        raise UserError("one of the words is empty; is a variable not set?")
    parser, subparsers = parsers()
    parsed = parser.parse_args(spelled(arguments))
    if parsed.command is None:
        parser.print_help()
        return 0
    return COMMANDS[parsed.command].run(subparsers[parsed.command], parsed[parsed.command])


def _refuse(why: str) -> int:
    print(f"mlcmr: {printable(shown(' '.join(why.split())))}", file=sys.stderr)
    return 2


def parsers() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The parser of the whole command line, and those of the commands by name."""
    set_parsing_settings(add_print_completion_argument=True)
    parser = CompletedParser(
        prog="mlcmr",
        description="Find videos with a sentence in any language: train, evaluate and serve MLCMR.",
        epilog=_FIRST_STEPS,
        formatter_class=Help,
        exit_on_error=False,
        version=__version__,
    )
    commands = parser.add_subcommands(dest="command", required=False)
    subparsers = {}
    for name, command in COMMANDS.items():
        sub = ArgumentParser(
            description=command.PURPOSE,
            epilog=f"examples:{command.EXAMPLES}",
            formatter_class=Help,
            exit_on_error=False,
        )
        commands.add_subcommand(name, sub, help=command.PURPOSE)
        command.add_arguments(sub)
        subparsers[name] = sub
    return parser, subparsers
