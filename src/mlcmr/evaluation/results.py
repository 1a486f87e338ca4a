"""The results of an evaluation in all target languages."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult

from mlcmr.errors import MissingDependencyError
from mlcmr.evaluation.all_targets import AllTargets
from mlcmr.evaluation.report.table import ResultsTable
from mlcmr.evaluation.target_results import TargetResults
from mlcmr.evaluation.text_to_text import TextToTextResults

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

_WIDE = 1000
"""A width that every table fits in."""


class EvaluationResults(Mapping[str, TargetResults]):
    """The results of an evaluation by target language; `str` gives the table that the command prints.

    Example:
        >>> results = mlcmr.evaluate("runs/mine")
        >>> results["zh"].t2v["R@1"], results["zh"].sum_recalls
        >>> print(results)

    Args:
        results: The results of each target language.
        folder: The run folder that `results.json` and `report.html` were written to, if they were.
        text_to_text: The results of text-to-text retrieval, by pair of languages; empty if not computed.
    """

    def __init__(
        self,
        results: Iterable[TargetResults],
        folder: Path | None = None,
        text_to_text: Sequence[TextToTextResults] = (),
    ) -> None:
        self._results = {result.target: result for result in results}
        self.folder = folder
        self.text_to_text = text_to_text

    def __getitem__(self, target: str) -> TargetResults:
        return self._results[target]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    @property
    def all_targets(self) -> AllTargets | None:
        """The mean over the target languages and the worst language; None for a single language."""
        return AllTargets.of(list(self.values()))

    def written(self) -> list[str]:
        """Return a line for each file that the evaluation wrote."""
        if self.folder is None:
            return []
        return [f"report:  {self.folder / 'report.html'}", f"results: {self.folder / 'results.json'}"]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of results.json."""
        together = self.all_targets
        return {
            "format": 1,
            "evaluations": [result.to_dict() for result in self.values()],
            "all_targets": together and together.to_dict(),
            "text_to_text": [result.to_dict() for result in self.text_to_text],
        }

    def to_pandas(self) -> "pd.DataFrame":
        """Return a data frame: a row per target, way of scoring and direction; a column per metric, and SumR.

        Example:
            >>> results.to_pandas().loc[("zh", "fused", "t2v"), "R@1"]

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415
        except ImportError as error:
            raise MissingDependencyError(
                "results as a data frame need pandas, which is not installed: pip install pandas"
            ) from error
        rows = {
            (target, scored, direction): {**values, "SumR": metrics.sum_recalls}
            for target, result in self.items()
            for scored, metrics in result.scored().items()
            for direction, values in (("t2v", metrics.t2v), ("v2t", metrics.v2t))
        }
        index = pd.MultiIndex.from_tuples(rows, names=["target", "scored", "direction"])
        return pd.DataFrame(list(rows.values()), index=index)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield ResultsTable(list(self.values()), self.text_to_text)

    def __repr__(self) -> str:
        sums = ", ".join(f"{target}: SumR {result.sum_recalls:.1f}" for target, result in self.items())
        return f"{type(self).__name__}({sums})"

    def __str__(self) -> str:
        console = Console(width=_WIDE, color_system=None, force_terminal=False)
        with console.capture() as capture:
            console.print(self)
        table = [line.rstrip() for line in capture.get().splitlines()]
        return "\n".join([*table, *self.written()])
