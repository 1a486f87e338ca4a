"""`mlcmr index`: from videos or a collection to an index."""

import os
import shlex
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlcmr.data.collection import Collection
from mlcmr.display import Display, many
from mlcmr.errors import UserError
from mlcmr.extraction.find import find_files
from mlcmr.extraction.videos import VIDEOS, is_utf8
from mlcmr.files import writing
from mlcmr.search.folder import COLLECTION, LOCK, IndexWriter, open_published, require_free
from mlcmr.search.info import INFO, IndexInfo, read_info, write_info
from mlcmr.search.models import OpenModel, open_again, open_pretrained, open_run, same_encoder
from mlcmr.search.source import Source, open_source, without_features
from mlcmr.search.update import Changes, remove_videos, update_index


@dataclass(frozen=True)
class IndexSummary:
    """What indexing did, and what the index holds now.

    Attributes:
        folder: The index.
        added: Videos that are new in it.
        changed: Videos that were embedded or described anew.
        removed: Videos that were taken out.
        unchanged: Videos of the source that were there already.
        segments: How many segments the index holds.
        captions: How many captions it holds.
        exact: Whether all segments are compared in a search, or an HNSW graph is followed.
        extraction: What extraction had to say, if there was one.
        missing: How many videos of a collection have no features, and what makes them.
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

    def __str__(self) -> str:
        how = "exact" if self.exact else "approximate (HNSW)"
        changes = f"{self.added:,} added, {self.changed:,} changed, {self.removed:,} removed"
        lines = [
            str(self.folder),
            f"  videos:   {changes}, {self.unchanged:,} as before",
            f"  holds:    {many(self.segments, 'segment')}, {many(self.captions, 'caption')}",
            f"  search:   {how}",
        ]
        if self.missing:
            lines.append(f"  missing:  {self.missing}")
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
    batch_size: int | None = None,
    display: Display | None = None,
) -> IndexSummary:
    """Makes an index, or brings it up to date: only what is new or has changed is embedded.

    Args:
        source: A folder of videos and images, or a collection. None, to remove videos only.
        to: The index.
        run: The run whose model embeds; by default the model that the index was made with.
        model: Instead of a run, a model by folder or hub id: a two-tower model, or an mlcmr model.
        encoder: What makes frame features from videos; by default what made those the run was trained on, or
            the two-tower model itself. A collection's features are then taken for made by it.
        feature: Of a collection, the feature; by default the one that the run was trained on.
        url: A Qdrant server that keeps the vectors.
        name: What its collections there are called; by default as the folder.
        remove: Ids of videos to take out.
        prune: Whether to take out videos that are gone from the source.
        captions: Whether the index is to hold the collection's captions too; otherwise, those of an earlier
            run are taken out.
        device: `cpu`, `cuda` or `auto`.
        batch_size: How many frame features are made at a time; by default as many as suit the encoder.
        display: Shows progress.

    Raises:
        UserError: something is missing or damaged, features do not fit the model, the index was made with
            another model, or another process writes it.
    """
    folder = Path(to).expanduser()
    place = Path(source).expanduser() if source is not None else None
    _require_utf8(folder, place, run, model, encoder)
    collection, extraction = _as_collection(place), ""
    _require_options(
        place=place,
        collection=collection,
        run=run,
        model=model,
        encoder=encoder,
        feature=feature,
        url=url,
        name=name,
        prune=prune,
        captions=captions,
        device=device,
        batch_size=batch_size,
    )
    _require_index_or_nothing(folder)
    if url is not None:
        from mlcmr.search.server import whole_address  # noqa: PLC0415 – needs Qdrant's client

        url = whole_address(url)
    before = _info(folder)
    if before is None and (place is None or (run is None and model is None)):
        raise UserError(
            f"{folder}: no index there yet; give videos or a collection, and a model (--run, or --model)"
        )
    display = display or Display(quiet=True)
    if place is None:
        if not remove:
            raise UserError("nothing to do; give a folder of videos, or a collection")
        with IndexWriter(folder) as writer:
            changes = remove_videos(writer, remove)
        return _summary(folder, changes)
    opened = _open_model(before, run, model, device)
    with IndexWriter(folder) as writer:
        before = _info(folder)  # again: another process may have made the index, or changed it, until now
        if before is not None:
            _require_same(folder, before, opened, url, name)
        elif url is not None:
            name = name or folder.resolve().name
            require_free(url, name)
        if collection is None:
            encoder, feature, extraction = _extract(
                place,
                folder,
                before,
                opened,
                encoder,
                prune=prune,
                device=device,
                batch_size=batch_size,
                display=display,
            )
            collection = Collection(folder / COLLECTION, COLLECTION)
        feature = _feature(folder, before, opened, feature)
        there = _open_source(collection, feature, opened, captions=captions)
        _require_fit(there, opened)
        made = _encoding(there.features.folder)
        _require_same_encoder(there, made, before, opened, encoder)
        info = before or IndexInfo(str(uuid.uuid4()), opened.info, feature, url=url, name=name)
        write_info(folder, _noted(info, opened, made, encoder))
        removed = remove_videos(writer, remove) if remove else Changes()
        changes = update_index(writer, there, opened, prune=prune, captions=captions, display=display)
    changes.removed += removed.removed
    return _summary(folder, changes, extraction, missing="" if extraction else without_features(there, made))


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


def _as_collection(place: Path | None) -> Collection | None:
    """`place` as a collection; None if it is videos."""
    if place is not None and any(
        os.path.exists(place / name) for name in ("FeatureData", "TextData", VIDEOS)
    ):
        folder = place.resolve()  # one collection is one source, by whatever way it is named
        return Collection(folder, folder.name)
    return None


def _extract(
    videos: Path,
    folder: Path,
    before: IndexInfo | None,
    opened: OpenModel,
    encoder: str | Path | None,
    *,
    prune: bool,
    device: str,
    batch_size: int | None,
    display: Display,
) -> tuple[str, str, str]:
    """Extracts into the index's own collection; returns the encoder, the feature, and what to say."""
    from mlcmr.extraction.encoders import LIGHT, load_encoder  # noqa: PLC0415
    from mlcmr.extraction.extract import extract  # noqa: PLC0415

    encoder = encoder or (before.encoder if before else None) or opened.encoder
    if encoder is None:
        if opened.feature != LIGHT:
            raise UserError(
                f"{opened.info.name}: takes the feature '{opened.feature or 'unknown'}'; say what makes "
                "it from videos (--encoder, a hub id or folder)"
            )
        encoder = LIGHT
    if (
        prune
        and before is not None
        and os.path.isdir(videos)
        and not find_files(videos, folder / COLLECTION).files
    ):
        raise UserError(f"{videos}: no videos or images there any more; remove the index {folder} itself")
    made = load_encoder(encoder, device=device)
    if made.dimension != opened.info.feature_size:
        raise UserError(
            f"encoder {encoder}: makes features of {made.dimension:,} numbers, but the model takes "
            f"{opened.info.feature_size:,}; name the encoder whose features it was trained on (--encoder)"
        )
    _require_feature(folder, before, made.feature)
    # As before; else as the index's other features, or those that the model was trained on.
    done = _encoding(Collection(folder / COLLECTION, COLLECTION).feature_folder(made.feature))
    sampled = [(one.rate, one.count) for one in (before, opened) if one is not None]
    rate, count = next(filter(any, [(done.get("rate"), done.get("count")), *sampled]), (None, None))
    summary = extract(
        videos,
        folder / COLLECTION,
        encoder=made,
        rate=rate,
        count=count,
        prune=prune,
        device=device,
        batch_size=batch_size,
        display=display,
    )
    return made.name, summary.feature, str(summary)


