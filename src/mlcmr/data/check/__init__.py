"""Find the faults of a collection before they stop or spoil a later command (`mlcmr check`).

A check changes nothing and writes no cache.
"""

import os

from mlcmr.arguments import check_arguments
from mlcmr.data.check.captions import check_captions
from mlcmr.data.check.features import check_features
from mlcmr.data.check.findings import Findings
from mlcmr.data.check.report import CaptionSummary, CheckReport, FeatureSummary
from mlcmr.data.collection import require_open
from mlcmr.errors import NotFoundError
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress

__all__ = ["CaptionSummary", "CheckReport", "FeatureSummary", "check"]


@check_arguments
def check(
    folder: str | os.PathLike[str], feature: str | None = None, *, progress: Progress = SILENT
) -> CheckReport:
    """Find the problems of a collection before they stop or spoil a later command; change nothing.

    Args:
        folder: The collection's folder, <rootpath>/<collection>.
        feature: Check this feature only.
        progress: Shows the caption files and the bytes of features that were read.

    Raises:
        NotFoundError: If the folder does not exist.
        MlcmrError: If the user may not list the folder.
    """
    folder = user_path(folder)
    if not os.path.isdir(folder):
        raise NotFoundError(
            f"{folder}: no such folder; name a collection, <rootpath>/<collection>", path=folder
        )
    require_open(folder)
    if folder.name in {"", ".."}:
        folder = folder.resolve()
    findings = Findings()
    captions, captioned = check_captions(folder, findings, progress)
    features = check_features(folder, feature, captioned, findings, progress)
    problems = findings.problems
    return CheckReport(
        folder, problems.as_list(), findings.warnings.as_list(), problems.count, captions, features
    )
