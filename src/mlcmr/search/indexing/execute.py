"""The execution of plans: extract new files, embed new videos and captions, and write the index."""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlcmr.data.collection import Collection
from mlcmr.errors import CorruptFileError, InvalidValueError, NotFoundError
from mlcmr.extraction.discovery import find_files, removed_files
from mlcmr.extraction.feature_writer import remove_extracted
from mlcmr.extraction.plan import real_path
from mlcmr.paths import folder_or_id
from mlcmr.progress import SILENT, Progress
from mlcmr.registry import is_code, is_importable
from mlcmr.search.default_model import DEFAULT_MODEL
from mlcmr.search.indexing.index_source import (
    IndexSource,
    SourceContent,
    extract_command,
    files_outside,
    without_features,
)
from mlcmr.search.indexing.manifest import IndexInfo, write_info
from mlcmr.search.indexing.plan import (
    IndexPlan,
    encoding_of,
    open_index_source,
    plan_changes,
    plan_settings,
    plan_videos,
    require_feature,
    require_free_name,
    require_same_model,
)
from mlcmr.search.indexing.request import IndexRequest
from mlcmr.search.indexing.storage import COLLECTION, IndexWriter, open_published
from mlcmr.search.indexing.summary import IndexSummary
from mlcmr.search.indexing.update import (
    EMPTY,
    Changes,
    StoredContent,
    plan_removal,
    read_content,
    remove_videos,
    require_usable_features,
    update_index,
)
from mlcmr.search.media_types import is_named_as_media
from mlcmr.search.models import (
    OpenModel,
    is_model_of,
    open_again,
    open_model,
    open_named_encoder,
    open_run,
)
from mlcmr.search.stores.registry import store_name
from mlcmr.text import plural, printable
from mlcmr.trust import NotRecordedError, remember

if TYPE_CHECKING:
    from mlcmr.extraction.encoders.base import FrameEncoder
    from mlcmr.extraction.summary import ExtractionSummary


class _Outcome(NamedTuple):
    """The changes that were made, and the lines of the summary; see `IndexSummary`."""

    changes: Changes
    extraction: str = ""
    missing: str = ""
    closed: str = ""
    gone: str = ""


def execute(request: IndexRequest, *, progress: Progress = SILENT) -> IndexSummary:
    """Plan the changes of an index under its lock, and make them.

    Args:
        request: The parameters of `mlcmr.index`.
        progress: Shows the progress.

    Raises:
        MlcmrError: If something is missing or damaged, the features do not fit the model, the index was made
            with another model, or another process writes the index.
    """
    request.require_paths()  # before the folder gets a lock
    with IndexWriter(request.folder, url=request.url, store=request.store) as writer:
        plan = plan_settings(request)
        if request.place is None:
            plan, result = _remove(plan, writer, progress)
        else:
            plan, result = _index_source(plan, writer, progress)
    return _summary(plan, result)


def _remove(plan: IndexPlan, writer: IndexWriter, progress: Progress) -> tuple[IndexPlan, _Outcome]:
    """Remove videos; return the whole plan and its result."""
    update = plan_removal(read_content(plan.request.folder, writer.open_stores()), plan.request.remove)
    _remove_features(plan, update.removed, progress)
    remove_videos(writer, update.stored, update.removed)
    changes = Changes(removed=len(update.removed), unchanged=len(update.unchanged))
    return replace(plan, update=update), _Outcome(changes)


def _index_source(plan: IndexPlan, writer: IndexWriter, progress: Progress) -> tuple[IndexPlan, _Outcome]:
    """Index the source of a plan; return the whole plan and its result."""
    request, collection, extraction = plan.request, plan.request.collection, ""
    if plan.by_default:
        _require_media(request)  # before a download
    opened = _open_requested_model(plan, progress)
    is_same = plan.info is None or is_model_of(plan.info.model, opened)
    require_same_model(plan, opened.info.name, is_same=is_same)
    require_free_name(plan)
    stored = EMPTY if plan.info is None else read_content(plan.request.folder, writer.open_stores())
    if collection is None:
        plan, extracted = _extract(plan, stored, opened, progress)
        extraction = str(extracted)
        collection = Collection(request.folder / COLLECTION, COLLECTION)
        if not extracted.videos:  # all were removed, and no feature is left to open
            update = plan_changes(request, stored, SourceContent(collection.folder, {}, {}, ()))
            remove_videos(writer, stored, update.all_removed)
            changes = Changes(removed=len(update.all_removed))
            return replace(plan, update=update), _Outcome(changes, extraction)
    source = open_index_source(plan, collection)
    _require_fit(source, opened)
    if not stored.videos:
        require_usable_features(source)  # before an index is written
    encoding = encoding_of(source.features.folder)
    info = plan.info or IndexInfo(
        str(uuid.uuid4()),
        opened.info,
        source.features.folder.name,
        url=plan.url,
        name=plan.name,
        store=None if request.store is None else store_name(request.store),
    )
    write_info(request.folder, _described(info, opened, encoding, request))
    failure = _remember(plan, info, source, opened)
    plan = replace(plan, update=plan_changes(request, stored, source.content, writer.open_stores()))
    assert plan.update is not None
    if request.collection is not None:
        _remove_features(plan, plan.update.removed, progress)
    changes = update_index(writer, plan.update, source, opened, progress=progress)
    return plan, _Outcome(
        changes,
        extraction,
        missing="" if extraction else without_features(source, encoding),
        closed=_describe_closed_files(files_outside(source), failure),
        gone=_describe_gone(changes, source, extraction),
    )