def _feature(folder: Path, before: IndexInfo | None, opened: OpenModel, feature: str | None) -> str:
    feature = feature or (before.feature if before else opened.feature)
    if feature is None:
        raise UserError(f"{opened.info.name}: does not say which feature it takes; give --feature")
    _require_feature(folder, before, feature)
    return feature


def _open_source(collection: Collection, feature: str, opened: OpenModel, *, captions: bool) -> Source:
    try:
        return open_source(collection, feature, captions=captions)
    except UserError as error:
        videos = collection.folder / "VideoData"
        if os.path.isdir(collection.feature_folder(feature)) or not os.path.isdir(videos):
            raise
        words = ["mlcmr", "extract", videos, "--collection", collection.folder, "--feature", feature]
        words += ["--encoder", opened.encoder or "ENCODER"]
        words += ["--rate", opened.rate] if opened.rate else []
        words += ["--count", opened.count] if opened.count else []
        raise UserError(f"{error}; to make it: {shlex.join(map(str, words))}") from error


def _encoding(features: Path) -> dict[str, Any]:
    """What made a folder of features, and from which frames; nothing where that is not known."""
    from mlcmr.extraction.store import ENCODER, read_encoder  # noqa: PLC0415

    return read_encoder(features) if os.path.isfile(features / ENCODER) else {}


def _noted(
    info: IndexInfo, opened: OpenModel, made: Mapping[str, Any], encoder: str | Path | None
) -> IndexInfo:
    """What an index knows of itself, with where its model is now, and what makes its features.

    The encoder is the one named now; else the one named before; else the one that the source names; else the
    one that the model names.
    """
    info = replace(info, model=opened.info)
    if made:
        info = replace(info, rate=made.get("rate"), count=made.get("count"))
    if encoder is not None:
        named = Path(encoder).expanduser()
        name = str(named.resolve() if os.path.isdir(named) else encoder)
        return replace(info, encoder=name, known_as=made.get("encoder", info.known_as))
    return replace(info, encoder=info.encoder or made.get("encoder") or opened.encoder)


