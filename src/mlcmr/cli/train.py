"""`mlcmr train`."""

from argparse import SUPPRESS

from jsonargparse import ArgumentParser, Namespace

from mlcmr.cli.command import add_config
from mlcmr.cli.signature import read_signature
from mlcmr.errors import MlcmrError


class _TrainCommand:
    """The command: its options are the settings, nested ones with dots."""

    examples = """
  mlcmr train configs/vatex/parallel.yaml --rootpath ~/VisualSearch
  mlcmr train configs/sample/parallel.yaml --rootpath demo --run runs/deeper --model.text.new.layers 4
  mlcmr train configs/vatex/parallel.yaml --seeds 3          runs with the seeds 0, 1 and 2
  mlcmr train configs/vatex/parallel.yaml --model.text.encoder xlm-roberta-base --model.text.lowercase null
  mlcmr train configs/vatex/parallel.yaml --print-config     all settings, resolved"""

    @property
    def purpose(self) -> str:
        return read_signature("mlcmr:train").summary

    def add_arguments(self, parser: ArgumentParser, *, configured: bool = False) -> None:  # noqa: ARG002
        from mlcmr.training.config import TrainConfig

        add_config(parser, "The recipe; also given as the first word.")
        parser.add_class_arguments(TrainConfig)
        seeds = read_signature("mlcmr:train_seeds").parameters["seeds"]
        # Without a default: `--print-config` shows it only if it is given, so that recipes stay settings.
        parser.add_argument(
            "--seeds", type=int, action="extend", nargs="+", default=SUPPRESS, help=seeds.help
        )

    def run(self, parser: ArgumentParser, parsed: Namespace) -> int:
        from mlcmr.settings import from_parsed
        from mlcmr.training.config import TrainConfig

        config = from_parsed(TrainConfig, parsed)
        config.require_names()
        from mlcmr.cli.completion import options_of
        from mlcmr.cli.display import Display
        from mlcmr.training import train, train_seeds
        from mlcmr.training.distributed import is_first_process, is_reported

        seeds = parsed.get("seeds")
        first = is_first_process()
        with Display(quiet=not first, options=options_of(parser)) as display:
            try:
                if seeds is None:
                    trained: object = train(config, progress=display)
                else:
                    count_or_seeds = seeds[0] if len(seeds) == 1 else seeds
                    trained = train_seeds(config, count_or_seeds, progress=display)
            except MlcmrError as error:
                if is_reported(error):
                    return 2
                raise
        if first:
            print(trained)
        return 0


COMMAND = _TrainCommand()
