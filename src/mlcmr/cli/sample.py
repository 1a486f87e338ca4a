"""`mlcmr sample`."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

PURPOSE = "Draws a small collection: clips, captions in four languages, frame features."
EXAMPLES = """
  mlcmr sample demo"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("rootpath", help="The folder to make; the collection is <rootpath>/sample.")
    parser.add_argument("--videos", type=int, default=2000, help="How many clips; an even number.")
    parser.add_argument("--seed", type=int, default=0, help="Another seed draws another world.")


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.data.sample import make_sample
    from mlcmr.display import Display

    with Display() as display, display.steps() as progress:
        summary = make_sample(
            Path(parsed.rootpath), videos=parsed.videos, seed=parsed.seed, progress=progress
        )
    print(summary)
    print(f"train:  mlcmr train configs/sample/parallel.yaml --rootpath {parsed.rootpath}")
    return 0
