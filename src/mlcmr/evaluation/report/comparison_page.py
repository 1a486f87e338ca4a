"""The page of a comparison: its table, and the queries whose ranks differ most."""

import os
from collections.abc import Sequence

from mlcmr.evaluation.comparison import Comparison
from mlcmr.evaluation.query_differences import RunDifferences
from mlcmr.evaluation.report.templates import TEMPLATES
from mlcmr.evaluation.report.thumbnails import Thumbnails
from mlcmr.files import write_text


def write_comparison_page(
    path: str | os.PathLike[str],
    comparison: Comparison,
    differences: Sequence[RunDifferences],
    thumbnails: Thumbnails,
) -> None:
    """Write the page of a comparison: one file, without scripts or anything from the network.

    Args:
        path: The HTML file.
        comparison: The comparison.
        differences: The queries that differ most, by target language and run.
        thumbnails: The thumbnails of the videos.

    Raises:
        MlcmrError: If the file cannot be written.
    """
    page = TEMPLATES.get_template("comparison.html.jinja").render(
        comparison=comparison,
        table=comparison.table(),
        notes=comparison.notes(),
        differences=differences,
        thumbnails=thumbnails,
    )
    write_text(path, page)
