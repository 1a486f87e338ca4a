"""What commands share: the form of their help, and options of several."""

from argparse import RawDescriptionHelpFormatter

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from mlcmr.cli.words import shown


class Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's help, with examples left as they are written, and options with dashes."""

    def format_help(self) -> str:
        """All of it."""
        return shown(super().format_help())


def add_device(parser: ArgumentParser) -> None:
    """`--device`, of every command that runs a model."""
    parser.add_argument("--device", default="auto", help="`cpu`, `cuda` or `auto`.")
