"""`mlcmr extract`."""

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.options import add_device

PURPOSE = "Frame features, segments and thumbnails of videos and images. Goes on where it was interrupted."
EXAMPLES = """
  mlcmr extract ~/Videos --collection VisualSearch/mine --encoder openai/clip-vit-base-patch16
  mlcmr extract ~/Videos --collection VisualSearch/mine --encoder models/siglip --rate 1 --segment shots
  mlcmr extract demo/sample/VideoData --collection VisualSearch/drawn       without any model"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("videos", help="A folder of videos and images, with all folders in it; or one file.")
    parser.add_argument(
        "--collection", required=True, help="The collection's folder, made if it is not there."
    )
    parser.add_argument(
        "--encoder",
        default="hues228",
        help="A Hugging Face image or video model by hub id or folder; by default a light description of "
        "colours and motion, which needs no download, is good for the drawn sample and tells little of real "
        "footage.",
    )
    parser.add_argument("--feature", type=str | None, help="The feature's name; by default the encoder's.")
    parser.add_argument(
        "--rate", type=float | None, help="Frames a second; by default what suits the encoder, 2 to 8."
    )
    parser.add_argument(
        "--count", type=int | None, help="Instead: so many evenly spaced frames of each video."
    )
    parser.add_argument(
        "--segment", default="10", help="The length of segments in seconds, `shots`, or `none`."
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="Remove videos from the collection whose files are gone from VIDEOS; without it they are kept.",
    )
    add_device(parser)
    parser.add_argument(
        "--workers", type=int | None, help="Files decoded at a time; by default as many as processors."
    )
    parser.add_argument(
        "--batch_size", type=int | None, help="Features made at a time; by default what suits the encoder."
    )
    parser.add_argument(
        "--ray",
        type=str | None,
        help="Extract on the Ray cluster at this address; `auto`: the one this machine belongs to; `local`: "
        "one of its own, to try it. Needs pip install 'mlcmr[ray]'.",
    )


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.display import Display
    from mlcmr.extraction.extract import extract
    from mlcmr.extraction.segments import parse_rule

    with Display() as display:
        summary = extract(
            parsed.videos,
            parsed.collection,
            encoder=parsed.encoder,
            feature=parsed.feature,
            rate=parsed.rate,
            count=parsed.count,
            segment=parse_rule(parsed.segment),
            prune=parsed.prune,
            device=parsed.device,
            workers=parsed.workers,
            batch_size=parsed.batch_size,
            cluster=parsed.ray,
            display=display,
        )
    print(summary)
    return 0
