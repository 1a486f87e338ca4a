"""`mlcmr features`."""

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.command import FunctionCommand
from mlcmr.cli.help import Help
from mlcmr.settings import SettingsParser

_MODULE = "mlcmr.data.features.convert"
CONVERSIONS = {
    "from-text": FunctionCommand(f"{_MODULE}:text_to_features", positional=("texts", "folder")),
    "from-arrays": FunctionCommand(f"{_MODULE}:arrays_to_features", positional=("source", "folder")),
    "to-arrays": FunctionCommand(f"{_MODULE}:features_to_arrays", positional=("folder", "target")),
    "join": FunctionCommand(f"{_MODULE}:join_features", positional=("folders", "folder")),
    "select": FunctionCommand(
        f"{_MODULE}:select_videos", positional=("folder", "videos", "target"), single=("videos",)
    ),
    "video2frames": FunctionCommand(f"{_MODULE}:write_video2frames", positional=("folder",)),
}


class _FeaturesCommand:
    """A command of commands."""

    purpose = "Convert frame features from and to other forms."
    examples = """
  mlcmr features from-text features.txt VisualSearch/mine/FeatureData/clip
  mlcmr features from-arrays arrays/ VisualSearch/mine/FeatureData/clip
  mlcmr features join FeatureData/resnext101 FeatureData/resnet152 FeatureData/resnext101-resnet152"""

    def add_arguments(self, parser: ArgumentParser, *, configured: bool = False) -> None:
        """Add the conversions to a parser."""
        conversions = parser.add_subcommands(dest="conversion", required=False)
        for name, conversion in CONVERSIONS.items():
            sub = SettingsParser(exit_on_error=False, formatter_class=Help, description=conversion.purpose)
            conversions.add_subcommand(name, sub, help=conversion.purpose)
            conversion.add_arguments(sub, configured=configured)

    def run(self, parser: ArgumentParser, parsed: Namespace) -> int:
        """Run a conversion; without one, list them."""
        if parsed.conversion is None:
            parser.print_help()
            return 0
        return CONVERSIONS[parsed.conversion].run(parser, parsed[parsed.conversion])


COMMAND = _FeaturesCommand()
