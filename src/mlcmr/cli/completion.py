"""Completion in shells: jsonargparse's, with dashes in options and with file names."""

from argparse import SUPPRESS, Action
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentParser

from mlcmr.cli.argv import shown, with_options
from mlcmr.settings import SettingsParser


class CompletedParser(SettingsParser):
    """A parser whose completion knows options with dashes, and files."""

    def get_completion_script(self, completion_type: str, **kwargs: Any) -> str:
        """Return the completion script of a shell, as `shtab-bash`."""
        import shtab

        for parser in list(all_parsers(self)):
            if any("--optimizer.name" in action.option_strings for action in parser._actions):
                parser.add_argument("recipe", nargs="?", help="The recipe.")
            for action in filter(_takes_text, parser._actions):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        return shown(super().get_completion_script(completion_type, **kwargs))


def all_parsers(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    """Yield a parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from all_parsers(below)


def options_of(parser: ArgumentParser) -> dict[str, str]:
    """Return the options of a parser and of those below it, by parameter."""
    actions = [action for each in all_parsers(parser) for action in each._actions]
    return {action.dest: action.option_strings[0] for action in actions if action.option_strings}


def name_options(parser: ArgumentParser) -> None:
    """Name options instead of parameters in the texts of a parser and of those below it."""
    for each in all_parsers(parser):
        options = options_of(each)
        for action in each._actions:
            if isinstance(action.help, str) and action.help != SUPPRESS:
                action.help = with_options(action.help, options)


def _takes_text(action: Action) -> bool:
    """Return whether an option takes any text; then file names are completed."""
    kind = getattr(action, "_typehint", action.type)
    return action.nargs != 0 and not action.choices and kind in {None, str, str | None}
