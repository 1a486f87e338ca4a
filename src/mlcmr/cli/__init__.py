"""The command line: a module for each command, named as it is."""

from mlcmr.cli.program import main

__all__ = ["main"]
