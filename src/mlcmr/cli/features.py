"""`mlcmr features`."""

from collections.abc import Callable
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.options import Help

PURPOSE = "Frame features from and to other forms."
EXAMPLES = """
  mlcmr features from-text features.txt VisualSearch/mine/FeatureData/clip
  mlcmr features from-arrays arrays/ VisualSearch/mine/FeatureData/clip
  mlcmr features join FeatureData/resnext101 FeatureData/resnet152 FeatureData/resnext101-resnet152"""


def add_arguments(parser: ArgumentParser) -> None:
    conversions = parser.add_subcommands(dest="conversion", required=True)

    def conversion(name: str, purpose: str, *arguments: tuple[str, dict[str, Any]]) -> None:
        sub = ArgumentParser(exit_on_error=False, formatter_class=Help, description=purpose)
        conversions.add_subcommand(name, sub, help=purpose)
        for argument, options in arguments:
            sub.add_argument(argument, **options)

    folder = {"help": "The feature folder, <collection>/FeatureData/<feature>."}
    new = {"help": "The feature folder to make; it must not exist yet."}
    conversion(
        "from-text",
        "Lines of text, '<frame id> <number> <number> …', to a feature folder.",
        ("texts", {"nargs": "+", "help": "The text files, read one after the other."}),
        ("folder", new),
        ("--video2frames", {"type": str | None, "help": "A dict literal, video → frames in order."}),
    )
    conversion(
        "from-arrays",
        "NumPy arrays, one per video or one with ids, to a feature folder.",
        ("source", {"help": "A folder of <video>.npy, an .npz of arrays by video, or one array with ids."}),
        ("folder", new),
        (
            "--rows",
            {
                "type": Literal["frames", "videos"],
                "default": "frames",
                "help": "What the ids of one array name: its frames, or the videos that they belong to.",
            },
        ),
    )
    conversion(
        "to-arrays",
        "A feature folder to NumPy arrays.",
        ("folder", folder),
        ("target", {"help": "A name that ends in .npz, or a folder to fill with one <video>.npy each."}),
    )
    conversion(
        "join",
        "Two or more features of the same frames to one, as resnext101-resnet152 was made.",
        ("folders", {"nargs": "+", "help": "The feature folders to join; the first gives the order."}),
        ("folder", new),
    )
    conversion(
        "select",
        "The features of some videos.",
        ("folder", folder),
        ("videos", {"help": "A text file with one video id a line."}),
        ("target", new),
    )
    conversion(
        "video2frames",
        "Makes video2frames.txt from frame ids '<video>_<number>'.",
        ("folder", folder),
        ("--overwrite", {"action": "store_true", "help": "Replace the file where there is one."}),
    )


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.data import convert
    from mlcmr.display import Display

    functions: dict[str, Callable[..., Any]] = {
        "from-text": convert.text_to_features,
        "from-arrays": convert.arrays_to_features,
        "to-arrays": convert.features_to_arrays,
        "join": convert.join_features,
        "select": convert.select_videos,
    }
    options = dict(parsed[parsed.conversion])
    if parsed.conversion == "video2frames":
        size = convert.write_video2frames(**options)
    else:
        with Display() as display, display.steps() as progress:
            size = functions[parsed.conversion](**options, progress=progress)
    print(size)
    return 0
