"""`mlcmr search`."""

from dataclasses import replace
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.command import add_config, add_option, add_positional, type_of
from mlcmr.cli.signature import Parameter, read_signature
from mlcmr.errors import InvalidValueError
from mlcmr.settings import require_type

_TEXT = Parameter("text", (str, None), False, None, "The text, in any language that the model knows.")
_OWN = (
    Parameter(
        "language",
        (str, None),
        False,
        None,
        "The language of the text, or of the captions to find; by default guessed, or any.",
    ),
    Parameter("video", (str, None), False, None, "Instead of a text: a video or image file."),
    Parameter("similar", (str, None), False, None, "Instead of a text: the id of an indexed video."),
    Parameter(
        "segment", (int, None), False, None, "The segment of that video, from 0; by default the first."
    ),
    Parameter("captions", (bool,), False, False, "Find captions of that video or file, not videos."),
    Parameter("json", (bool,), False, False, "Print JSON."),
)
_FILTER = Parameter(
    "filter",
    (str,),
    True,
    (),
    "A condition on hits: duration, start, end, width or height with < <= > >= =, as 'duration<60'; "
    "kind=image; video=ID, video!=ID; path=FILE, path~PART. May be given several times.",
)


class _SearchCommand:
    """The command: one option set for the ways to search of `Searcher`."""

    purpose = "Find videos by a text in any language, or by a video or image; or captions by a video."
    examples = """
  mlcmr search "a red circle moves left"
  mlcmr search "一只狗在接飞盘" -k 3 --filter 'duration<60' --filter 'path~holiday/'
  mlcmr search --video clip.mp4 --json
  mlcmr search --similar holiday_beach --captions --language zh"""

    def add_arguments(self, parser: ArgumentParser, *, configured: bool = False) -> None:  # noqa: ARG002
        add_config(parser)
        text, *options = _read_parameters()
        add_positional(parser, text)
        for parameter in options:
            names = ("model",) if parameter.name == "models" else ()
            add_option(parser, parameter, names, repeated=parameter.many)

    def run(self, _: ArgumentParser, parsed: Namespace) -> int:
        from mlcmr.search.filters import Filters

        for parameter in _read_parameters():  # a file of options may hold any value
            if parsed[parameter.name] != parameter.default:
                require_type(parsed[parameter.name], type_of(parameter), parameter.name)
        queries = [query for query in (parsed.text, parsed.video, parsed.similar) if query is not None]
        if len(queries) != 1:
            raise InvalidValueError("give one query: a text, --video FILE, or --similar VIDEO")
        _require_use(parsed)
        limits: dict[str, Any] = {"k": parsed.k, "filters": Filters.parse(parsed.filter)}
        from mlcmr.cli.render import note_unknown_language, print_captions, print_hits
        from mlcmr.search.searcher import Searcher

        searcher = Searcher(parsed.index, device=parsed.device, url=parsed.url, models=parsed.models)
        if parsed.captions:
            find = searcher.captions if parsed.video is None else searcher.captions_of_file
            captions = find(queries[0], k=parsed.k, language=parsed.language)
            print_captions(captions, searcher, as_json=parsed.json)
            return 0
        if parsed.video is not None:
            hits = searcher.search_file(parsed.video, **limits)
        elif parsed.similar is not None:
            hits = searcher.similar(parsed.similar, parsed.segment or 0, **limits)
        else:
            hits = searcher.search(parsed.text, language=parsed.language, **limits)
            note_unknown_language(parsed.text, parsed.language, searcher)
        print_hits(hits, searcher, as_json=parsed.json)
        return 0


def _read_parameters() -> list[Parameter]:
    searcher = read_signature("mlcmr:Searcher").parameters
    search = read_signature("mlcmr.search.searcher:Searcher.search").parameters
    index = replace(searcher["index"], default="index")
    return [
        _TEXT,
        index,
        search["k"],
        *_OWN,
        searcher["url"],
        searcher["device"],
        _FILTER,
        searcher["models"],
    ]


def _require_use(parsed: Namespace) -> None:
    """Refuse options that would have no effect."""
    if parsed.captions and parsed.text is not None:
        raise InvalidValueError("--captions finds captions of a video; give --video FILE or --similar VIDEO")
    if parsed.captions and parsed.filter:
        raise InvalidValueError("--filter is for videos, and --captions finds captions; give one of them")
    if parsed.segment is not None and (parsed.similar is None or parsed.captions):
        raise InvalidValueError("--segment is for --similar VIDEO, without --captions")
    if parsed.language is not None and parsed.text is None and not parsed.captions:
        raise InvalidValueError("--language is for a text, or for --captions")


COMMAND = _SearchCommand()
