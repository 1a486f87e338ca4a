"""`mlcmr prepare`."""

from jsonargparse import ArgumentParser, Namespace

PURPOSE = "A collection's captions from VATEX's or MSR-VTT's annotations, or from tables of your own."
EXAMPLES = """
  mlcmr prepare vatex_training_v1.0.json vatex_validation_v1.0.json --collection VisualSearch/vatex
  mlcmr prepare train_val_videodatainfo.json test_videodatainfo.json --collection VisualSearch/msrvtt
  mlcmr prepare captions.csv --collection VisualSearch/mine       columns video, caption, language
  mlcmr prepare en.tsv zh.tsv --language en zh --splits 0.9 0.05 0.05 --collection VisualSearch/mine
  mlcmr prepare all.parquet --text-column german --language de --collection VisualSearch/mine
  mlcmr prepare MSRVTT_data.json --split-lists train=9k.csv test=1kA.csv --collection VisualSearch/1kA"""


def add_arguments(parser: ArgumentParser) -> None:
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
            f"--{kind}_column", type=str | None, help=f"The column's name; by default one of {likely}."
        )
    parser.add_argument(
        "--language",
        nargs="+",
        action="extend",
        default=[],
        help="The language of all captions, or of each file in turn; goes before a column.",
    )
    parser.add_argument(
        "--split",
        nargs="+",
        action="extend",
        default=[],
        help="The split of all captions, or of each file in turn: `train`, `val`, `test`; goes before "
        "columns and file names.",
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        action="extend",
        type=float,
        default=[],
        help="Make splits by chance, of these shares of the videos, whatever the files say; where they say "
        "nothing, 0.8 0.1 0.1.",
    )
    parser.add_argument(
        "--split_lists",
        nargs="+",
        action="extend",
        default=[],
        help="Take the splits from lists of videos, as test=FILE; videos in none are left out.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Another seed makes other splits by chance.")
    parser.add_argument(
        "--pair",
        action="store_true",
        help="Leave out captions that lack a counterpart in another language of their video.",
    )


def run(_: ArgumentParser, parsed: Namespace) -> int:
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
