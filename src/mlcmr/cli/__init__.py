"""The command line: one module per command."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0, 2 after an error of the user, 130 after Ctrl-C."""
    try:
        from mlcmr.cli.app import run  # an import that takes long enough to be interrupted

        return run(arguments)
    except KeyboardInterrupt:
        print("mlcmr: interrupted; the same command continues long work", file=sys.stderr)
        return 130
