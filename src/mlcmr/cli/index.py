"""`mlcmr index`."""

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.options import add_device

PURPOSE = "Makes videos findable: extracts, embeds and stores them; only what is new or has changed."
EXAMPLES = """
  mlcmr index ~/Videos --run runs/sample-parallel
  mlcmr index ~/VisualSearch/vatex --run runs/vatex-parallel --to vatex-index
  mlcmr index ~/Videos --model google/siglip-base-patch16-256-multilingual
  mlcmr index ~/Videos --prune           bring it up to date, without files that are gone
  mlcmr index --remove holiday_beach     take a video out"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source", nargs="?", help="A folder of videos and images, or a collection; not needed with --remove."
    )
    parser.add_argument("--to", default="index", help="The index, made if it is not there.")
    parser.add_argument(
        "--run", type=str | None, help="The run whose model embeds; by default that of the index."
    )
    parser.add_argument(
        "--model",
        type=str | None,
        help="Instead of a run: a pretrained model with towers for texts and for pictures (CLIP, SigLIP…) "
        "or an mlcmr model folder; by hub id or folder.",
    )
    parser.add_argument(
        "--encoder",
        type=str | None,
        help="What makes frame features from videos, by hub id or folder; by default what made those that "
        "the run was trained on, or the pretrained model itself.",
    )
    parser.add_argument(
        "--feature", type=str | None, help="The collection's feature; by default the one the run knows."
    )
    parser.add_argument("--remove", nargs="+", action="extend", default=[], help="Ids of videos to take out.")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="Take out videos that are gone from the source.",
    )
    parser.add_argument("--captions", type=bool, default=True, help="Index the collection's captions too.")
    parser.add_argument(
        "--url",
        type=str | None,
        help="The address of a Qdrant server that keeps the vectors, as http://host:6333; its key is in the "
        "environment's QDRANT_API_KEY.",
    )
    parser.add_argument(
        "--name", type=str | None, help="What its collections there are called; by default as the index."
    )
    add_device(parser)
    parser.add_argument(
        "--batch_size",
        type=int | None,
        help="Frame features made at a time; by default what suits the encoder.",
    )


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.display import Display
    from mlcmr.search.index import index_videos

    with Display() as display:
        print(index_videos(**dict(parsed), display=display))
    print(f'search:  mlcmr search "…" --index {parsed.to}')
    return 0
