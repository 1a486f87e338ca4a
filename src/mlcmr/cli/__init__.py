"""The command line: a module for each command, named as it is."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, 2 when the user has something to mend, 130 after Ctrl-C."""
    try:
        from mlcmr.cli.program import run  # whose import takes long enough to be interrupted

        return run(arguments)
    except KeyboardInterrupt:
        print("mlcmr: interrupted; long work goes on when it is started again", file=sys.stderr)
        return 130
