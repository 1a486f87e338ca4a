"""`mlcmr import-checkpoint`."""

from jsonargparse import ArgumentParser, Namespace

PURPOSE = "Turns a checkpoint of the published code into a model folder. Nothing in it is executed."
EXAMPLES = """
  mlcmr import-checkpoint model_best.pth.tar --to models/vatex-parallel"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="The published model_best.pth.tar.")
    parser.add_argument("--to", required=True, help="The model folder to make.")
    parser.add_argument(
        "--encoder",
        default="bert-base-multilingual-cased",
        help="The text encoder that it was trained from, by hub id or folder.",
    )


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.model.published import import_checkpoint

    import_checkpoint(parsed.checkpoint, parsed.to, parsed.encoder)
    print(f"model: {parsed.to}")
    return 0
