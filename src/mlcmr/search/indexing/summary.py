"""The result of `mlcmr.index`."""

from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlcmr.errors import NotFoundError
from mlcmr.search.indexing.plan import IndexPlan
from mlcmr.search.indexing.storage import open_published
from mlcmr.text import plural


@dataclass(frozen=True)
class IndexSummary:
    """The changes that indexing has made, and the size of the index.

    Attributes:
        folder: The index.
        added: The number of new videos.
        changed: The number of videos that were embedded or described again.
        removed: The number of videos that were removed.
        unchanged: The number of videos that stayed as they were; without a source, of all that are left.
        segments: The number of segments in the index.
        captions: The number of captions in the index.
        exact: Whether a search compares all segments, or follows an HNSW graph.
        extraction: The summary of the extraction; empty if there was none.
        missing: The number of files beside a collection without features, and the command that extracts them.
        closed: The number of videos that `mlcmr serve` will not hand out, and why.
        gone: The number of videos that are no longer in the source or have lost their file, and are kept.
        skipped: The number of videos and captions without a usable embedding.
        plan: The plan.
        dry_run: Whether the plan was not executed; the numbers are then those of the planned changes.
    """

    folder: Path
    added: int
    changed: int
    removed: int
    unchanged: int
    segments: int
    captions: int
    exact: bool
    extraction: str = ""
    missing: str = ""
    closed: str = ""
    gone: str = ""
    skipped: str = ""
    plan: IndexPlan | None = field(default=None, repr=False)
    dry_run: bool = False

    def __str__(self) -> str:
        if self.dry_run:
            return str(self.plan)
        how = "exact" if self.exact else "approximate (HNSW)"
        changes = f"{self.added:,} added, {self.changed:,} changed, {self.removed:,} removed"
        lines = [
            str(self.folder),
            f"  videos:   {changes}, {self.unchanged:,} as before",
            f"  holds:    {plural(self.segments, 'segment')}, {plural(self.captions, 'caption')}",
            f"  search:   {how}",
        ]
        notes = {"skipped": self.skipped, "missing": self.missing, "closed": self.closed, "gone": self.gone}
        lines += [f"  {f'{name}:':<9} {note}" for name, note in notes.items() if note]
        return "\n".join([self.extraction, *lines] if self.extraction else lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON can hold it."""
        content = {name: value for name, value in asdict(replace(self, plan=None)).items() if name != "plan"}
        plan = {} if self.plan is None else {"plan": self.plan.to_dict()}
        return content | {"folder": str(self.folder)} | plan


def summarize(plan: IndexPlan) -> IndexSummary:
    """Return the summary of a plan that is not executed, with the numbers of planned changes."""
    segments, captions, exact = 0, 0, True
    if plan.info is not None:
        with suppress(NotFoundError):  # nothing has been published yet
            _, stores = open_published(
                plan.request.folder, url=plan.request.url, store=plan.request.store, repair=False
            )
            segments, captions, exact = (
                stores.segments.count(),
                stores.captions.count(),
                stores.segments.exact,
            )
            stores.close()
    assert plan.update is not None
    return IndexSummary(
        plan.request.folder,
        len(plan.update.added),
        len(plan.update.changed),
        len(plan.update.all_removed),
        len(plan.update.unchanged),
        segments=segments,
        captions=captions,
        exact=exact,
        plan=plan,
        dry_run=True,
    )