# ─── the index ───────────────────────────────────────────────────────────────────────────────────────────


def _info(folder: Path) -> IndexInfo | None:
    return read_info(folder) if os.path.exists(folder / INFO) else None


def _summary(folder: Path, changes: Changes, extraction: str = "", missing: str = "") -> IndexSummary:
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
            missing,
        )
    finally:
        stores.close()


# ─── what must be so ─────────────────────────────────────────────────────────────────────────────────────


def _require_utf8(*paths: str | Path | None) -> None:
    for path in paths:
        if path is not None and not is_utf8(Path(path).expanduser().absolute()):
            raise UserError(f"{path}: its name, or that of a folder it lies in, is not UTF-8; rename that")


def _require_options(
    *,
    place: Path | None,
    collection: Collection | None,
    run: str | Path | None,
    model: str | Path | None,
    encoder: str | Path | None,
    feature: str | None,
    url: str | None,
    name: str | None,
    prune: bool,
    captions: bool,
    device: str,
    batch_size: int | None,
) -> None:
    """Refuses what cannot be meant, and what would make no difference."""
    if place is None:
        of_source = {
            "--run": run is not None,
            "--model": model is not None,
            "--encoder": encoder is not None,
            "--feature": feature is not None,
            "--url": url is not None,
            "--name": name is not None,
            "--prune": prune,
            "--captions": not captions,
            "--device": device != "auto",
            "--batch-size": batch_size is not None,
        }
        if given := [option for option, is_given in of_source.items() if is_given]:
            raise UserError(f"{given[0]} is for videos or a collection; give their folder, or leave it out")
    elif not os.path.exists(place):
        raise UserError(f"{place}: no such folder; name a folder of videos, or a collection")
    if run is not None and model is not None:
        raise UserError("--run and --model both name the model; give one")
    if feature is not None and collection is None:
        raise UserError("--feature is one of a collection's; videos get that of their encoder (--encoder)")
    if name is not None and url is None:
        raise UserError("--name is for the collections on a server; give its --url too")
    if batch_size is not None and collection is not None:
        raise UserError("--batch-size is for videos; a collection has its features")
    if batch_size is not None and batch_size < 1:
        raise UserError(f"--batch-size {batch_size}: expected 1 or more")


def _require_index_or_nothing(folder: Path) -> None:
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f"{folder}: is a file; name a folder (--to)")
    if not os.path.isdir(folder) or os.path.exists(folder / INFO):
        return
    with writing(folder):
        names = [path.name for path in folder.iterdir()]
    if any(name not in (LOCK, COLLECTION) and not name.startswith(".") for name in names):
        raise UserError(f"{folder}: is there already and is no index; name another folder (--to)")


def _require_same(
    folder: Path, before: IndexInfo, opened: OpenModel, url: str | None, name: str | None
) -> None:
    if before.model.fingerprint != opened.info.fingerprint:
        raise UserError(
            f"{folder}: this index was made with another model, {before.model.name}; its vectors and those "
            f"of {opened.info.name} do not compare; index into another folder (--to)"
        )
    if url is not None and (before.url, before.name) != (url, name or before.name):
        there = f"server {before.url}, --name {before.name}" if before.url else "folder itself"
        raise UserError(
            f"{folder}: the vectors of this index are in the {there}; index into another folder (--to)"
        )


def _require_feature(folder: Path, before: IndexInfo | None, feature: str) -> None:
    if before is not None and before.feature != feature:
        raise UserError(
            f"{folder}: this index was made from the feature '{before.feature}', not '{feature}'; "
            "index into another folder (--to)"
        )


def _require_fit(source: Source, opened: OpenModel) -> None:
    if source.features.dimension != opened.info.feature_size:
        raise UserError(
            f"{source.features.folder}: features of {source.features.dimension:,} numbers, but the model "
            f"takes {opened.info.feature_size:,}; name the feature that it was trained on (--feature)"
        )


def _require_same_encoder(
    source: Source,
    made: Mapping[str, Any],
    before: IndexInfo | None,
    opened: OpenModel,
    encoder: str | Path | None,
) -> None:
    """Features of one name and size may still be of two models, whose numbers mean different things."""
    made_by = made.get("encoder")
    if made_by is None or encoder is not None:  # who names it is believed
        return
    known = [before.encoder, before.known_as] if before is not None and before.encoder else [opened.encoder]
    wanted = [one for one in known if one is not None]
    if wanted and not any(same_encoder(one, made_by) for one in wanted):
        raise UserError(
            f"{source.features.folder}: made by {made_by}, but {opened.info.name} takes what {wanted[0]} "
            f"makes; extract with that (--feature), or, if both are the same, add --encoder {wanted[0]}"
        )
