"""Every command: parse, call one function, print. What is heavy is imported by the command that needs it."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace
from jsonargparse.typing import Path_fr

from mlcmr import __version__
from mlcmr.errors import UserError

_DESCRIPTION = "Find videos with a sentence in any language: train, evaluate and serve MLCMR."
_EXAMPLES = """
first steps:
  mlcmr sample demo                       draw a small collection of clips with captions in four languages
  mlcmr train configs/sample/parallel.yaml --rootpath demo
  mlcmr evaluate runs/sample-parallel     the table, results.json and report.html

your own data:
  mlcmr check ~/VisualSearch/mine         everything that would go wrong later, found now
  mlcmr train configs/vatex/parallel.yaml --collection mine --feature clip

completion:
  eval "$(mlcmr --print_shtab bash)"      (or zsh)
"""
_RECIPES = Path(__file__).parent / "configs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, or 2 when the user has something to mend."""
    words = [_spelled(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    try:
        parser = _parser(words[0] if words else "")
        parsed = parser.parse_args(_recipe_first(words))
        if parsed.command is None:
            parser.print_help()
            return 0
        return _COMMANDS[parsed.command](parsed[parsed.command])
    except (UserError, ArgumentError) as error:
        print(f"mlcmr: {str(error).strip()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mlcmr: interrupted; the same command again goes on where it can", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `mlcmr … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(command: str) -> ArgumentParser:
    ...
