"""`mlcmr translate`."""

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.options import add_device

PURPOSE = "Translates a collection's captions by machine. Goes on where it was interrupted."
EXAMPLES = """
  mlcmr translate VisualSearch/mine --from en --to zh --model Helsinki-NLP/opus-mt-en-zh
  mlcmr translate VisualSearch/mine --from zh --to en --model facebook/nllb-200-distilled-600M --split test
  mlcmr translate VisualSearch/mine --from en --to zh --model models/mine --engine mine --batch-size 128
  mlcmr train --scenario pseudo-parallel --target zh --engine opus-mt-en-zh --collection mine ..."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("collection", help="The collection's folder, <rootpath>/<collection>.")
    parser.add_argument("--from", required=True, help="The language to translate from.")
    parser.add_argument("--to", required=True, help="The language to translate into.")
    parser.add_argument(
        "--model", required=True, help="A Marian, NLLB, M2M100, mBART or T5 model, by hub id or folder."
    )
    parser.add_argument(
        "--split",
        nargs="+",
        action="extend",
        default=[],
        help="The splits; by default all with captions in that language.",
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
    add_device(parser)


def run(_: ArgumentParser, parsed: Namespace) -> int:
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
