"""Every command: parse, call one function, print. What is heavy is imported by the command that needs it."""

import json
import os
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jsonargparse import (
    ActionConfigFile,
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from mlcmr import __version__
from mlcmr.errors import UserError

_FIRST_STEPS = """
first steps:
  mlcmr sample demo                       draw a small collection of clips with captions in four languages
  mlcmr train configs/sample/parallel.yaml --rootpath demo
  mlcmr evaluate runs/sample-parallel     the table, results.json and report.html
  mlcmr index demo/sample --run runs/sample-parallel
  mlcmr search "一个红色的圆向左移动"       in any language of the model; or mlcmr serve, for the page

completion:
  eval "$(mlcmr --print-completion shtab-bash)"      or shtab-zsh
"""
# Threads that wait for each other should sleep, not spin: on a machine with other work, training is several
# times as fast. It holds when it is said before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A wheel keeps the recipes inside the package, a checkout at its top.
_PLACES = (Path(__file__).parent / "configs", Path(__file__).parents[2] / "configs")
RECIPES = next((place for place in _PLACES if place.is_dir()), _PLACES[0])


class _Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's help, with examples left as they are written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, or 2 when the user has something to mend."""
    try:
        words = _spelled(sys.argv[1:] if arguments is None else arguments)
        parser, subparsers = _parsers()
        parsed = parser.parse_args(words)
        if parsed.command is None:
            parser.print_help()
            return 0
        return _COMMANDS[parsed.command].run(subparsers[parsed.command], parsed[parsed.command])
    except (UserError, ArgumentError) as error:
        print(f"mlcmr: {_one_line(str(error))}", file=sys.stderr)
        return 2
    except UnicodeDecodeError as error:  # jsonargparse reads `--config` itself
        print(f"mlcmr: a file given as an option is not UTF-8: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mlcmr: interrupted; the same command again goes on where this one can", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `mlcmr … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# ─── train ───────────────────────────────────────────────────────────────────────────────────────────────


def _train_parser(parser: ArgumentParser) -> None:
    from mlcmr.training.config import TrainConfig

    parser.add_argument("--config", action=ActionConfigFile, help="The recipe; also given as the first word.")
    parser.add_class_arguments(TrainConfig)


def _train(parser: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.config import from_parsed
    from mlcmr.training.config import TrainConfig

    config = from_parsed(TrainConfig, parser, parsed)
    from mlcmr.training.run import is_first_process
    from mlcmr.training.train import train

    run = train(config)
    if is_first_process():
        print(f"best model: {run.model}")
        print(f"evaluate:   mlcmr evaluate {run.folder}")
    return 0


# ─── evaluate ────────────────────────────────────────────────────────────────────────────────────────────


def _evaluate_parser(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="The run folder that `mlcmr train` wrote.")
    parser.add_argument(
        "--target", nargs="+", default=[], help="Languages to query in; by default those of the run."
    )
    parser.add_argument("--split", default="test", help="The split.")
    parser.add_argument(
        "--fusion_weight",
        type=float | None,
        help="Weight of a query against its machine translation, 0 … 1; by default the published one.",
    )
    parser.add_argument("--rootpath", type=str | None, help="Where the collections are now.")
    parser.add_argument("--collection", type=str | None, help="Another collection than in training.")
    parser.add_argument("--feature", type=str | None, help="Another feature folder than in training.")
    parser.add_argument("--device", default="auto", help="`cpu`, `cuda` or `auto`.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def _evaluate(_: ArgumentParser, parsed: Namespace) -> int:
    from rich.console import Console

    from mlcmr.evaluation.evaluate import evaluate_run
    from mlcmr.evaluation.table import ResultsTable

    changed = {name: parsed[name] for name in ("rootpath", "collection", "feature") if parsed[name]}
    evaluations = evaluate_run(
        parsed.run,
        changed,
        targets=parsed.target,
        split=parsed.split,
        fusion_weight=parsed.fusion_weight,
        device=parsed.device,
    )
    results = [evaluation.results for evaluation in evaluations]
    if parsed.json:
        print(json.dumps([one.to_dict() for one in results], indent=2, ensure_ascii=False))
        return 0
    Console().print(ResultsTable(results))
    print(f"report:  {Path(parsed.run) / 'report.html'}")
    print(f"results: {Path(parsed.run) / 'results.json'}")
    return 0


# ─── check ───────────────────────────────────────────────────────────────────────────────────────────────


def _check_parser(parser: ArgumentParser) -> None:
    parser.add_argument("collection", help="The collection's folder, <rootpath>/<collection>.")
    parser.add_argument("--feature", type=str | None, help="Check this feature only.")


def _check(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.data.check import check_collection, print_report
    from mlcmr.display import Display

    with Display() as display, display.steps() as progress:
        report = check_collection(parsed.collection, parsed.feature, progress)
    print_report(report)
    return 2 if report.problems else 0


# ─── extract ─────────────────────────────────────────────────────────────────────────────────────────────


def _extract_parser(parser: ArgumentParser) -> None:
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
    parser.add_argument("--device", default="auto", help="`cpu`, `cuda` or `auto`.")
    parser.add_argument(
        "--workers", type=int | None, help="Files decoded at a time; by default as many as processors."
    )


def _extract(_: ArgumentParser, parsed: Namespace) -> int:
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
            display=display,
        )
    print(summary)
    return 0


# ─── prepare ─────────────────────────────────────────────────────────────────────────────────────────────


def _prepare_parser(parser: ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        help="VATEX's or MSR-VTT's annotation JSON; or tables with a caption a row: CSV, TSV, JSON lines, a "
        "JSON list of objects, Parquet.",
    )
    parser.add_argument("--collection", required=True, help="The collection's folder; no captions in it yet.")
    for kind, likely in {
        "video": "`video`, `video_id`, `clip`, `path`, `id` …; file endings do not count",
        "text": "`caption`, `text`, `sentence`, `description` …; may hold lists in JSON and Parquet",
        "language": "`language`, `lang`, `locale`",
        "split": "`split`, `subset`, `partition`",
    }.items():
        parser.add_argument(
            f"--{kind}_column", type=str | None, help=f"Its name; by default found: {likely}."
        )
    parser.add_argument(
        "--language",
        nargs="+",
        default=[],
        help="The language of all captions, or of each file in turn; goes before a column.",
    )
    parser.add_argument(
        "--split",
        nargs="+",
        default=[],
        help="The split of all captions, or of each file in turn: `train`, `val`, `test`; goes before "
        "columns and file names.",
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        type=float,
        default=[],
        help="Make splits by chance, of these shares of the videos, whatever the files say; where they say "
        "nothing, 0.8 0.1 0.1.",
    )
    parser.add_argument(
        "--split_lists",
        nargs="+",
        default=[],
        help="Take the splits from lists of videos, as test=FILE; videos in none are left out.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Another seed makes other splits by chance.")
    parser.add_argument(
        "--pair",
        action="store_true",
        help="Leave out captions that lack a counterpart in another language of their video.",
    )


def _prepare(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.data.annotations import Columns
    from mlcmr.data.prepare import parse_lists, prepare, print_summary
    from mlcmr.display import Display

    kinds = ("video", "text", "language", "split")
    with Display() as display, display.steps() as progress:
        summary = prepare(
            parsed.files,
            parsed.collection,
            columns=Columns(**{kind: parsed[f"{kind}_column"] for kind in kinds}),
            languages=parsed.language,
            splits=parsed.split,
            shares=parsed.splits,
            lists=parse_lists(parsed.split_lists),
            seed=parsed.seed,
            pair=parsed.pair,
            progress=progress,
        )
    print_summary(summary)
    print(f"check: mlcmr check {parsed.collection}")
    return 0


# ─── translate ───────────────────────────────────────────────────────────────────────────────────────────


def _translate_parser(parser: ArgumentParser) -> None:
    parser.add_argument("collection", help="The collection's folder, <rootpath>/<collection>.")
    parser.add_argument("--from", required=True, help="The language to translate from.")
    parser.add_argument("--to", required=True, help="The language to translate into.")
    parser.add_argument(
        "--model", required=True, help="A Marian, NLLB, M2M100, mBART or T5 model, by hub id or folder."
    )
    parser.add_argument(
        "--split", nargs="+", default=[], help="The splits; by default all with captions in that language."
    )
    parser.add_argument(
        "--engine", type=str | None, help="What the files are called after; by default the model's name."
    )
    parser.add_argument(
        "--source_code", type=str | None, help="The model's own code for the first language, if not found."
    )
    parser.add_argument(
        "--target_code", type=str | None, help="The model's own code for the second language, if not found."
    )
    parser.add_argument("--batch_size", type=int, default=32, help="Captions translated together.")
    parser.add_argument("--beams", type=int, default=4, help="Beams of the search; 1 is the fastest.")
    parser.add_argument("--longest", type=int, default=200, help="Translations are cut to so many tokens.")
    parser.add_argument("--device", default="auto", help="`cpu`, `cuda` or `auto`.")


def _translate(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.display import Display
    from mlcmr.translation.translate import translate

    with Display() as display:
        files = translate(
            parsed.collection,
            source=parsed["from"],
            target=parsed.to,
            model=parsed.model,
            splits=parsed.split,
            engine=parsed.engine,
            source_code=parsed.source_code,
            target_code=parsed.target_code,
            batch_size=parsed.batch_size,
            beams=parsed.beams,
            longest=parsed.longest,
            device=parsed.device,
            work=display.work,
        )
    for file in files:
        print(file)
    return 0


# ─── features ────────────────────────────────────────────────────────────────────────────────────────────


def _features_parser(parser: ArgumentParser) -> None:
    conversions = parser.add_subcommands(dest="conversion", required=True)

    def conversion(name: str, purpose: str, *arguments: tuple[str, dict[str, Any]]) -> None:
        sub = ArgumentParser(exit_on_error=False, formatter_class=_Help, description=purpose)
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


def _features(_: ArgumentParser, parsed: Namespace) -> int:
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


# ─── index ───────────────────────────────────────────────────────────────────────────────────────────────


def _index_parser(parser: ArgumentParser) -> None:
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
    parser.add_argument("--remove", nargs="+", default=[], help="Ids of videos to take out.")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="Take out videos that are gone from the source.",
    )
    parser.add_argument("--captions", type=bool, default=True, help="Index the collection's captions too.")
    parser.add_argument(
        "--url",
        type=str | None,
        help="A Qdrant server that keeps the vectors; its key is in the environment's QDRANT_API_KEY.",
    )
    parser.add_argument(
        "--name", type=str | None, help="What its collections there are called; by default as the index."
    )
    parser.add_argument("--device", default="auto", help="`cpu`, `cuda` or `auto`.")


def _index(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.display import Display
    from mlcmr.search.index import index_videos

    with Display() as display:
        print(index_videos(**dict(parsed), display=display))
    print(f'search:  mlcmr search "…" --index {parsed.to}')
    return 0


# ─── search ──────────────────────────────────────────────────────────────────────────────────────────────


def _search_parser(parser: ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", help="What to look for, in any language that the model knows.")
    parser.add_argument("--index", default="index", help="The index that `mlcmr index` wrote.")
    parser.add_argument(
        "--language", type=str | None, help="Of the text, or of --captions; by default guessed, or any."
    )
    parser.add_argument("-k", type=int, default=10, help="How many hits.")
    parser.add_argument("--video", type=str | None, help="Instead of a text: a video or image file.")
    parser.add_argument("--similar", type=str | None, help="Instead of a text: the id of an indexed video.")
    parser.add_argument("--segment", type=int, default=0, help="Which segment of that video, from 0.")
    parser.add_argument(
        "--captions",
        action="store_true",
        help="Find captions of that video or file, not videos.",
    )
    parser.add_argument(
        "--filter",
        nargs="+",
        default=[],
        help="What hits must meet: duration, start, end, width or height with < <= > >= =, as 'duration<60'; "
        "kind=image; video=ID; path~PART.",
    )
    parser.add_argument("--device", default="auto", help="`cpu`, `cuda` or `auto`.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def _search(_: ArgumentParser, parsed: Namespace) -> int:
    from dataclasses import asdict

    from mlcmr.search.filters import Filters

    asked = [one for one in (parsed.text, parsed.video, parsed.similar) if one is not None]
    if len(asked) != 1:
        raise UserError("say what to look for: a text, --video FILE or --similar VIDEO, one of the three")
    if parsed.captions and parsed.text is not None:
        raise UserError("--captions finds those of a video: give --video FILE or --similar VIDEO")
    limits: dict[str, Any] = {"k": parsed.k, "filters": Filters.parse(parsed.filter)}
    from mlcmr.search.searcher import Searcher
    from mlcmr.search.show import captions_table, hits_table, print_found

    searcher = Searcher(parsed.index, device=parsed.device)
    if parsed.captions:
        captions = searcher.captions(asked[0], k=parsed.k, language=parsed.language)
        found, table = [asdict(hit) for hit in captions], captions_table(captions)
    else:
        if parsed.video is not None:
            hits = searcher.search_file(parsed.video, **limits)
        elif parsed.similar is not None:
            hits = searcher.similar(parsed.similar, parsed.segment, **limits)
        else:
            hits = searcher.search(parsed.text, language=parsed.language, **limits)
        found, table = [asdict(hit) for hit in hits], hits_table(hits)
    if parsed.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    print_found(table, searcher)
    return 0


# ─── serve ───────────────────────────────────────────────────────────────────────────────────────────────


def _serve_parser(parser: ArgumentParser) -> None:
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
        "--rate", type=float, default=20.0, help="Requests a second and client, in the long run; 0: any."
    )
    parser.add_argument("--waiting", type=int, default=256, help="Queries that may wait; more are refused.")
    parser.add_argument("--uploads", type=int, default=4, help="Uploads at a time.")
    parser.add_argument("--upload_mb", type=int, default=200, help="The largest upload, in MB.")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="How long an upload or a search may take."
    )
    parser.add_argument("--open", action="store_true", help="Open the page in a browser.")
    parser.add_argument("--device", default="auto", help="`cpu`, `cuda` or `auto`.")


def _serve(_: ArgumentParser, parsed: Namespace) -> int:
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


# ─── sample ──────────────────────────────────────────────────────────────────────────────────────────────


def _sample_parser(parser: ArgumentParser) -> None:
    parser.add_argument("rootpath", help="The folder to make; the collection is <rootpath>/sample.")
    parser.add_argument("--videos", type=int, default=2000, help="How many clips; an even number.")
    parser.add_argument("--seed", type=int, default=0, help="Another seed draws another world.")


def _sample(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.data.sample import make_sample
    from mlcmr.display import Display

    with Display() as display, display.steps() as progress:
        summary = make_sample(
            Path(parsed.rootpath), videos=parsed.videos, seed=parsed.seed, progress=progress
        )
    print(summary)
    print(f"train:  mlcmr train configs/sample/parallel.yaml --rootpath {parsed.rootpath}")
    return 0


# ─── import-checkpoint ───────────────────────────────────────────────────────────────────────────────────


def _import_parser(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="The published model_best.pth.tar.")
    parser.add_argument("--to", required=True, help="The model folder to make.")
    parser.add_argument(
        "--encoder",
        default="bert-base-multilingual-cased",
        help="The text encoder that it was trained from, by hub id or folder.",
    )


def _import(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.model.published import import_checkpoint

    import_checkpoint(parsed.checkpoint, parsed.to, parsed.encoder)
    print(f"model: {parsed.to}")
    return 0


# ─── the commands ────────────────────────────────────────────────────────────────────────────────────────


class _Command(NamedTuple):
    purpose: str
    examples: str
    parser: Callable[[ArgumentParser], None]
    run: Callable[[ArgumentParser, Namespace], int]


_COMMANDS = {
    "train": _Command(
        "Trains a model by a recipe, or goes on where a run was interrupted.",
        """
  mlcmr train configs/vatex/parallel.yaml --rootpath ~/VisualSearch
  mlcmr train configs/sample/parallel.yaml --rootpath demo --run runs/deeper --model.text.new.layers 4
  mlcmr train configs/vatex/parallel.yaml --model.text.encoder xlm-roberta-base --model.text.lowercase null
  mlcmr train configs/vatex/parallel.yaml --print_config     all settings, resolved""",
        _train_parser,
        _train,
    ),
    "evaluate": _Command(
        "Evaluates a run: the table, results.json and report.html.",
        """
  mlcmr evaluate runs/vatex-parallel                       every language of the run
  mlcmr evaluate runs/vatex-parallel --target zh --split val
  mlcmr evaluate runs/vatex-parallel --fusion-weight 0.7 --json""",
        _evaluate_parser,
        _evaluate,
    ),
    "check": _Command(
        "Finds now what would go wrong later in a collection. Changes nothing.",
        """
  mlcmr check ~/VisualSearch/vatex
  mlcmr check ~/VisualSearch/vatex --feature i3d_kinetics""",
        _check_parser,
        _check,
    ),
    "extract": _Command(
        "Frame features, segments and thumbnails of videos and images. Goes on where it was interrupted.",
        """
  mlcmr extract ~/Videos --collection VisualSearch/mine --encoder openai/clip-vit-base-patch16
  mlcmr extract ~/Videos --collection VisualSearch/mine --encoder models/siglip --rate 1 --segment shots
  mlcmr extract demo/sample/VideoData --collection VisualSearch/drawn       without any model""",
        _extract_parser,
        _extract,
    ),
    "prepare": _Command(
        "A collection's captions from VATEX's or MSR-VTT's annotations, or from tables of your own.",
        """
  mlcmr prepare vatex_training_v1.0.json vatex_validation_v1.0.json --collection VisualSearch/vatex
  mlcmr prepare train_val_videodatainfo.json test_videodatainfo.json --collection VisualSearch/msrvtt
  mlcmr prepare captions.csv --collection VisualSearch/mine       columns video, caption, language
  mlcmr prepare en.tsv zh.tsv --language en zh --splits 0.9 0.05 0.05 --collection VisualSearch/mine
  mlcmr prepare all.parquet --text_column german --language de --collection VisualSearch/mine
  mlcmr prepare MSRVTT_data.json --split_lists train=9k.csv test=1kA.csv --collection VisualSearch/1kA""",
        _prepare_parser,
        _prepare,
    ),
    "translate": _Command(
        "Translates a collection's captions by machine. Goes on where it was interrupted.",
        """
  mlcmr translate VisualSearch/mine --from en --to zh --model Helsinki-NLP/opus-mt-en-zh
  mlcmr translate VisualSearch/mine --from zh --to en --model facebook/nllb-200-distilled-600M --split test
  mlcmr translate VisualSearch/mine --from en --to zh --model models/mine --engine mine --batch-size 128
  mlcmr train --scenario pseudo-parallel --target zh --engine opus-mt-en-zh --collection mine ...""",
        _translate_parser,
        _translate,
    ),
    "index": _Command(
        "Makes videos findable: extracts, embeds and stores them; only what is new or has changed.",
        """
  mlcmr index ~/Videos --run runs/sample-parallel
  mlcmr index ~/VisualSearch/vatex --run runs/vatex-parallel --to vatex-index
  mlcmr index ~/Videos --model google/siglip-base-patch16-256-multilingual
  mlcmr index ~/Videos --prune           bring it up to date, without files that are gone""",
        _index_parser,
        _index,
    ),
    "search": _Command(
        "Finds videos by a text in any language, or by a video or image; or captions by a video.",
        """
  mlcmr search "a red circle moves left"
  mlcmr search "一只狗在接飞盘" -k 3 --filter 'duration<60' 'path~holiday/'
  mlcmr search --video clip.mp4 --json
  mlcmr search --similar holiday_beach --captions --language zh""",
        _search_parser,
        _search,
    ),
    "features": _Command(
        "Frame features from and to other forms.",
        """
  mlcmr features from-text features.txt VisualSearch/mine/FeatureData/clip
  mlcmr features from-arrays arrays/ VisualSearch/mine/FeatureData/clip
  mlcmr features join FeatureData/resnext101 FeatureData/resnet152 FeatureData/resnext101-resnet152""",
        _features_parser,
        _features,
    ),
    "serve": _Command(
        "Serves an index: a search page for people, an API for programs.",
        """
  mlcmr serve                                    the index in ./index, on this machine only
  MLCMR_TOKEN=… mlcmr serve films --host 0.0.0.0 --port 80""",
        _serve_parser,
        _serve,
    ),
    "sample": _Command(
        "Draws a small collection: clips, captions in four languages, frame features.",
        """
  mlcmr sample demo""",
        _sample_parser,
        _sample,
    ),
    "import-checkpoint": _Command(
        "Turns a checkpoint of the published code into a model folder. Nothing in it is executed.",
        """
  mlcmr import-checkpoint model_best.pth.tar --to models/vatex-parallel""",
        _import_parser,
        _import,
    ),
}


def _parsers() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    set_parsing_settings(add_print_completion_argument=True)
    parser = ArgumentParser(
        prog="mlcmr",
        description="Find videos with a sentence in any language: train, evaluate and serve MLCMR.",
        epilog=_FIRST_STEPS,
        formatter_class=_Help,
        exit_on_error=False,
        version=__version__,
    )
    commands = parser.add_subcommands(dest="command", required=False)
    subparsers = {}
    for name, command in _COMMANDS.items():
        sub = ArgumentParser(
            description=command.purpose,
            epilog=f"examples:{command.examples}",
            formatter_class=_Help,
            exit_on_error=False,
        )
        commands.add_subcommand(name, sub, help=command.purpose)
        command.parser(sub)
        subparsers[name] = sub
    return parser, subparsers


def _spelled(words: Sequence[str]) -> list[str]:
    """The command line as the parser reads it: a recipe as the first word; dashes as good as underscores."""
    spelled = []
    for word in words:
        name, equals, value = word.partition("=")
        option = name.startswith("--") and len(name) > 2
        spelled.append(f"--{name[2:].replace('-', '_')}{equals}{value}" if option else word)
    if len(spelled) > 1 and spelled[0] == "train" and not spelled[1].startswith("-"):
        spelled[1:2] = ["--config", str(_recipe(spelled[1]))]
    return spelled


def _recipe(name: str) -> Path:
    """A recipe by file, or by the name that it has in `configs/`, as in a wheel."""
    path = Path(name)
    bundled = RECIPES / name.removeprefix("configs/").removesuffix(".yaml")
    if not path.exists() and bundled.with_suffix(".yaml").exists():
        return bundled.with_suffix(".yaml")
    if not path.is_file():
        raise UserError(f"{path}: no such recipe; see configs/, or write a YAML file of settings")
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(f"{path}: not UTF-8: byte {byte:#04x}; save it as UTF-8") from error
    return path


def _one_line(message: str) -> str:
    return " ".join(message.split())
