"""`mlcmr search`."""

from typing import Any

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.options import add_device
from mlcmr.errors import UserError

PURPOSE = "Finds videos by a text in any language, or by a video or image; or captions by a video."
EXAMPLES = """
  mlcmr search "a red circle moves left"
  mlcmr search "一只狗在接飞盘" -k 3 --filter 'duration<60' --filter 'path~holiday/'
  mlcmr search --video clip.mp4 --json
  mlcmr search --similar holiday_beach --captions --language zh"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", help="What to look for, in any language that the model knows.")
    parser.add_argument("--index", default="index", help="The index that `mlcmr index` wrote.")
    parser.add_argument(
        "--language", type=str | None, help="Of the text, or of --captions; by default guessed, or any."
    )
    parser.add_argument("-k", type=int, default=10, help="How many hits.")
    parser.add_argument("--video", type=str | None, help="Instead of a text: a video or image file.")
    parser.add_argument("--similar", type=str | None, help="Instead of a text: the id of an indexed video.")
    parser.add_argument(
        "--segment", type=int | None, help="Which segment of that video, from 0; by default the first."
    )
    parser.add_argument(
        "--captions",
        action="store_true",
        help="Find captions of that video or file, not videos.",
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        help="What hits must meet: duration, start, end, width or height with < <= > >= =, as 'duration<60'; "
        "kind=image; video=ID; path~PART. May be given several times.",
    )
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.search.filters import Filters

    asked = [one for one in (parsed.text, parsed.video, parsed.similar) if one is not None]
    if len(asked) != 1:
        raise UserError("say what to look for: a text, --video FILE or --similar VIDEO, one of the three")
    _require_use(parsed)
    limits: dict[str, Any] = {"k": parsed.k, "filters": Filters.parse(parsed.filter)}
    from mlcmr.search.searcher import Searcher
    from mlcmr.search.show import print_captions, print_hits, tell_of_language

    searcher = Searcher(parsed.index, device=parsed.device)
    if parsed.captions:
        find = searcher.captions if parsed.video is None else searcher.captions_of_file
        captions = find(asked[0], k=parsed.k, language=parsed.language)
        print_captions(captions, searcher, as_json=parsed.json)
        return 0
    if parsed.video is not None:
        hits = searcher.search_file(parsed.video, **limits)
    elif parsed.similar is not None:
        hits = searcher.similar(parsed.similar, parsed.segment or 0, **limits)
    else:
        hits = searcher.search(parsed.text, language=parsed.language, **limits)
        tell_of_language(parsed.text, parsed.language, searcher)
    print_hits(hits, searcher, as_json=parsed.json)
    return 0


def _require_use(parsed: Namespace) -> None:
    """Refuses what would make no difference."""
    if parsed.captions and parsed.text is not None:
        raise UserError("--captions finds those of a video; give --video FILE or --similar VIDEO")
    if parsed.captions and parsed.filter:
        raise UserError("--filter limits videos, and --captions finds captions; give one of them")
    if parsed.segment is not None and (parsed.similar is None or parsed.captions):
        raise UserError("--segment is for --similar VIDEO, without --captions")
    if parsed.language is not None and parsed.text is None and not parsed.captions:
        raise UserError("--language is for a text, or for --captions")
