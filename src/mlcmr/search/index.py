"""`mlcmr index`: from videos or a collection to an index."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlcmr.data.collection import Collection
from mlcmr.display import Display
from mlcmr.errors import UserError
from mlcmr.extraction.videos import VIDEOS
from mlcmr.search.folder import COLLECTION, IndexInfo, IndexWriter, open_published, read_info, write_info
from mlcmr.search.models import OpenModel, open_again, open_pretrained, open_run
from mlcmr.search.source import Source, open_source
from mlcmr.search.update import Changes, remove_videos, update_index


@dataclass(frozen=True)
class IndexSummary:
    """What indexing did, and what the index holds now.

    Attributes:
        folder: The index.
        added: Videos that are new in it.
        changed: Videos that were embedded anew.
        removed: Videos that were taken out.
        unchanged: Videos of the source that were there already.
        segments: How many segments the index holds.
        captions: How many captions it holds.
        exact: Whether all segments are compared in a search, or an HNSW graph is followed.
        extraction: What extraction had to say, if there was one.
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

    def __str__(self) -> str:
        how = "exact" if self.exact else "approximate (HNSW)"
        changes = f"{self.added:,} added, {self.changed:,} changed, {self.removed:,} removed"
        lines = [
            str(self.folder),
            f"  videos:   {changes}, {self.unchanged:,} as before",
            f"  holds:    {self.segments:,} segments, {self.captions:,} captions",
            f"  search:   {how}",
        ]
        return "\n".join([self.extraction, *lines] if self.extraction else lines)


def index_videos(
    source: str | Path | None,
    to: str | Path = "index",
    *,
    run: str | Path | None = None,
    model: str | Path | None = None,
    encoder: str | Path | None = None,
    feature: str | None = None,
    url: str | None = None,
    name: str | None = None,
    remove: Sequence[str] = (),
    prune: bool = False,
    captions: bool = True,
    device: str = "auto",
    display: Display | None = None,
) -> IndexSummary:
    """Makes an index, or brings it up to date: only what is new or has changed is embedded.

    Args:
        source: A folder of videos and images, or a collection. None, to remove videos only.
        to: The index.
        run: The run whose model embeds; by default the model that the index was made with.
        model: Instead of a run, a model by folder or hub id: a two-tower model, or an mlcmr model.
        encoder: What makes frame features from videos; by default what made those the run was trained on, or
            the two-tower model itself.
        feature: The collection's feature; by default the one that the run was trained on.
        url: A Qdrant server that keeps the vectors.
        name: What its collections there are called; by default as the folder.
        remove: Ids of videos to take out.
        prune: Whether to take out videos that are gone from the source.
        captions: Whether to index the collection's captions too.
        device: `cpu`, `cuda` or `auto`.
        display: Shows progress.

    Raises:
        UserError: something is missing or damaged, features do not fit the model, the index was made with
            another model, or another process writes it.
    """
    folder = Path(to).expanduser()
    place = Path(source).expanduser() if source is not None else None
    if place is not None and not place.exists():
        raise UserError(f"{place}: no such folder; name a folder of videos, or a collection")
    if run is not None and model is not None:
        raise UserError("--run and --model both name the model; give one")
    _require_index_or_nothing(folder)
    before = read_info(folder) if (folder / "index.json").exists() else None
    if before is None and (place is None or (run is None and model is None)):
        raise UserError(
            f"{folder}: no index there yet; give videos or a collection, and a model (--run, or --model)"
        )
    display = display or Display(quiet=True)
    if place is None:
        if not remove:
            raise UserError("nothing to do: give a folder of videos, or a collection")
        with IndexWriter(folder) as writer:
            changes = remove_videos(writer, remove)
        return _summary(folder, changes)
    opened = _open_model(before, run, model, device)
    with IndexWriter(folder) as writer:
        extraction = ""
        feature = feature or (before.feature if before else opened.feature)
        collection = _as_collection(place)
        if collection is None:
            encoder = encoder or (before.encoder if before else opened.encoder)
            feature, encoder, extraction = _extract(
                place, folder, opened, encoder, prune=prune, device=device, display=display
            )
            collection = Collection(folder / COLLECTION, COLLECTION)
        if feature is None:
            raise UserError(f"{opened.info.name}: does not say which feature it takes; give --feature")
        there = open_source(collection, feature, captions=captions)
        about: dict[str, Any] = {"encoder": str(encoder) if encoder else opened.encoder} | _extracted_by(
            there
        )
        server: dict[str, Any] = {"url": url, "name": name or folder.absolute().name} if url else {}
        info = IndexInfo(opened.info, there.features.folder.name, **about, **server)
        _require_fit(there, opened)
        _settle(folder, before, info)
        removed = remove_videos(writer, remove) if remove else Changes()
        changes = update_index(writer, there, opened, display, prune=prune)
    changes.removed += removed.removed
    return _summary(folder, changes, extraction)


