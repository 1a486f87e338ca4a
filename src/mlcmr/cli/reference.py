"""The reference of the command line as Markdown, made from the parsers."""

from argparse import SUPPRESS, Action
from collections.abc import Iterator

from jsonargparse import ArgumentParser

from mlcmr.cli.app import COMMANDS, parsers
from mlcmr.cli.argv import shown

_SHARED = {"help", "config", "print_config"}
_INTRODUCTION = (
    "Every command takes `--help`, `--config FILE` and `--print-config`. The file is YAML with the options "
    "of the command; an option on the command line replaces that of the file. `--print-config` prints all "
    "options in that form. In the names of options, dashes and underscores are equal."
)


def render() -> str:
    """Return Markdown with all commands: purpose, options with defaults, and examples."""
    _, subparsers = parsers()
    lines = [_INTRODUCTION]
    for name, parser in subparsers.items():
        lines += ["", f"## mlcmr {name}", "", COMMANDS[name].purpose, ""]
        lines += ["```text", *COMMANDS[name].examples.strip("\n").splitlines(), "```", ""]
        lines += _table(parser)
        for action in parser._actions:
            if isinstance(action.choices, dict):
                for inner, below in action.choices.items():
                    lines += ["", f"### mlcmr {name} {inner}", "", str(below.description), "", *_table(below)]
    return "\n".join(lines) + "\n"


def _table(parser: ArgumentParser) -> Iterator[str]:
    """Yield the rows of a table of options."""
    actions = [action for action in parser._actions if _is_option(action)]
    if actions:
        yield "| option | default | |"
        yield "|---|---|---|"
    for action in actions:
        names = [f"`{shown(name)}`" for name in action.option_strings if not name.endswith("+")]
        text = " ".join(shown(str(action.help)).split()).replace("%%", "%").replace("|", "\\|")
        yield f"| {', '.join(names) or f'`{action.dest}`'} | {_default(action)} | {text} |"


def _is_option(action: Action) -> bool:
    whole = type(action).__name__ in {"_ActionConfigLoad", "_ActionHelpClassPath"}  # of a nested dataclass
    return not (
        whole or action.dest in _SHARED or action.help == SUPPRESS or isinstance(action.choices, dict)
    )


def _default(action: Action) -> str:
    if action.required:
        return "required"
    return "" if action.default in (None, [], False, SUPPRESS) else f"`{action.default}`"