# ─── steps ───────────────────────────────────────────────────────────────────────────────────────────────


def _require_media(request: IndexRequest) -> None:
    """Check that the source, which is no collection, holds a video or an image.

    Raises:
        NotFoundError: If it holds none.
    """
    assert request.place is not None
    found = find_files(request.place, request.folder / COLLECTION)
    if not (found.files or found.closed):
        raise NotFoundError(f"{request.place}: no video or image, by file extension", path=request.place)


def _open_requested_model(plan: IndexPlan, progress: Progress) -> OpenModel:
    """Open the model, which may be downloaded if the user has named it, or has named none."""
    request = plan.request
    if plan.by_default:
        progress.message(f"no model is named: {DEFAULT_MODEL} is used; `model` names another")
    if request.run is not None:
        return open_run(request.run, device=request.device)
    if request.model is not None:
        dimension = request.dimension if plan.info is None else plan.info.model.dimension
        return open_model(request.model, dimension=dimension, device=request.device, progress=progress)
    assert plan.info is not None
    return open_again(plan.info.model, device=request.device)


def _extract(
    plan: IndexPlan, stored: StoredContent, opened: OpenModel, progress: Progress
) -> tuple[IndexPlan, "ExtractionSummary"]:
    """Plan and execute an extraction into the collection of the index; a refusal changes nothing."""
    from mlcmr.extraction.extract_collection import open_extraction  # noqa: PLC0415 – needs PyAV

    request, info = plan.request, plan.info
    encoder = _open_encoder(plan, opened)
    collection = real_path(request.folder / COLLECTION)
    # The sampling of the features that exist; else that of the index, or of the training.
    done = encoding_of(Collection(collection, COLLECTION).feature_folder(encoder.feature))
    samplings = [(done.get("rate"), done.get("count"))]
    samplings += [(known.rate, known.count) for known in (info, opened.description) if known is not None]
    rate, count = next(filter(any, samplings), (None, None))
    with open_extraction(
        collection, encoder, rate=rate, count=count, batch_size=request.batch_size
    ) as extraction:
        plan = plan_videos(plan, stored, extraction.records)
        assert plan.extraction is not None
        summary = extraction.execute(plan.extraction, device=request.device, progress=progress)
    return replace(plan, encoder=encoder.name, feature=summary.feature), summary


def _remove_features(plan: IndexPlan, videos: Sequence[str], progress: Progress) -> None:
    """Remove videos from the collection of the index, so that the next call does not add them again.

    Their vectors are removed later: if a call is interrupted, the same call can be made again.
    """
    folder = plan.request.folder / COLLECTION
    # A link may lead to the collection of somebody who has not named this index.
    if plan.info is not None and videos and not folder.is_symlink():
        try:
            remove_extracted(folder, plan.info.feature, videos)
        except (CorruptFileError, NotFoundError) as error:  # the videos must not be found any more
            progress.message(f"the features of the removed videos are kept: {error}")


def _open_encoder(plan: IndexPlan, opened: OpenModel) -> "FrameEncoder":
    """Open the encoder of the videos.

    Raises:
        InvalidValueError: If it makes features that the model or the index does not take.
        MlcmrError: If it cannot be opened.
    """
    request, name = plan.request, plan.encoder
    assert name is not None
    if request.encoder is None or isinstance(request.encoder, (str, os.PathLike)):
        encoder = open_named_encoder(
            name, device=request.device, models=request.named_models, parameter="encoder"
        )
    else:
        encoder = request.encoder
    if encoder.dimension != opened.info.feature_size:
        raise InvalidValueError(
            f"encoder {name}: makes features of {encoder.dimension:,} numbers, but the model takes "
            f"{opened.info.feature_size:,}; name the encoder of the training (`encoder`)",
            parameter="encoder",
        )
    require_feature(request.folder, plan.info, encoder.feature)
    return encoder


