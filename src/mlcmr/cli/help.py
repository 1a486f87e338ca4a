"""The form of the help."""

import re
from argparse import Action, RawDescriptionHelpFormatter

from jsonargparse import DefaultHelpFormatter

from mlcmr.cli.argv import shown

_TYPES = (re.compile(r"Literal\[([^\[\]]*)\]"), re.compile(r"(?:Union|Optional)\[([^\[\]]*)\]"))


class Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's help, with examples left as they are written, and options with dashes."""

    def format_help(self) -> str:
        """Return the help."""
        return shown(super().format_help())

    def _expand_help(self, action: Action) -> str:
        text = super()._expand_help(action).replace("%%", "%")
        for kind in _TYPES:  # `Union[float, Literal['shots'], null]` becomes `float or shots`
            text = kind.sub(lambda found: found[1].replace("'", "").replace(", ", " or "), text)
        return re.sub(r" or null| \| null|, default: (?:null|\[\])(?=\))", "", text)
