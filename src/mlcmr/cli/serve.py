"""`mlcmr serve`."""

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.options import add_device

PURPOSE = "Serves an index: a search page for people, an API for programs."
EXAMPLES = """
  mlcmr serve                                    the index in ./index, on this machine only
  MLCMR_TOKEN=… mlcmr serve films --host 0.0.0.0 --port 80"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("index", nargs="?", default="index", help="The index that `mlcmr index` wrote.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="The address to listen at; one that others reach needs a token."
    )
    parser.add_argument("--port", type=int, default=8000, help="The port; 0 takes a free one.")
    parser.add_argument(
        "--token",
        type=str | None,
        help="What clients must show; better in the environment's MLCMR_TOKEN, where others do not see it.",
    )
    parser.add_argument(
        "--rate", type=float, default=20.0, help="Requests per second and client; 0: no limit."
    )
    parser.add_argument("--waiting", type=int, default=256, help="Queries that may wait; more are refused.")
    parser.add_argument("--uploads", type=int, default=4, help="Uploads at a time.")
    parser.add_argument("--upload_mb", type=int, default=200, help="The largest upload, in MB.")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="How long an upload or a search may take."
    )
    parser.add_argument("--open", action="store_true", help="Open the page in a browser.")
    add_device(parser)


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.search.serve import serve
    from mlcmr.search.service import Limits

    limits = Limits(parsed.rate, parsed.waiting, parsed.uploads, parsed.upload_mb, parsed.seconds)
    serve(
        parsed.index,
        host=parsed.host,
        port=parsed.port,
        token=parsed.token,
        limits=limits,
        device=parsed.device,
        browse=parsed.open,
    )
    return 0
