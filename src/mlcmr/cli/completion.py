"""Completion in shells: jsonargparse's, for command lines as people write them (see `words`)."""

from argparse import Action
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentParser

from mlcmr.cli.words import shown


class CompletedParser(ArgumentParser):
    """A parser whose completion knows options with dashes, and files."""

    def get_completion_script(self, completion_type: str, **kwargs: Any) -> str:
        """The script of a shell, as `shtab-bash`."""
        import shtab

        for parser in list(_parsers(self)):
            if any("--config" in action.option_strings for action in parser._actions):
                parser.add_argument("recipe", nargs="?", help="The recipe.")
            for action in filter(_takes_text, parser._actions):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        return shown(super().get_completion_script(completion_type, **kwargs))


def _parsers(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    """A parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for one in action.choices.values():
                yield from _parsers(one)


def _takes_text(action: Action) -> bool:
    """Whether any text will do, so that it may be that of a file, as in a shell without completion."""
    kind = getattr(action, "_typehint", action.type)
    return action.nargs != 0 and not action.choices and kind in {None, str, str | None}