# ─── model and source ────────────────────────────────────────────────────────────────────────────────────


def _open_model(
    before: IndexInfo | None, run: str | Path | None, model: str | Path | None, device: str
) -> OpenModel:
    if run is not None:
        return open_run(run, device=device)
    if model is not None:
        return open_pretrained(model, device=device)
    assert before is not None
    return open_again(before.model, device=device)


def _as_collection(place: Path) -> Collection | None:
    """`place` as a collection; None if it is videos."""
    if any((place / name).exists() for name in ("FeatureData", "TextData", VIDEOS)):
        return Collection(place.absolute(), place.absolute().name)
    return None


def _extract(
    videos: Path,
    folder: Path,
    opened: OpenModel,
    encoder: str | Path | None,
    *,
    prune: bool,
    device: str,
    display: Display,
) -> tuple[str, str, str]:
    """Extracts into the index's own collection; returns the feature, the encoder, and what to say."""
    from mlcmr.extraction.encoders import LIGHT, load_encoder  # noqa: PLC0415
    from mlcmr.extraction.extract import extract  # noqa: PLC0415

    if encoder is None:
        if opened.feature != LIGHT:
            raise UserError(
                f"{opened.info.name}: takes the feature '{opened.feature or 'unknown'}'; say what makes "
                "it from videos (--encoder, a hub id or folder)"
            )
        encoder = LIGHT
    made = load_encoder(encoder, device=device)
    if made.dimension != opened.info.feature_size:
        raise UserError(
            f"--encoder {encoder}: makes features of {made.dimension:,} numbers, but the model takes "
            f"{opened.info.feature_size:,}; name the encoder whose features it was trained on"
        )
    summary = extract(videos, folder / COLLECTION, encoder=made, prune=prune, device=device, display=display)
    return summary.feature, made.name, str(summary)


def _extracted_by(source: Source) -> dict[str, Any]:
    """The encoder and the sampling that made a source's features, where that is known."""
    from mlcmr.extraction.store import ENCODER, read_encoder  # noqa: PLC0415

    folder = source.features.folder
    if not (folder / ENCODER).is_file():
        return {}
    content = read_encoder(folder)
    return {name: content[name] for name in ("encoder", "rate", "count") if name in content}


def _require_fit(source: Source, opened: OpenModel) -> None:
    if source.features.dimension != opened.info.feature_size:
        raise UserError(
            f"{source.features.folder}: features of {source.features.dimension:,} numbers, but the model "
            f"takes {opened.info.feature_size:,}: name the feature that it was trained on (--feature)"
        )


# ─── the index ───────────────────────────────────────────────────────────────────────────────────────────


def _require_index_or_nothing(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder (--to)")
    own = ("index.json", "lock", COLLECTION)
    if (
        folder.is_dir()
        and not (folder / "index.json").exists()
        and any(path.name not in own and not path.name.startswith(".") for path in folder.iterdir())
    ):
        raise UserError(f"{folder}: is there already and is no index; name another folder (--to)")


def _settle(folder: Path, before: IndexInfo | None, now: IndexInfo) -> None:
    """Writes `index.json` where it is new or its model has moved.

    Raises:
        UserError: the index was made with another model, of other features, or elsewhere.
    """
    if before is None:
        write_info(folder, now)
        return
    elsewhere = "index into another folder (--to)"
    if before.model.fingerprint != now.model.fingerprint:
        raise UserError(
            f"{folder}: this index was made with another model, {before.model.name}; its vectors and those "
            f"of {now.model.name} do not compare; {elsewhere}"
        )
    if before.feature != now.feature:
        raise UserError(
            f"{folder}: this index was made from the feature '{before.feature}', not '{now.feature}'; "
            f"{elsewhere}"
        )
    if now.url is not None and (before.url, before.name) != (now.url, now.name):
        there = f"server {before.url}, --name {before.name}" if before.url else "folder itself"
        raise UserError(f"{folder}: the vectors of this index are in the {there}; {elsewhere}")
    # Read again: a killed writer's work may have been published meanwhile.
    write_info(
        folder,
        replace(read_info(folder), model=now.model, encoder=now.encoder, rate=now.rate, count=now.count),
    )


def _summary(folder: Path, changes: Changes, extraction: str = "") -> IndexSummary:
    _, stores = open_published(folder)
    try:
        return IndexSummary(
            folder,
            changes.added,
            changes.changed,
            changes.removed,
            changes.unchanged,
            stores.segments.count(),
            stores.captions.count(),
            stores.segments.exact,
            extraction,
        )
    finally:
        stores.close()
