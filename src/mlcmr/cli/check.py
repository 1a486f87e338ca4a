"""`mlcmr check`."""

from jsonargparse import ArgumentParser, Namespace

PURPOSE = "Finds now what would go wrong later in a collection. Changes nothing."
EXAMPLES = """
  mlcmr check ~/VisualSearch/vatex
  mlcmr check ~/VisualSearch/vatex --feature i3d_kinetics"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("collection", help="The collection's folder, <rootpath>/<collection>.")
    parser.add_argument("--feature", type=str | None, help="Check this feature only.")


def run(_: ArgumentParser, parsed: Namespace) -> int:
    from mlcmr.data.check import check_collection, print_report
    from mlcmr.display import Display

    with Display() as display, display.steps() as progress:
        report = check_collection(parsed.collection, parsed.feature, progress)
    print_report(report)
    return 2 if report.problems else 0