def _described(
    info: IndexInfo, opened: OpenModel, encoding: Mapping[str, Any], request: IndexRequest
) -> IndexInfo:
    """Return the description of an index, with the current folder of its model and its encoder.

    The encoder is the one that the user names now; else that of the index, of the features, or of the model.
    """
    info = replace(info, model=opened.info)
    if encoding:
        info = replace(info, rate=encoding.get("rate"), count=encoding.get("count"))
    if request.encoder_name is not None:
        known_as = encoding.get("encoder", info.known_as)
        return replace(info, encoder=folder_or_id(request.encoder_name), known_as=known_as)
    encoder = info.encoder or encoding.get("encoder") or opened.description.encoder
    return replace(info, encoder=encoder)


def _remember(plan: IndexPlan, info: IndexInfo, source: IndexSource, opened: OpenModel) -> str:
    """Record what the user has named: server, models, code, folders; return the failure, or an empty text."""
    request = plan.request
    url = plan.url if request.url is not None else None
    named = request.named_models
    if request.model is not None and opened.info.kind == "pretrained" and not os.path.isdir(opened.info.name):
        named.append(opened.info.name)  # an opened model says which hub id it comes from
    store = "" if request.store is None else store_name(request.store)
    try:
        remember(
            url=url,
            models=filterfalse(is_code, named),
            code=filter(is_importable, [*named, store]),
            index=(request.folder, info.id),
            roots=source.roots,
        )
    except NotRecordedError as error:
        return str(error)
    return ""


# ─── checks ──────────────────────────────────────────────────────────────────────────────────────────────


def _require_fit(source: IndexSource, opened: OpenModel) -> None:
    if source.features.dimension != opened.info.feature_size:
        raise InvalidValueError(
            f"{source.features.folder}: features of {source.features.dimension:,} numbers, but the model "
            f"takes {opened.info.feature_size:,}; name the feature of the training (`feature`)",
            parameter="feature",
        )


# ─── summary ─────────────────────────────────────────────────────────────────────────────────────────────


def _describe_closed_files(outside: Sequence[str], failure: str) -> str:
    """Return a line about files that `mlcmr serve` will not hand out, or about names not recorded."""
    if failure:
        return f"the names that you gave could not be recorded, so give them to `mlcmr serve` too: {failure}"
    if not outside:
        return ""
    # A stranger's collection may name any file.
    named = next(filter(is_named_as_media, outside), None)
    example = named or outside[0]
    files = f"{plural(len(outside), 'file')} outside the folders that were extracted, as {printable(example)}"
    if named is None:
        return files
    folder = printable(Path(os.path.realpath(named)).parent)
    return f"{files}; to hand them out: `mlcmr serve --media-root {folder}`"


def _describe_skipped(changes: Changes) -> str:
    """Return a line about videos and captions that were left out; empty if there are none."""
    counts = ((changes.skipped, "video"), (changes.skipped_captions, "caption"))
    named = " and ".join(plural(len(faults), what) for faults, what in counts if faults)
    return f"{named} whose numbers cannot be compared, not indexed" if named else ""


def _describe_gone(changes: Changes, source: IndexSource, extraction: str) -> str:
    """Return a line about kept videos that left the source or lost their file; empty if there are none."""
    notes = []
    if changes.left:
        notes.append(f"{plural(changes.left, 'video')} no longer in the source, kept; `prune` removes them")
    lost = removed_files(record for record in source.videos.values() if record.path)
    if lost and not extraction:  # the summary of the extraction says the same
        command = extract_command(Path("FOLDER"), source.collection.folder)
        notes.append(
            f"{plural(len(lost), 'video')} whose file is gone, kept with their features; "
            f"`{command}` with `prune` removes them"
        )
    return "; ".join(notes)


def _summary(plan: IndexPlan, result: _Outcome) -> IndexSummary:
    request, changes = plan.request, result.changes
    _, stores = open_published(request.folder, url=request.url, store=request.store)
    try:
        return IndexSummary(
            folder=request.folder,
            added=changes.added,
            changed=changes.changed,
            removed=changes.removed,
            unchanged=changes.unchanged,
            segments=stores.segments.count(),
            captions=stores.captions.count(),
            exact=stores.segments.exact,
            extraction=result.extraction,
            missing=result.missing,
            closed=result.closed,
            gone=result.gone,
            skipped=_describe_skipped(changes),
            plan=plan,
        )
    finally:
        stores.close()
