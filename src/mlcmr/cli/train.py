"""`mlcmr train`."""

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

PURPOSE = "Trains a model by a recipe, or goes on where a run was interrupted."
EXAMPLES = """
  mlcmr train configs/vatex/parallel.yaml --rootpath ~/VisualSearch
  mlcmr train configs/sample/parallel.yaml --rootpath demo --run runs/deeper --model.text.new.layers 4
  mlcmr train configs/vatex/parallel.yaml --model.text.encoder xlm-roberta-base --model.text.lowercase null
  mlcmr train configs/vatex/parallel.yaml --print-config     all settings, resolved"""


def add_arguments(parser: ArgumentParser) -> None:
    from mlcmr.training.config import TrainConfig

    parser.add_argument("--config", action=ActionConfigFile, help="The recipe; also given as the first word.")
    parser.add_class_arguments(TrainConfig)


def run(parser: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.config import from_parsed
    from mlcmr.training.config import TrainConfig

    config = from_parsed(TrainConfig, parser, parsed)
    from mlcmr.training.run import is_first_process
    from mlcmr.training.train import train

    trained = train(config)
    if is_first_process():
        print(f"best model: {trained.model}")
        print(f"evaluate:   mlcmr evaluate {trained.folder}")
    return 0
